"""Certificates of the rehearsal server, issued by its own certificate authority in instance/rehearsal/.

The authority's private key is never written to disk, so no further certificate can be signed with it.
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
_RENEW_BEFORE = timedelta(days=7)  # so that a certificate does not expire while the server runs
_ORGANIZATION = "Signet rehearsal"
_NAMES = ("localhost", "127.0.0.1")


@dataclass(frozen=True)
class CertificateFiles:
    """Paths of PEM files. ``server`` and ``expired`` contain a private key and its certificate chain."""

    ca: Path
    server: Path
    expired: Path


def rehearsal_folder(config: Config) -> Path:
    """Return the folder of the rehearsal server's files."""
    return config.instance / "rehearsal"


def ensure_certificates(directory: Path, names: Iterable[str] = ()) -> CertificateFiles:
    """Return the certificates in ``directory``; issue new ones if any is missing, damaged or about to expire.

    They are valid for this machine and for ``names``, and are issued again when ``names`` change. Raises
    OSError.
    """
    make_private_directory(directory)
    files = CertificateFiles(directory / "ca.pem", directory / "localhost.pem", directory / "expired.pem")
    all_names = (*_NAMES, *names)
    with _locked(directory / ".lock"):
        if not _are_usable(files, all_names, utcnow()):
            _issue(files, all_names, utcnow())
    return files


def make_private_directory(directory: Path) -> None:
    """Create a directory that only this user can read."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    directory.chmod(0o700)  # mkdir applies the umask, and ignores the mode of an existing directory


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    # The portal and the rehearsal server may start at the same time and must not mix two authorities.
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _are_usable(files: CertificateFiles, names: tuple[str, ...], now: datetime) -> bool:
    try:
        authority = _certificate(files.ca)
        server, expired = _certificate(files.server), _certificate(files.expired)
        for leaf in (server, expired):
            leaf.verify_directly_issued_by(authority)
        for path in (files.server, files.expired):
            server_context(path)
        names_match = all(_names_of(leaf) == set(names) for leaf in (server, expired))
    except (OSError, ValueError, TypeError, InvalidSignature):  # ssl.SSLError is an OSError
        return False
    valid_long_enough = min(authority.not_valid_after_utc, server.not_valid_after_utc) > now + _RENEW_BEFORE
    private = not any(path.stat().st_mode & 0o077 for path in (files.server, files.expired))
    return names_match and valid_long_enough and private and expired.not_valid_after_utc < now


def _certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificates(path.read_bytes())[0]


def _names_of(certificate: x509.Certificate) -> set[str]:
    """Return the subject alternative names of a certificate. Raises ValueError if it has none."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        raise ValueError("certificate without subjectAltName") from None
    return {str(name.value) for name in found}


def server_context(chain: Path) -> ssl.SSLContext:
    """Return the TLS context of a listener with this certificate. Raises OSError if it is damaged."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(chain)
    return context


def _issue(files: CertificateFiles, names: tuple[str, ...], now: datetime) -> None:
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
    # The mode is set at creation, so that a private key is never readable by other users.
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
    temporary.replace(path)
