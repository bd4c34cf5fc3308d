"""SubmissionFailure: why a submission failed, and the stage at which it did.

The retry rule, the delivery and the diagnosis read its fields; none of them parses the text of a reply again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .protocol.reply import Reply


class Stage(StrEnum):
    """The stages of a submission, in order."""

    CONSENT = "consent"  # an access token is fetched, before the server is dialled
    RESOLVE = "resolve"
    CONNECT = "connect"
    GREETING = "greeting"
    EHLO = "ehlo"
    TLS = "tls"
    AUTH = "auth"
    MAIL = "mail"  # sender accepted
    RCPT = "rcpt"  # recipient accepted
    DATA = "data"  # message accepted


class Reason(StrEnum):
    """The technical cause of a failure. What a reply means is decided in ``diagnosis``."""

    REPLIED = "replied"  # the server refused; see the reply
    NAME_UNKNOWN = "name-unknown"  # NXDOMAIN, no address, or only addresses of inner networks
    NAME_UNANSWERED = "name-unanswered"  # the look-up failed or timed out
    TARGET_REFUSED = "target-refused"  # refused by the guard: port or address not allowed
    CONNECT_REFUSED = "connect-refused"
    CONNECT_TIMED_OUT = "connect-timed-out"
    UNREACHABLE = "unreachable"
    TIMED_OUT = "timed-out"  # no reply in time, or the absolute deadline
    DISCONNECTED = "disconnected"
    CANCELLED = "cancelled"  # the caller no longer wanted to wait
    TOO_MUCH = "too-much"  # the limit of bytes or of lines
    NOT_SMTP = "not-smtp"  # another protocol answers
    GARBLED = "garbled"  # a malformed or unexpected SMTP reply
    STARTTLS_MISSING = "starttls-missing"
    TLS_NOT_SPOKEN = "tls-not-spoken"  # the answer to the TLS ClientHello is not TLS
    TLS_FAILED = "tls-failed"  # version, cipher, alert
    CERTIFICATE_UNTRUSTED = "certificate-untrusted"
    CERTIFICATE_EXPIRED = "certificate-expired"
    CERTIFICATE_NAME = "certificate-name"
    AUTH_MISSING = "auth-missing"  # the server does not offer AUTH
    MECHANISM_MISSING = "mechanism-missing"  # the chosen mechanism is not offered
    LOGIN_REQUIRED = "login-required"  # the policy lists this server for no mail without a log-in
    AUTH_NEEDS_TLS = "auth-needs-tls"  # a password or token is never sent in plaintext
    TOKEN_REFUSED = "token-refused"  # the authorization server gave no access token; see the evidence
    TOKEN_UNAVAILABLE = "token-unavailable"  # the authorization server failed or did not answer
    MESSAGE_TOO_BIG = "message-too-big"  # larger than the SIZE of the EHLO reply
    NEEDS_SMTPUTF8 = "needs-smtputf8"  # a non-ASCII address, and a server without RFC 6531


@dataclass
class SubmissionFailure(Exception):
    """A conversation ended before the message was accepted.

    Attributes:
        ambiguous: the message was possibly delivered: the final dot was sent, its reply was not read.
        evidence: facts for page and log: addresses, certificate names, offered mechanisms.
        is_refused_target: the guard refused it, also where ``reason`` does not show it. For logs of the operator only.
    """

    stage: Stage
    reason: Reason
    reply: Reply | None = None
    ambiguous: bool = False
    evidence: Mapping[str, str] = field(default_factory=dict)
    is_refused_target: bool = field(default=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        super().__init__(str(self))

    def __reduce__(self) -> tuple[object, ...]:
        """Keep all fields when pickled or copied; an exception is rebuilt from its message by default."""
        values = (self.stage, self.reason, self.reply, self.ambiguous, dict(self.evidence))
        return type(self), (*values, self.is_refused_target)

    @property
    def permanent(self) -> bool:
        """Return whether the reply is 5yz. Servers use the wrong class at times, so the diagnosis decides."""
        return self.reply is not None and self.reply.permanent

    def __str__(self) -> str:
        reply = f": {self.reply}" if self.reply else ""
        return f"{self.stage} {self.reason}{reply}"
