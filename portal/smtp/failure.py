"""The one way a submission fails, and the stages at which it can.

Three readers use a failure and none re-parses text: the retry rule, the delivery (whose trouble is
it?) and the diagnosis (what does the owner do?).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .protocol.reply import Reply


class Stage(StrEnum):
    """The rungs of the ladder of proof, in the order they are climbed."""

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
    """Why, as far as the engine itself saw it; what a reply *means* is the diagnosis's business."""

    REPLIED = "replied"  # the server said no: see the reply
    NAME_UNKNOWN = "name-unknown"  # NXDOMAIN or no address
    NAME_UNANSWERED = "name-unanswered"  # the look-up itself failed or timed out
    TARGET_REFUSED = "target-refused"  # our own guard: port or address not allowed
    CONNECT_REFUSED = "connect-refused"
    CONNECT_TIMED_OUT = "connect-timed-out"
    UNREACHABLE = "unreachable"
    TIMED_OUT = "timed-out"  # silence, or the absolute deadline
    DISCONNECTED = "disconnected"
    TOO_MUCH = "too-much"  # the byte budget or a line limit
    NOT_SMTP = "not-smtp"  # something else answers there
    GARBLED = "garbled"  # an SMTP reply that breaks the grammar
    STARTTLS_MISSING = "starttls-missing"
    TLS_NOT_SPOKEN = "tls-not-spoken"  # TLS hello was answered by something that is no TLS
    TLS_FAILED = "tls-failed"  # version, cipher, alert
    CERTIFICATE_UNTRUSTED = "certificate-untrusted"
    CERTIFICATE_EXPIRED = "certificate-expired"
    CERTIFICATE_NAME = "certificate-name"
    AUTH_MISSING = "auth-missing"  # the server offers no log-in
    MECHANISM_MISSING = "mechanism-missing"  # it offers others than the chosen one
    AUTH_NEEDS_TLS = "auth-needs-tls"  # we never say a password in clear
    MESSAGE_TOO_BIG = "message-too-big"  # over the SIZE the server announced
    NEEDS_SMTPUTF8 = "needs-smtputf8"  # address beyond ASCII, server without RFC 6531


@dataclass
class SubmissionFailure(Exception):
    """A conversation ended without the message being accepted.

    ``permanent`` is the plain protocol reading (5yz); vendors lie, so the diagnosis decides.
    ``ambiguous`` is true when the server may hold the message: the final dot was sent, its reply never read.
    ``evidence`` holds plain facts (addresses, certificate names, offered mechanisms) for page and log.
    """

    stage: Stage
    reason: Reason
    reply: Reply | None = None
    ambiguous: bool = False
    evidence: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__init__(str(self))

    def __reduce__(self) -> tuple[object, ...]:
        """Keep all fields through pickling and copying, which else rebuild it from its message alone."""
        return type(self), (self.stage, self.reason, self.reply, self.ambiguous, dict(self.evidence))

    @property
    def permanent(self) -> bool:
        return self.reply is not None and self.reply.permanent

    def __str__(self) -> str:
        said = f": {self.reply}" if self.reply else ""
        return f"{self.stage} {self.reason}{said}"
