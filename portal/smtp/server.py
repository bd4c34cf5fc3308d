"""The submission server a message is handed to, as one frozen value."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from .network.guard import EgressPolicy


class Security(StrEnum):
    """How a connection becomes encrypted (RFC 8314)."""

    STARTTLS = "starttls"  # plain connect, then a required upgrade (RFC 3207)
    IMPLICIT_TLS = "implicit"  # TLS from the first byte
    PLAINTEXT = "plaintext"  # only towards targets the operator allowed by name


class Mechanism(StrEnum):
    """How the log-in is said (RFC 4954). AUTOMATIC picks PLAIN, then LOGIN, from what is offered."""

    AUTOMATIC = "automatic"
    PLAIN = "plain"
    LOGIN = "login"
    CRAM_MD5 = "cram-md5"


class Secret:
    """A password that shows itself to nobody: repr, str and pickling give no hint of it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the plain text; called at the moment it is written to the socket and nowhere else."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(hidden)"

    __str__ = __repr__

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError("a Secret is never pickled")


@dataclass(frozen=True)
class Limits:
    """Bounds of one conversation. Times in seconds, size in bytes received."""

    deadline: float = 60.0  # absolute, from the first look-up to the last reply
    connect: float = 10.0  # one TCP connection
    greeting: float = 10.0  # the 220, which a TLS-only port never sends
    reply: float = 30.0  # any later single reply
    received: int = 256 * 1024  # the whole conversation; an honest one is under 4 KiB


@dataclass(frozen=True)
class Server:
    """Everything needed to hand a message to one submission server."""

    host: str  # canonical: lower case, A-labels, no trailing dot
    port: int
    security: Security
    username: str | None = None  # None: no log-in
    password: Secret | None = field(default=None, repr=False)
    mechanism: Mechanism = Mechanism.AUTOMATIC
    ehlo_name: str = "localhost"  # what we call ourselves; the operator's public host name
    policy: EgressPolicy = field(default_factory=EgressPolicy, repr=False)
    limits: Limits = field(default_factory=Limits, repr=False)

    @property
    def address(self) -> str:
        """Return ``host:port`` for sentences; an IPv6 address stands in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
