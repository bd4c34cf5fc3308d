"""Server: the settings of one submission server, as an immutable value."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from .network.guard import EgressPolicy


class Security(StrEnum):
    """How a connection becomes encrypted (RFC 8314)."""

    STARTTLS = "starttls"  # plaintext connection, then a mandatory upgrade (RFC 3207)
    IMPLICIT_TLS = "implicit"  # TLS from the first byte
    PLAINTEXT = "plaintext"  # only for private targets for which the operator permits it


class Mechanism(StrEnum):
    """AUTH mechanism (RFC 4954).

    AUTOMATIC uses PLAIN if it is offered, otherwise LOGIN, otherwise CRAM-MD5; with a token XOAUTH2, otherwise OAUTHBEARER.
    NONE is no log-in, for relays that go by the portal's address; only towards servers that the policy lists for it.
    """

    AUTOMATIC = "automatic"
    PLAIN = "plain"
    LOGIN = "login"
    CRAM_MD5 = "cram-md5"
    NONE = "none"
    XOAUTH2 = "xoauth2"  # Google's and Microsoft's own form
    OAUTHBEARER = "oauthbearer"  # RFC 7628


class Secret:
    """A password that repr and str do not show, and that cannot be pickled."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the password; call it as late as possible, so that few frames hold the text."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(hidden)"

    __str__ = __repr__

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError("a Secret cannot be pickled")


@dataclass(frozen=True)
class AccessToken:
    """An access token of OAuth 2.0 (RFC 6749 section 1.4).

    ``sentence`` states where it comes from, for the result of the stage.
    """

    secret: Secret = field(repr=False)
    sentence: str


class TokenSource(Protocol):
    """Supplies access tokens for one mailbox. Two sources of the same consent are equal."""

    def fetch(self) -> AccessToken:
        """Return a token that is valid for a minute or longer. Raises SubmissionFailure at the stage CONSENT."""
        ...

    def renew(self, refused: AccessToken) -> AccessToken | None:
        """Return a newer token in place of one that a server refused, None if there can be none.

        Raises SubmissionFailure at the stage CONSENT.
        """
        ...


@dataclass(frozen=True)
class Limits:
    """Bounds of one conversation: seconds, and bytes received."""

    deadline: float = 60.0  # absolute, from the look-up of the name to the last reply
    connect: float = 10.0  # one TCP connection attempt
    first_connect: float = (
        2.0  # the first attempt at each of several addresses, so that a dead one costs little
    )
    greeting: float = 30.0  # the 220 reply; RFC 5321 section 4.5.3.2.1 asks for 300
    reply: float = 30.0  # each later reply
    final_reply: float = (
        0.0  # the reply to a message, after which the deadline is moved; 0: what is left of it
    )
    received: int = 256 * 1024  # the whole conversation; a usual one is under 4 KiB


@dataclass(frozen=True)
class Server:
    """Everything needed to submit a message to one server."""

    host: str  # canonical: lower case, A-labels, no trailing dot
    port: int
    security: Security
    username: str | None = None  # None: no AUTH
    password: Secret | None = field(default=None, repr=False)
    mechanism: Mechanism = Mechanism.AUTOMATIC
    ehlo_name: str = "localhost"  # the portal's public host name
    policy: EgressPolicy = field(default_factory=EgressPolicy, repr=False)
    limits: Limits = field(default_factory=Limits, repr=False)
    tokens: TokenSource | None = field(default=None, repr=False)  # in place of the password

    @property
    def address(self) -> str:
        """Return ``host:port`` for sentences, with an IPv6 address in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
