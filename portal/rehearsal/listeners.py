"""The doors of the rehearsal server, as data: the server opens them and the page explains them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..config import Config

HOST = "127.0.0.1"  # never another address: mail in rehearsal stays on this machine
PASSWORD = "rehearsal"  # lets any username in; no secret, it is printed on the page


class Door(StrEnum):
    """What kind of encryption a listener plays."""

    STARTTLS = "starttls"
    TLS = "tls"
    PLAIN = "plain"
    EXPIRED = "expired"


@dataclass(frozen=True)
class Listener:
    """One door. ``setting`` is its field in Config, ``variable`` what the operator writes to move it."""

    door: Door
    setting: str
    variable: str
    ssl: bool  # how Enable SSL is to be set for it
    sentence: str

    def port(self, config: Config) -> int:
        """Return the port the operator gave this door."""
        return int(getattr(config, self.setting))


LISTENERS = (
    Listener(
        Door.STARTTLS,
        "rehearsal_starttls_port",
        "SIGNET_REHEARSAL_STARTTLS_PORT",
        False,
        "Works. Starts plain and switches to encryption before the log-in, like port 587 of a provider.",
    ),
    Listener(
        Door.TLS,
        "rehearsal_tls_port",
        "SIGNET_REHEARSAL_TLS_PORT",
        True,
        "Works. Encrypted from the first byte, like port 465 of a provider.",
    ),
    Listener(
        Door.PLAIN,
        "rehearsal_plain_port",
        "SIGNET_REHEARSAL_PLAIN_PORT",
        False,
        "Fails on purpose: the server never offers encryption, and so no log-in either.",
    ),
    Listener(
        Door.EXPIRED,
        "rehearsal_expired_port",
        "SIGNET_REHEARSAL_EXPIRED_PORT",
        False,
        "Fails on purpose: the server shows a certificate that has expired.",
    ),
)


def ports_of(config: Config) -> Mapping[Door, int]:
    """Return the configured port of every door."""
    return {listener.door: listener.port(config) for listener in LISTENERS}
