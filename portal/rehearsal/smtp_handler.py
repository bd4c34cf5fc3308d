"""SMTP protocol of the rehearsal server: aiosmtpd's SMTP class with providers' replies and scripted faults."""

from __future__ import annotations

import asyncio
import base64
import binascii
import collections
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import idna
from aiosmtpd.smtp import MISSING, SMTP, AuthResult, Envelope, LoginPassword, Session, TLSSetupException

from ..clock import utcnow
from ..oauth.issuers import REHEARSAL_SCOPE
from . import provider_replies, store
from .consents import TokenLogin, read_login
from .faults import SLOW_REPLY_S, Fault, FaultAddress, FaultCommand, FaultKind, find_fault
from .listeners import ListenerKind

if TYPE_CHECKING:
    import ssl
    from pathlib import Path

    from .consents import Consents

MAX_MESSAGE_BYTES = 5 * 1024 * 1024
SEND_AS = "send-as"  # a username of this name may send from any domain
_MAX_AUTH_LINE_BYTES = 1000  # a long username and password exceed aiosmtpd's 512; RFC 4954 section 4
_MAX_GREYLIST_ENTRIES = 10_000
_log = logging.getLogger(__name__)

# aiosmtpd sends these replies without an enhanced status code; providers send one (RFC 3463).
_TOO_LARGE = "552 5.3.4 Message size exceeds fixed limit"
_REPLACED_REPLIES = {
    "552 Error: message size exceeds fixed maximum message size": _TOO_LARGE,
    "552 Error: Too much mail data": _TOO_LARGE,
}


_REFUSED_TOKEN = '{"status":"401","schemes":"bearer","scope":"smtp.send"}'
_TOKEN_REFUSAL = "535 5.7.3 Authentication unsuccessful"


@dataclass
class ServerState:
    """State shared by all connections of one server."""

    inbox: Path
    consents: Consents
    greylist: set[tuple[str, str, str]] = field(default_factory=set)  # username, sender, recipient
    connections: set[FaultySmtp] = field(default_factory=set)
    sni_names: provider_replies.SniNames = field(default_factory=provider_replies.SniNames)

    def is_retry(self, triple: tuple[str, str, str]) -> bool:
        """Return whether this envelope was greylisted before; add it to the greylist."""
        if triple in self.greylist:
            return True
        if len(self.greylist) >= _MAX_GREYLIST_ENTRIES:
            self.greylist.clear()
        self.greylist.add(triple)
        return False


class FaultySmtp(SMTP):
    """One client connection. ``context`` is None if the listener offers no STARTTLS."""

    def __init__(self, state: ServerState, kind: ListenerKind, context: ssl.SSLContext | None) -> None:
        # aiosmtpd shares this table between connections and clears it on each new connection.
        self.command_size_limits = collections.defaultdict(lambda: SMTP.command_size_limit)
        self.state = state
        self.username = ""
        self.fault: Fault | None = None  # selected by the username
        self.mute = False  # send no more replies
        self.delay_s = 0.0  # before each reply
        super().__init__(
            CommandHandler(state),
            data_size_limit=MAX_MESSAGE_BYTES,
            enable_SMTPUTF8=True,
            hostname="localhost",
            ident="ESMTP Signet rehearsal",
            tls_context=context,
            # aiosmtpd does not detect encryption on a connection with implicit TLS.
            auth_require_tls=kind is not ListenerKind.TLS,
            authenticator=self._verify_login,
            loop=asyncio.get_running_loop(),
        )
        self.command_size_limits["AUTH"] = _MAX_AUTH_LINE_BYTES

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.state.connections.add(self)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self.state.connections.discard(self)
        super().connection_lost(error)

    def eof_received(self) -> bool:
        # True would keep the other direction open, which TLS does not support and SMTP does not need.
        super().eof_received()
        return False

    async def push(self, status: Any) -> None:
        """Send a reply, delayed or suppressed by the selected fault."""
        if self.mute:
            await asyncio.Event().wait()  # cancelled when the client disconnects or the server stops
        if self.delay_s and str(status)[3:4] != "-":
            await asyncio.sleep(self.delay_s)
        await super().push(_REPLACED_REPLIES.get(status, status))
        if str(status).startswith("421") and self.transport is not None:
            self.transport.close()

    async def check_auth_needed(self, _caller_method: str) -> bool:
        """Reject a command before the log-in with 530; return whether it was rejected."""
        if self.session is not None and self.session.authenticated:
            return False
        offers_starttls = self.tls_context is not None and not self.tls_version
        missing = "Must issue a STARTTLS command first" if offers_starttls else "Authentication required"
        await self.push(f"530 5.7.0 {missing}")
        return True

    @property
    def tls_version(self) -> str:
        """TLS version such as "TLSv1.3", empty without encryption."""
        return (self._tls.version() or "") if self._tls is not None else ""

    @property
    def _tls(self) -> ssl.SSLObject | None:
        return self.transport.get_extra_info("ssl_object") if self.transport is not None else None

    @property
    def port(self) -> int:
        return int(self.transport.get_extra_info("sockname")[1]) if self.transport is not None else 0

    def apply_lasting_fault(self, fault: Fault | None) -> None:
        """Apply a fault that affects every reply from now on: no replies, or slow ones."""
        if fault is not None and fault.kind is FaultKind.MUTE:
            self.mute = True
        if fault is not None and fault.kind is FaultKind.SLOW:
            self.delay_s = SLOW_REPLY_S

    def disconnect(self) -> None:
        """Close the connection without a reply."""
        self.mute = True  # aiosmtpd would still write a reply to the closed transport
        if self.transport is not None:
            self.transport.close()

    def _verify_login(self, _1: SMTP, _2: Session, _3: Envelope, _4: str, pair: LoginPassword) -> AuthResult:
        username = pair.login.decode("utf-8", "replace")
        fault = self._select_fault(username)
        if fault is not None and fault.command is FaultCommand.AUTH and fault.kind is FaultKind.REPLY:
            return AuthResult(success=False, handled=False, message=fault.reply)
        password, host = pair.password.decode("utf-8", "replace"), self.state.sni_names.name(self._tls)
        refusal = provider_replies.refusal_for(provider_replies.Login(host, username, password))
        if refusal is not None:
            return AuthResult(success=False, handled=False, message=refusal)
        self.username, self.fault = username, fault
        return AuthResult(success=True, auth_data=pair)

    async def auth_XOAUTH2(self, _server: SMTP, words: list[str]) -> AuthResult:  # noqa: N802
        """Log in with a token that the rehearsal's authorization server gave."""
        return await self._log_in_with_token(words)

    async def auth_OAUTHBEARER(self, _server: SMTP, words: list[str]) -> AuthResult:  # noqa: N802
        """Log in with a token (RFC 7628)."""
        return await self._log_in_with_token(words)

    async def _log_in_with_token(self, words: list[str]) -> AuthResult:
        response = _decoded(words[1]) if len(words) > 1 else await self.challenge_auth("")
        if not isinstance(response, bytes):  # challenge_auth has replied
            return AuthResult(success=False, handled=response is MISSING)
        login = read_login(response)
        if login is None or not self.state.consents.accepts(login, REHEARSAL_SCOPE, utcnow()):
            # The second 334 states the reason; the client answers it with a dummy line (RFC 7628 section 3.2.3).
            if await self.challenge_auth(_REFUSED_TOKEN) is MISSING:
                return AuthResult(success=False)
            return AuthResult(success=False, handled=False, message=_TOKEN_REFUSAL)
        return self._accept_token(login)

    def _accept_token(self, login: TokenLogin) -> AuthResult:
        fault = self._select_fault(login.username)
        if fault is not None and fault.command is FaultCommand.AUTH and fault.kind is FaultKind.REPLY:
            return AuthResult(success=False, handled=False, message=fault.reply)
        self.username, self.fault = login.username, fault
        return AuthResult(success=True)

    def _select_fault(self, username: str) -> Fault | None:
        fault = find_fault(username, FaultAddress.USERNAME)
        self.apply_lasting_fault(fault)
        return fault


class CommandHandler:
    """aiosmtpd's command hooks; each returns the reply as one line."""

    def __init__(self, state: ServerState) -> None:
        self.state = state

    async def handle_EHLO(  # noqa: N802
        self, _server: FaultySmtp, session: Session, _envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        session.host_name = hostname
        return [*responses[:-1], "250-PIPELINING", "250 HELP"]

    async def handle_MAIL(  # noqa: N802
        self, server: FaultySmtp, _session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if not address.isascii() and not envelope.smtp_utf8:
            return "553 5.6.7 Address beyond ASCII needs SMTPUTF8"
        if server.fault is not None and server.fault.command is FaultCommand.MAIL:
            return server.fault.reply
        if not may_send_as(server.username, address):
            sender, user = _encodable(address), _encodable(server.username)
            return f"553 5.7.1 <{sender}>: Sender address rejected: not owned by user {user}"
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 2.1.0 OK"

    async def handle_RCPT(  # noqa: N802
        self, server: FaultySmtp, _session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if not address.isascii() and not envelope.smtp_utf8:
            return "553 5.6.7 Address beyond ASCII needs SMTPUTF8"
        own_fault = find_fault(address, FaultAddress.RECIPIENT)
        server.apply_lasting_fault(own_fault)
        for fault in (own_fault, server.fault):
            if fault is None or fault.command is not FaultCommand.RCPT:
                continue
            once = fault.kind is FaultKind.REPLY_ONCE
            if once and self.state.is_retry((server.username, str(envelope.mail_from), address)):
                continue
            return fault.reply
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server: FaultySmtp, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        selected = [server.fault, *(find_fault(to, FaultAddress.RECIPIENT) for to in envelope.rcpt_tos)]
        faults = [fault for fault in selected if fault is not None and fault.command is FaultCommand.DATA]
        for fault in faults:
            if fault.kind is FaultKind.REPLY:
                return fault.reply
        now = utcnow()
        stored = store.StoredEnvelope(
            id=store.new_id(now),
            received_at=now.isoformat(),
            sender=_encodable(str(envelope.mail_from)),
            recipients=tuple(_encodable(address) for address in envelope.rcpt_tos),
            username=_encodable(server.username),
            tls=server.tls_version,
            port=server.port,
        )
        try:
            store.save(self.state.inbox, stored, bytes(envelope.original_content or b""))
        except OSError as error:
            _log.error("rehearsal server could not store a message: %s", error)
            return "452 4.3.1 Insufficient system storage"
        if faults:
            server.disconnect()
        return f"250 2.0.0 OK: queued as {stored.id}"

    async def handle_RSET(self, _server: FaultySmtp, _session: Session, _envelope: Envelope) -> str:  # noqa: N802
        return "250 2.0.0 OK"

    async def handle_NOOP(  # noqa: N802
        self, _server: FaultySmtp, _session: Session, _envelope: Envelope, _argument: str
    ) -> str:
        return "250 2.0.0 OK"

    async def handle_QUIT(self, _server: FaultySmtp, _session: Session, _envelope: Envelope) -> str:  # noqa: N802
        return "221 2.0.0 Bye"

    async def handle_exception(self, error: Exception) -> str:
        if not isinstance(error, TLSSetupException):  # raised when the client rejects our certificate
            _log.error("rehearsal server failed to handle a command", exc_info=error)
        return "451 4.3.0 Internal error"


def _decoded(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None


def may_send_as(username: str, sender: str) -> bool:
    """Return whether the sender has the username's domain, or the username is no address or named ``send-as``."""
    local, at, domain = username.rpartition("@")
    if not at or local.rpartition("+")[2] == SEND_AS:
        return True
    return _a_labels(domain) == _a_labels(sender.rpartition("@")[2])


def _a_labels(domain: str) -> str:
    try:
        return idna.encode(domain, uts46=True).decode("ascii").lower()
    except idna.IDNAError:
        return domain.lower()


def _encodable(text: str) -> str:
    """Return text that can be encoded: bytes that were not valid UTF-8 become question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")
