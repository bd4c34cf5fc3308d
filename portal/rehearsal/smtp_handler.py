"""One conversation of the rehearsal server: aiosmtpd's SMTP with a provider's manners and scripted faults."""

from __future__ import annotations

import asyncio
import collections
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import idna
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session, TLSSetupException

from ..clock import utcnow
from . import provider_replies, store
from .faults import SLOW_SECONDS, Fault, Manner, Stage, Where, named_by
from .listeners import Door

if TYPE_CHECKING:
    import ssl
    from pathlib import Path

SIZE_LIMIT = 5 * 1024 * 1024  # bytes of one message
_AUTH_LINE = 1000  # a long username and password do not fit aiosmtpd's 512; RFC 4954 section 4 asks for more
_GREYLIST_LIMIT = 10_000
_log = logging.getLogger(__name__)

# aiosmtpd says these without an enhanced status code; providers say them with one (RFC 3463).
_TOO_BIG = "552 5.3.4 Message size exceeds fixed limit"
_REWORDED = {
    "552 Error: message size exceeds fixed maximum message size": _TOO_BIG,
    "552 Error: Too much mail data": _TOO_BIG,
}


@dataclass
class Office:
    """What all conversations of one server share."""

    inbox: Path
    greylist: set[tuple[str, str, str]] = field(default_factory=set)  # username, sender, recipient
    open: set[Conversation] = field(default_factory=set)
    addressees: provider_replies.Addressees = field(default_factory=provider_replies.Addressees)

    def seen(self, triple: tuple[str, str, str]) -> bool:
        """Tell whether this mail was turned away before, and remember it."""
        if triple in self.greylist:
            return True
        if len(self.greylist) >= _GREYLIST_LIMIT:
            self.greylist.clear()
        self.greylist.add(triple)
        return False


class Conversation(SMTP):
    """One connected client. ``context`` is None where the door offers no STARTTLS."""

    def __init__(self, office: Office, door: Door, context: ssl.SSLContext | None) -> None:
        # aiosmtpd keeps this table on the class and clears it whenever anybody connects.
        self.command_size_limits = collections.defaultdict(lambda: SMTP.command_size_limit)
        self.office = office
        self.door = door
        self.username = ""
        self.fault: Fault | None = None  # the one its username names
        self.mute = False
        self.delay = 0.0
        super().__init__(
            Manners(office),
            data_size_limit=SIZE_LIMIT,
            enable_SMTPUTF8=True,
            hostname="localhost",
            ident="ESMTP Signet rehearsal",
            tls_context=context,
            # With TLS from the first byte aiosmtpd does not notice that the connection is encrypted.
            auth_require_tls=door is not Door.TLS,
            authenticator=self._log_in,
            loop=asyncio.get_running_loop(),
        )
        self.command_size_limits["AUTH"] = _AUTH_LINE

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.office.open.add(self)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self.office.open.discard(self)
        super().connection_lost(error)

    def eof_received(self) -> bool:
        # True would ask to keep the other half open, which TLS cannot do and SMTP does not need.
        super().eof_received()
        return False

    async def push(self, status: Any) -> None:
        """Send a reply, in the manner of the fault that was named."""
        if self.mute:
            await asyncio.Event().wait()  # cancelled when the client hangs up or the server stops
        if self.delay and str(status)[3:4] != "-":
            await asyncio.sleep(self.delay)
        await super().push(_REWORDED.get(status, status))
        if str(status).startswith("421") and self.transport is not None:
            self.transport.close()

    async def check_auth_needed(self, caller_method: str) -> bool:
        """Refuse whatever needs a log-in before there was one."""
        if self.session is not None and self.session.authenticated:
            return False
        offers = self.tls_context is not None and not self.tls_version
        missing = "Must issue a STARTTLS command first" if offers else "Authentication required"
        await self.push(f"530 5.7.0 {missing}")
        return True

    @property
    def tls_version(self) -> str:
        """Return like "TLSv1.3"; empty without encryption."""
        return (self._tls.version() or "") if self._tls is not None else ""

    @property
    def _tls(self) -> ssl.SSLObject | None:
        return self.transport.get_extra_info("ssl_object") if self.transport is not None else None

    @property
    def port(self) -> int:
        return int(self.transport.get_extra_info("sockname")[1]) if self.transport is not None else 0

    def behave(self, fault: Fault | None) -> None:
        """Take on the manner of a fault that lasts from the moment it is named."""
        if fault is not None and fault.manner is Manner.MUTE:
            self.mute = True
        if fault is not None and fault.manner is Manner.SLOW:
            self.delay = SLOW_SECONDS

    def hang_up(self) -> None:
        """Close without a word."""
        self.mute = True  # whatever would still be said has nobody to go to
        if self.transport is not None:
            self.transport.close()

    def _log_in(self, _1: SMTP, _2: Session, _3: Envelope, _4: str, pair: LoginPassword) -> AuthResult:
        username = pair.login.decode("utf-8", "replace")
        fault = named_by(username, Where.USERNAME)
        self.behave(fault)
        if fault is not None and fault.stage is Stage.AUTH and fault.manner is Manner.REPLY:
            return AuthResult(success=False, handled=False, message=fault.plays)
        password, host = pair.password.decode("utf-8", "replace"), self.office.addressees.name(self._tls)
        refused = provider_replies.refusal(provider_replies.Login(host, username, password))
        if refused is not None:
            return AuthResult(success=False, handled=False, message=refused)
        self.username, self.fault = username, fault
        return AuthResult(success=True, auth_data=pair)


class Manners:
    """aiosmtpd's hooks: what is answered to each command. Each returns the reply as a line."""

    def __init__(self, office: Office) -> None:
        self.office = office

    async def handle_EHLO(  # noqa: N802
        self, server: Conversation, session: Session, _envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        session.host_name = hostname
        return [*responses[:-1], "250-PIPELINING", "250 HELP"]

    async def handle_MAIL(  # noqa: N802
        self, server: Conversation, _session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if not address.isascii() and not envelope.smtp_utf8:
            return "553 5.6.7 Address beyond ASCII needs SMTPUTF8"
        if server.fault is not None and server.fault.stage is Stage.MAIL:
            return server.fault.plays
        if not owns(server.username, address):
            sender, user = _shown(address), _shown(server.username)
            return f"553 5.7.1 <{sender}>: Sender address rejected: not owned by user {user}"
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 2.1.0 OK"

    async def handle_RCPT(  # noqa: N802
        self, server: Conversation, _session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if not address.isascii() and not envelope.smtp_utf8:
            return "553 5.6.7 Address beyond ASCII needs SMTPUTF8"
        own = named_by(address, Where.RECIPIENT)
        server.behave(own)
        for fault in (own, server.fault):
            if fault is None or fault.stage is not Stage.RCPT:
                continue
            once = fault.manner is Manner.REPLY_ONCE
            if once and self.office.seen((server.username, str(envelope.mail_from), address)):
                continue
            return fault.plays
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server: Conversation, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        named = [server.fault, *(named_by(address, Where.RECIPIENT) for address in envelope.rcpt_tos)]
        faults = [fault for fault in named if fault is not None and fault.stage is Stage.DATA]
        for fault in faults:
            if fault.manner is Manner.REPLY:
                return fault.plays
        now = utcnow()
        kept = store.Envelope(
            id=store.new_id(now),
            received_at=now.isoformat(),
            sender=_shown(str(envelope.mail_from)),
            recipients=tuple(_shown(address) for address in envelope.rcpt_tos),
            username=_shown(server.username),
            tls=server.tls_version,
            port=server.port,
        )
        try:
            store.keep(self.office.inbox, kept, bytes(envelope.original_content or b""))
        except OSError as error:
            _log.error("the rehearsal server could not keep a message: %s", error)
            return "452 4.3.1 Insufficient system storage"
        if faults:
            server.hang_up()
        return f"250 2.0.0 OK: queued as {kept.id}"

    async def handle_RSET(self, _server: Conversation, _session: Session, _envelope: Envelope) -> str:  # noqa: N802
        return "250 2.0.0 OK"

    async def handle_NOOP(  # noqa: N802
        self, _server: Conversation, _session: Session, _envelope: Envelope, _argument: str
    ) -> str:
        return "250 2.0.0 OK"

    async def handle_QUIT(self, _server: Conversation, _session: Session, _envelope: Envelope) -> str:  # noqa: N802
        return "221 2.0.0 Bye"

    async def handle_exception(self, error: Exception) -> str:
        if not isinstance(error, TLSSetupException):  # that one is a client that did not like our certificate
            _log.error("the rehearsal server stumbled over a command", exc_info=error)
        return "451 4.3.0 Internal error"


def owns(username: str, sender: str) -> bool:
    """Tell whether this user may send as this address: same domain, or a username that is no address."""
    _, at, domain = username.rpartition("@")
    return not at or _a_labels(domain) == _a_labels(sender.rpartition("@")[2])


def _a_labels(domain: str) -> str:
    try:
        return idna.encode(domain, uts46=True).decode("ascii").lower()
    except idna.IDNAError:
        return domain.lower()


def _shown(text: str) -> str:
    """Return text that can be written anywhere: bytes that were no UTF-8 become question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")
