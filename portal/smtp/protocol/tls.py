"""TLS towards a submission server: always verified, 1.2 or newer (RFC 8997), with facts a person can read."""

from __future__ import annotations

import re
import ssl
import time
from ipaddress import ip_address
from typing import TYPE_CHECKING

from ..failure import Reason, Stage, SubmissionFailure
from .reply import plain_text

if TYPE_CHECKING:
    import socket

# X509_V_ERR codes of OpenSSL: not yet valid, expired, wrong host name, wrong IP address.
_NOT_YET_VALID, _EXPIRED, _WRONG_HOST, _WRONG_IP = 9, 10, 62, 64
# How OpenSSL says "that is no TLS record"; the second is newer OpenSSL's wording of the first.
_NO_TLS = {
    "WRONG_VERSION_NUMBER",
    "RECORD_LAYER_FAILURE",
    "HTTP_REQUEST",
    "PACKET_LENGTH_TOO_LONG",
    "UNKNOWN_PROTOCOL",
    "WRONG_SSL_VERSION",
}
_CERTIFICATE_MESSAGE = 11  # handshake type, RFC 8446 section 4
_ALTERNATIVE_NAMES = b"\x06\x03\x55\x1d\x11"  # DER of the object identifier 2.5.29.17
_UTC_TIME = re.compile(
    rb"\x17\x0d(\d{2})(\d{2})(\d{2})\d{6}Z"
)  # DER of a UTCTime; validity has the first two
_NAMES_SHOWN = 8


def wrap_socket(
    sock: socket.socket, host: str, ca_file: str | None, timeout: float
) -> tuple[ssl.SSLSocket, dict[str, str]]:
    """Wrap a connected socket within ``timeout`` seconds; return it with facts for page and log.

    ``host`` is what the certificate must be for and what is sent as SNI. Raises SubmissionFailure at TLS.
    """
    seen = _SeenCertificate()
    context = _context(ca_file)
    # OpenSSL tells a failed check but not the certificate that failed it. This hook of CPython shows the
    # handshake's messages; where a Python has none, the evidence is merely poorer.
    if hasattr(context, "_msg_callback"):
        context._msg_callback = seen.watch
    sock.settimeout(max(timeout, 0.001))
    try:
        wrapped = context.wrap_socket(sock, server_hostname=host, do_handshake_on_connect=False)
    except (OSError, ValueError):
        raise SubmissionFailure(Stage.TLS, Reason.DISCONNECTED) from None
    try:
        wrapped.do_handshake()
    except OSError as error:
        wrapped.close()  # it took the descriptor over, so closing the plain socket would close nothing
        raise _failure(error, seen) from None
    return wrapped, _facts(wrapped)


def _context(ca_file: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if ca_file is not None:
        try:
            context.load_verify_locations(ca_file)
        except OSError:
            detail = "the operator's CA file cannot be read"
            raise SubmissionFailure(
                Stage.TLS, Reason.CERTIFICATE_UNTRUSTED, evidence={"detail": detail}
            ) from None
    return context


def _failure(error: OSError, seen: _SeenCertificate) -> SubmissionFailure:
    if isinstance(error, ssl.SSLCertVerificationError):
        return _certificate_failure(error, seen)
    if isinstance(error, TimeoutError):
        return SubmissionFailure(Stage.TLS, Reason.TIMED_OUT)
    if not isinstance(error, ssl.SSLError) or isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return SubmissionFailure(Stage.TLS, Reason.DISCONNECTED)
    detail = plain_text((error.reason or "TLS error").replace("_", " ").lower())
    reason = Reason.TLS_NOT_SPOKEN if error.reason in _NO_TLS else Reason.TLS_FAILED
    return SubmissionFailure(Stage.TLS, reason, evidence={"detail": detail})


def _certificate_failure(error: ssl.SSLCertVerificationError, seen: _SeenCertificate) -> SubmissionFailure:
    reasons = {
        _NOT_YET_VALID: Reason.CERTIFICATE_EXPIRED,
        _EXPIRED: Reason.CERTIFICATE_EXPIRED,
        _WRONG_HOST: Reason.CERTIFICATE_NAME,
        _WRONG_IP: Reason.CERTIFICATE_NAME,
    }
    reason = reasons.get(error.verify_code, Reason.CERTIFICATE_UNTRUSTED)
    evidence = {"detail": plain_text(error.verify_message or "")} | seen.facts()
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
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return ", ".join(plain_text(name, 100) for name in names[:_NAMES_SHOWN]) + more


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


class _SeenCertificate:
    """The server's own certificate as it passed by in the handshake, unverified: a hint and never a proof."""

    def __init__(self) -> None:
        self._der = b""

    def watch(
        self, _connection: object, direction: str, _version: int, _content: int, kind: int, data: bytes
    ) -> None:
        """Keep the first certificate message read; called by OpenSSL, so it must not raise."""
        if direction == "read" and kind == _CERTIFICATE_MESSAGE and not self._der:
            self._der = bytes(data[:20_000])

    def facts(self) -> dict[str, str]:
        """Return ``names`` and ``until`` as far as they can be read."""
        names = _listed(_alternative_names(self._der))
        dates = _UTC_TIME.findall(self._der)[:2]
        until = "-".join(part.decode() for part in dates[1]) if len(dates) == 2 else ""
        return ({"names": names} if names else {}) | ({"until": f"20{until}"} if until else {})


def _alternative_names(der: bytes) -> list[str]:
    """Read the dNSName and iPAddress entries of the first subjectAltName extension (RFC 5280 4.2.1.6).

    Only the outermost shape is walked, and whatever does not fit ends the walk: these octets are unverified.
    """
    found = der.find(_ALTERNATIVE_NAMES)
    if found < 0:
        return []
    at = found + len(_ALTERNATIVE_NAMES)
    if der[at : at + 1] == b"\x01":  # the extension's "critical" flag
        at += 3
    at, _ = _header(der, at)  # the OCTET STRING ...
    at, length = _header(der, at)  # ... holds a SEQUENCE of names
    return _names_between(der, at, min(at + length, len(der)))


def _names_between(der: bytes, at: int, end: int) -> list[str]:
    names: list[str] = []
    while at < end:
        tag = der[at]
        at, length = _header(der, at)
        value = der[at : at + length]
        at += length
        if tag == 0x82:
            names.append(value.decode("ascii", "replace"))
        if tag == 0x87 and len(value) in (4, 16):
            names.append(str(ip_address(value)))
    return names


def _header(der: bytes, at: int) -> tuple[int, int]:
    """Return where a DER value begins and how long it is; beyond the end both say "nothing here"."""
    if at + 2 > len(der):
        return len(der), 0
    length = der[at + 1]
    if length < 0x80:
        return at + 2, length
    octets = length & 0x7F
    return at + 2 + octets, int.from_bytes(der[at + 2 : at + 2 + octets], "big")
