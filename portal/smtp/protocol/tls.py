"""TLS with a submission server: always verified, version 1.2 or newer (RFC 8997).

The server's name must be a subjectAltName of the certificate; its common name does not count (RFC 9525).
"""

from __future__ import annotations

import ssl
import time
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..failure import Reason, Stage, SubmissionFailure
from .reply import plain_text

if TYPE_CHECKING:
    import socket

    from cryptography.x509 import Certificate

# X509_V_ERR codes of OpenSSL: not yet valid, expired, wrong host name, wrong IP address.
_NOT_YET_VALID, _EXPIRED, _WRONG_HOST, _WRONG_IP = 9, 10, 62, 64
# OpenSSL's reasons for "the peer did not answer with a TLS record"; the second is what newer versions report.
_NOT_TLS = {
    "WRONG_VERSION_NUMBER",
    "RECORD_LAYER_FAILURE",
    "HTTP_REQUEST",
    "PACKET_LENGTH_TOO_LONG",
    "UNKNOWN_PROTOCOL",
    "WRONG_SSL_VERSION",
}
# What else goes wrong inside TLS, by OpenSSL's reason. "LEGACY" is what RFC 5746 calls an unpatched server.
_TROUBLE_BY_REASON = {
    "UNSUPPORTED_PROTOCOL": "old-protocol",
    "NO_PROTOCOLS_AVAILABLE": "old-protocol",
    "VERSION_TOO_LOW": "old-protocol",
    "TLSV1_ALERT_PROTOCOL_VERSION": "old-protocol",
    "TLSV1_ALERT_INAPPROPRIATE_FALLBACK": "old-protocol",
    "DH_KEY_TOO_SMALL": "weak-key",
    "EE_KEY_TOO_SMALL": "weak-key",
    "CA_KEY_TOO_SMALL": "weak-key",
    "CA_MD_TOO_WEAK": "weak-key",
    "MODULUS_TOO_SMALL": "weak-key",
    "UNSAFE_LEGACY_RENEGOTIATION_DISABLED": "legacy-renegotiation",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "client-certificate",
    "SSLV3_ALERT_NO_CERTIFICATE": "client-certificate",
}
# X509_V_ERR codes of OpenSSL: the key of the server or of an authority is too small, or its digest too weak.
_WEAK_CERTIFICATE = {66, 67, 68}
CLIENT_CERTIFICATE = {"trouble": "client-certificate"}  # evidence
_CERTIFICATE_MESSAGE = 11  # handshake type, RFC 8446 section 4
_CERTIFICATE_REQUEST_MESSAGE = 13
_MAX_NAMES_SHOWN = 8
_MAX_MESSAGE_BYTES = 20_000  # kept of a Certificate message; the server's own certificate comes first


def wrap_socket(
    sock: socket.socket, host: str, ca_file: str | None, timeout: float
) -> tuple[ssl.SSLSocket, dict[str, str]]:
    """Perform the TLS handshake within ``timeout`` seconds; return the socket and facts for page and log.

    ``host`` is sent as SNI and must be a name of the certificate. The fact ``client_certificate`` is "asked" if the
    server asked for one. Raises SubmissionFailure at TLS.
    """
    context = _context(ca_file)
    sock.settimeout(max(timeout, 0.001))
    try:
        wrapped = context.wrap_socket(sock, server_hostname=host, do_handshake_on_connect=False)
    except (OSError, ValueError):
        raise SubmissionFailure(Stage.TLS, Reason.DISCONNECTED) from None
    observer = _CertificateObserver()
    wrapped.__dict__["observer"] = observer
    try:
        wrapped.do_handshake()
    except OSError as error:
        wrapped.close()  # it owns the descriptor now, so closing the plain socket would close nothing
        raise _failure(error, observer) from None
    asked = {"client_certificate": "asked"} if observer.certificate_requested else {}
    return wrapped, _facts(wrapped) | asked


def _context(ca_file: str | None) -> ssl.SSLContext:
    """Return the context of all connections with these authorities. It is loaded again once a file of them changes."""
    system = ssl.get_default_verify_paths()
    return _load_context(
        ca_file, tuple(_version_of(path) for path in (system.cafile, system.capath, ca_file))
    )


def _version_of(path: str | None) -> tuple[str | None, int, int]:
    """Return what changes with the content of a file or folder: its path, its time in ns, and its inode."""
    try:
        found = Path(path or "").stat()
    except OSError:
        return path, 0, 0
    return path, found.st_mtime_ns, found.st_ino


@lru_cache(
    maxsize=32
)  # each private target may have authorities of its own; a context takes about one megabyte
def _load_context(ca_file: str | None, _versions: tuple[Any, ...]) -> ssl.SSLContext:
    """Load a context. It takes longer than a handshake, because the system trusts more than a hundred authorities."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # OpenSSL's default falls back to the common name if there is no dNSName; RFC 9525 no longer permits that.
    context.hostname_checks_common_name = False
    # OpenSSL reports a failed verification without the certificate. CPython's private hook passes the messages
    # of the handshake; a Python without it gives less evidence.
    if hasattr(context, "_msg_callback"):
        context._msg_callback = _on_message
    if ca_file is not None:
        try:
            context.load_verify_locations(ca_file)
        except OSError:
            detail = "the operator's CA file cannot be read"
            raise SubmissionFailure(
                Stage.TLS, Reason.CERTIFICATE_UNTRUSTED, evidence={"detail": detail}
            ) from None
    return context


def _on_message(connection: ssl.SSLSocket, *message: Any) -> None:
    """Pass a message of a handshake to the observer of its connection."""
    connection.__dict__["observer"].on_message(*message)


def _failure(error: OSError, observer: _CertificateObserver) -> SubmissionFailure:
    if isinstance(error, ssl.SSLCertVerificationError):
        return _certificate_failure(error, observer)
    # A server that asked for a certificate and got none refuses by any alert, or hangs up.
    evidence = CLIENT_CERTIFICATE if observer.certificate_requested else {}
    if isinstance(error, TimeoutError):
        return SubmissionFailure(Stage.TLS, Reason.TIMED_OUT)
    if not isinstance(error, ssl.SSLError) or isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return SubmissionFailure(Stage.TLS, Reason.DISCONNECTED, evidence=evidence)
    if error.reason in _TROUBLE_BY_REASON:
        evidence = {"trouble": _TROUBLE_BY_REASON[error.reason]}
    detail = plain_text((error.reason or "TLS error").replace("_", " ").lower())
    reason = Reason.TLS_NOT_SPOKEN if error.reason in _NOT_TLS else Reason.TLS_FAILED
    return SubmissionFailure(Stage.TLS, reason, evidence={**evidence, "detail": detail})


def _certificate_failure(
    error: ssl.SSLCertVerificationError, observer: _CertificateObserver
) -> SubmissionFailure:
    reasons = {
        _NOT_YET_VALID: Reason.CERTIFICATE_EXPIRED,
        _EXPIRED: Reason.CERTIFICATE_EXPIRED,
        _WRONG_HOST: Reason.CERTIFICATE_NAME,
        _WRONG_IP: Reason.CERTIFICATE_NAME,
    }
    reason = reasons.get(error.verify_code, Reason.CERTIFICATE_UNTRUSTED)
    evidence = {"detail": plain_text(error.verify_message or "")} | observer.evidence()
    if error.verify_code in _WEAK_CERTIFICATE:
        reason, evidence = Reason.TLS_FAILED, evidence | {"trouble": "weak-key"}
    return SubmissionFailure(Stage.TLS, reason, evidence=evidence)


def _facts(wrapped: ssl.SSLSocket) -> dict[str, str]:
    certificate = wrapped.getpeercert() or {}
    names = [str(name[1]) for name in certificate.get("subjectAltName", ())]
    cipher = wrapped.cipher()
    return {
        "version": (wrapped.version() or "").replace("TLSv", "TLS "),
        "cipher": cipher[0] if cipher else "",
        "names": _listed(names),
        "issuer": _issuer(certificate),
        "days_left": str(_days_left(str(certificate.get("notAfter", "")))),
    }


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _MAX_NAMES_SHOWN} more" if len(names) > _MAX_NAMES_SHOWN else ""
    return ", ".join(plain_text(name, 100) for name in names[:_MAX_NAMES_SHOWN]) + more


def _issuer(certificate: object) -> str:
    if not isinstance(certificate, dict):
        return ""
    parts = {key: value for group in certificate.get("issuer", ()) for key, value in group}
    return plain_text(str(parts.get("organizationName") or parts.get("commonName") or ""), 100)


def _days_left(not_after: str) -> int:
    try:
        return int((ssl.cert_time_to_seconds(not_after) - time.time()) // 86_400)
    except ValueError:
        return 0


class _CertificateObserver:
    """Keeps the server's certificate of the handshake. It is not verified: evidence for people, never a proof."""

    def __init__(self) -> None:
        self._message = b""
        self._is_tls_1_3 = False
        self.certificate_requested = False

    def on_message(self, direction: str, version: int, _content: int, kind: int, data: bytes) -> None:
        """Keep the first Certificate message received, and whether one was requested. OpenSSL calls this: never raise."""
        if direction == "read" and kind == _CERTIFICATE_REQUEST_MESSAGE:
            self.certificate_requested = True
        if direction == "read" and kind == _CERTIFICATE_MESSAGE and not self._message:
            self._message = bytes(data[:_MAX_MESSAGE_BYTES])
            self._is_tls_1_3 = version == ssl.TLSVersion.TLSv1_3

    def evidence(self) -> dict[str, str]:
        """Return ``names`` and ``until``, or why the certificate has no name that counts; empty if unreadable."""
        # Imported here: only a handshake that failed needs it.
        from cryptography.x509 import (
            DuplicateExtension,
            UnsupportedGeneralNameType,
            load_der_x509_certificate,
        )

        try:
            certificate = load_der_x509_certificate(self._first_certificate())
            until = certificate.not_valid_after_utc.date().isoformat()
            return {**_name_evidence(certificate), "until": until}
        except (ValueError, DuplicateExtension, UnsupportedGeneralNameType):
            return {}

    def _first_certificate(self) -> bytes:
        """Return the DER of the first entry of the certificate list (RFC 5246 section 7.4.2, RFC 8446 section 4.4.2).

        A header of 4 octets precedes the list, in TLS 1.3 also the length of a context, which is empty in a
        server's message. The list and each certificate begin with their length in 3 octets.
        """
        start = (5 if self._is_tls_1_3 else 4) + 3 + 3
        length = int.from_bytes(self._message[start - 3 : start], "big")
        return self._message[start : start + length]


def _name_evidence(certificate: Certificate) -> dict[str, str]:
    from cryptography.x509 import DNSName, ExtensionNotFound, IPAddress, SubjectAlternativeName
    from cryptography.x509.oid import NameOID

    try:
        extension = certificate.extensions.get_extension_for_class(SubjectAlternativeName)
    except ExtensionNotFound:
        names = []
    else:
        names = [str(name.value) for name in extension.value if isinstance(name, DNSName | IPAddress)]
    if names:
        return {"names": _listed(names)}
    common_names = [
        str(name.value) for name in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    ]
    common_name = {"common_name": _listed(common_names)} if common_names else {}
    return {"alternative_names": "none", **common_name}
