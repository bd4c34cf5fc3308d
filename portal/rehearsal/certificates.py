"""The rehearsal server's own certificate authority: made once, thrown away with instance/rehearsal/.

The authority's private key is never written, so nobody can sign another certificate with it later.
"""

from __future__ import annotations

import fcntl
import os
import ssl
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import trustme
from cryptography import x509
from cryptography.exceptions import InvalidSignature

from ..clock import utcnow

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from ..config import Config

_LIFETIME = timedelta(days=397)
_SPARE = timedelta(days=7)  # renewed this long before it ends, so that a long rehearsal does not break midway
_ORGANIZATION = "Signet rehearsal"
_NAMES = ("localhost", "127.0.0.1")


@dataclass(frozen=True)
class Files:
    """Paths of PEM files. ``server`` and ``expired`` hold a private key and its certificate chain."""

    ca: Path
    server: Path
    expired: Path


def folder(config: Config) -> Path:
    """Return where the rehearsal server keeps what it needs."""
    return config.instance / "rehearsal"


def ensure(directory: Path, names: Iterable[str] = ()) -> Files:
    """Return the certificates in ``directory`` and make new ones if any is missing, broken or about to end.

    They are for this machine and for ``names``, and made anew when these change. Raises OSError where the
    directory cannot be written.
    """
    private_directory(directory)
    files = Files(directory / "ca.pem", directory / "localhost.pem", directory / "expired.pem")
    wanted = (*_NAMES, *names)
    with _locked(directory / ".lock"):
        if not _usable(files, wanted, utcnow()):
            _make(files, wanted, utcnow())
    return files


def private_directory(directory: Path) -> None:
    """Make a directory that only this user can look into."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    directory.chmod(0o700)  # mkdir's mode is cut by the umask and ignored for a directory that was there


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    # The portal and the rehearsal server may start together; a mixture of two authorities would fit nobody.
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _usable(files: Files, names: tuple[str, ...], now: datetime) -> bool:
    try:
        authority = _certificate(files.ca)
        server, expired = _certificate(files.server), _certificate(files.expired)
        for leaf in (server, expired):
            leaf.verify_directly_issued_by(authority)
        for path in (files.server, files.expired):
            server_context(path)
        fitting = all(_names_of(leaf) == set(names) for leaf in (server, expired))
    except (OSError, ValueError, TypeError, InvalidSignature):  # ssl.SSLError is an OSError
        return False
    lasting = min(authority.not_valid_after_utc, server.not_valid_after_utc) > now + _SPARE
    private = not any(path.stat().st_mode & 0o077 for path in (files.server, files.expired))
    return fitting and lasting and private and expired.not_valid_after_utc < now


def _certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificates(path.read_bytes())[0]


def _names_of(certificate: x509.Certificate) -> set[str]:
    """Return what a certificate is for. Raises ValueError where it does not say."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        raise ValueError("a certificate for nobody") from None
    return {str(name.value) for name in found}


def server_context(chain: Path) -> ssl.SSLContext:
    """Return the TLS settings of a listener that shows this certificate. Raises OSError if it is broken."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(chain)
    return context


def _make(files: Files, names: tuple[str, ...], now: datetime) -> None:
    authority = trustme.CA(organization_name=_ORGANIZATION, organization_unit_name="Throw-away authority")
    yesterday = now - timedelta(days=1)
    server = authority.issue_cert(
        *names, organization_name=_ORGANIZATION, not_before=yesterday, not_after=now + _LIFETIME
    )
    expired = authority.issue_cert(
        *names,
        organization_name=_ORGANIZATION,
        not_before=yesterday - timedelta(days=90),
        not_after=yesterday,
    )
    _write(files.server, server.private_key_and_cert_chain_pem.bytes(), 0o600)
    _write(files.expired, expired.private_key_and_cert_chain_pem.bytes(), 0o600)
    _write(files.ca, authority.cert_pem.bytes(), 0o644)


def _write(path: Path, content: bytes, mode: int) -> None:
    temporary = path.with_name(f".{path.name}.part")
    temporary.unlink(missing_ok=True)
    # The mode is given at creation: a key must not be readable by others even for a moment.
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
    temporary.replace(path)
