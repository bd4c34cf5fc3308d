"""The operator's own submission server, read from the MAIL_* variables: encrypted unless MAIL_PLAINTEXT permits clear text."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .env import ConfigError
from .smtp.mailbox import MailboxError, parse_mailbox
from .smtp.network.guard import HostError, canonical_host

if TYPE_CHECKING:
    from .env import Reader

# What these ports mean where neither MAIL_USE_TLS nor MAIL_USE_SSL is set (RFC 6409, RFC 8314).
_STARTTLS_PORTS = frozenset({587, 2587})
_TLS_PORTS = frozenset({465, 2465})


@dataclass(frozen=True)
class PlatformMail:
    """The operator's own submission server, under Flask-Mail's names (MAIL_*)."""

    server: str
    port: int
    use_tls: bool  # STARTTLS
    use_ssl: bool  # TLS from the first octet
    username: str | None
    password: str | None = field(repr=False)
    sender: str  # mailbox, e.g. affiliates@signet.example

    @property
    def is_plaintext(self) -> bool:
        """Whether mail and password travel without encryption."""
        return not (self.use_tls or self.use_ssl)


def read_platform(read: Reader) -> PlatformMail:
    """Read the MAIL_* variables. Raises ConfigError naming what is missing or wrong."""
    sender = read.text("MAIL_DEFAULT_SENDER")
    server = read.text("MAIL_SERVER")
    if bool(server) != bool(sender):
        missing = "MAIL_DEFAULT_SENDER" if server else "MAIL_SERVER"
        raise ConfigError(
            f"{missing} is not set. The platform's sender needs both MAIL_SERVER and MAIL_DEFAULT_SENDER."
        )
    _check_addresses(server, sender)
    password = read.variable_or_file("MAIL_PASSWORD")
    if read.text("MAIL_USERNAME") and not password:
        raise ConfigError("MAIL_USERNAME is set, but MAIL_PASSWORD is not. Set both, or neither.")
    port = read.port("MAIL_PORT", 465 if read.flag("MAIL_USE_SSL") else 587)
    use_tls, use_ssl = _encryption(read, port)
    found = PlatformMail(
        server=server,
        port=port,
        use_tls=use_tls,
        use_ssl=use_ssl,
        username=read.text("MAIL_USERNAME") or None,
        password=password or None,
        sender=sender,
    )
    if server and found.is_plaintext and not (read.flag("MAIL_PLAINTEXT") or _is_loopback(server)):
        raise ConfigError(
            f"Mail to {server}, port {port}, would travel without encryption"
            f"{', and so would MAIL_PASSWORD' if password else ''}. Set MAIL_USE_TLS=1 (STARTTLS, port 587) or "
            "MAIL_USE_SSL=1 (port 465); within a network that you trust, MAIL_PLAINTEXT=1."
        )
    return found


def _encryption(read: Reader, port: int) -> tuple[bool, bool]:
    """Return whether STARTTLS and whether TLS is used. A port that implies one of them needs no variable."""
    use_tls, use_ssl = read.flag("MAIL_USE_TLS"), read.flag("MAIL_USE_SSL")
    plaintext = read.flag("MAIL_PLAINTEXT")
    if use_ssl and use_tls:
        raise ConfigError("MAIL_USE_SSL and MAIL_USE_TLS are both on; port 465 takes SSL, 587 takes TLS.")
    if plaintext and (use_ssl or use_tls):
        raise ConfigError(
            "MAIL_PLAINTEXT is on, and so is MAIL_USE_TLS or MAIL_USE_SSL. Unset MAIL_PLAINTEXT."
        )
    if plaintext or read.text("MAIL_USE_TLS") or read.text("MAIL_USE_SSL"):
        return use_tls, use_ssl
    return port in _STARTTLS_PORTS, port in _TLS_PORTS


def _is_loopback(server: str) -> bool:
    host = canonical_host(server)
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _check_addresses(server: str, sender: str) -> None:
    if not server:
        return
    try:
        canonical_host(server)
    except HostError as error:
        raise ConfigError(f"MAIL_SERVER is {server!r}. {error}") from None
    try:
        parse_mailbox(sender)
    except MailboxError as error:
        raise ConfigError(f"MAIL_DEFAULT_SENDER is {sender!r}. {error}") from None
