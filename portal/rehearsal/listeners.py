"""Listeners of the rehearsal server, as data: the server opens them and the page explains them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from flask_babel import lazy_gettext

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..config import Config

HOST = "127.0.0.1"  # the only address listened on: rehearsal mail stays on this machine
PASSWORD = "rehearsal"  # accepted with any username; not a secret, the page shows it


class ListenerKind(StrEnum):
    """Encryption that a listener offers."""

    STARTTLS = "starttls"
    TLS = "tls"
    PLAIN = "plain"
    EXPIRED = "expired"
    IMAP = "imap"  # mailboxes with played bounces, with TLS
    CONSENT = "consent"  # HTTP: the pages of consent and the token endpoint


@dataclass(frozen=True)
class Listener:
    """One listening port. ``config_field`` is its field in Config, ``variable`` its environment variable."""

    kind: ListenerKind
    config_field: str
    variable: str
    enable_ssl: bool  # the setting "Enable SSL" that fits this listener
    sentence: str

    def port(self, config: Config) -> int:
        """Return the configured port."""
        return int(getattr(config, self.config_field))


LISTENERS = (
    Listener(
        ListenerKind.STARTTLS,
        "rehearsal_starttls_port",
        "SIGNET_REHEARSAL_STARTTLS_PORT",
        enable_ssl=False,
        sentence=lazy_gettext(
            "Works. Starts plain and switches to encryption before the log-in, like port 587 of a provider."
        ),
    ),
    Listener(
        ListenerKind.TLS,
        "rehearsal_tls_port",
        "SIGNET_REHEARSAL_TLS_PORT",
        enable_ssl=True,
        sentence=lazy_gettext("Works. Encrypted from the first byte, like port 465 of a provider."),
    ),
    Listener(
        ListenerKind.PLAIN,
        "rehearsal_plain_port",
        "SIGNET_REHEARSAL_PLAIN_PORT",
        enable_ssl=False,
        sentence=lazy_gettext(
            "Fails on purpose: the server never offers encryption, and so no log-in either."
        ),
    ),
    Listener(
        ListenerKind.EXPIRED,
        "rehearsal_expired_port",
        "SIGNET_REHEARSAL_EXPIRED_PORT",
        enable_ssl=False,
        sentence=lazy_gettext("Fails on purpose: the server shows a certificate that has expired."),
    ),
)


IMAP_VARIABLE, CONSENT_VARIABLE = "SIGNET_REHEARSAL_IMAP_PORT", "SIGNET_REHEARSAL_CONSENT_PORT"


def configured_ports(config: Config) -> Mapping[ListenerKind, int]:
    """Return the configured port of every listener."""
    smtp = {listener.kind: listener.port(config) for listener in LISTENERS}
    return {
        **smtp,
        ListenerKind.IMAP: config.rehearsal_imap_port,
        ListenerKind.CONSENT: config.rehearsal_consent_port,
    }
