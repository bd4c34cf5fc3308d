"""Handshake: opens a connection stage by stage: consent, resolve, connect, greeting, EHLO, TLS and AUTH.

Every failure is a SubmissionFailure; the connection is closed before it is raised.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ..failure import Reason, Stage, SubmissionFailure
from ..network.dial import Deadline, Peer, dial, with_own_ports
from ..network.guard import resolve_allowed
from ..server import AccessToken, Limits, Mechanism, Security, Server
from . import auth, tls
from .connection import SmtpConnection
from .reply import EhloFeatures
from .stages import Observer, StageNotes, StageRecorder, StageResult, tls_sentence
from .transcript import Transcript

if TYPE_CHECKING:
    from collections.abc import Callable

_TLS_AT_ONCE_PORTS = {465, 2465}  # by convention, RFC 8314 section 7.3
_SILENT_PORT_S = 10.0
_EHLO_NAME = re.compile(r"[A-Za-z0-9.:\[\]-]{1,255}")


class Handshake:
    """A connection to ``server`` and the stages that open it; ``Session`` adds the messages.

    ``observer`` is called with the result of every stage, ``keep_waiting`` every second while the server is silent:
    False ends the conversation with the reason CANCELLED. Raises ValueError, before a connection is opened,
    for credentials or an EHLO name that cannot be transmitted.
    """

    def __init__(
        self,
        server: Server,
        observer: Observer | None = None,
        keep_waiting: Callable[[], bool] | None = None,
    ) -> None:
        auth.check_credentials_encodable(server)
        if not _EHLO_NAME.fullmatch(server.ehlo_name):
            raise ValueError("The EHLO name is no host name.")
        self.server = server
        self.features = EhloFeatures()
        self._recorder = StageRecorder(server, observer)
        self._keep_waiting = keep_waiting
        self._connection: SmtpConnection | None = None
        self._peer: Peer | None = None
        self._certificate_asked = False  # by the server, which got none
        self.begin_message()

    @property
    def stage_results(self) -> tuple[StageResult, ...]:
        """Return the results since ``open`` or the last ``begin_message``."""
        return self._recorder.results

    def open(self) -> None:
        """Perform the stages from CONSENT to AUTH; do nothing if the connection is open.

        Raises SubmissionFailure; the connection is closed then.
        """
        if self._connection is not None:
            return
        self.begin_message()
        self._connect()

    def begin_message(self, limits: Limits | None = None) -> None:
        """Start a new deadline, byte limit, transcript and list of results; keep the connection."""
        self._limits = limits or self.server.limits
        self._deadline = Deadline(self._limits.deadline)
        self.transcript = Transcript()
        self._recorder.reset()
        if self._connection is not None:
            self._connection.begin_message(self._limits, self._deadline, self.transcript)

    def _connect(self) -> None:
        try:
            self._perform_stages()
        except BaseException as error:
            if isinstance(error, SubmissionFailure):
                self._add_evidence(error)
            self._drop()
            raise

    def _add_evidence(self, failure: SubmissionFailure) -> None:
        """Add what the failure itself does not show: in TLS 1.3 a server demands a certificate after the handshake."""
        ended = failure.reason in (Reason.DISCONNECTED, Reason.TLS_FAILED)
        if self._certificate_asked and ended and failure.stage in (Stage.GREETING, Stage.EHLO):
            failure.evidence = {**failure.evidence, **tls.CLIENT_CERTIFICATE}
        if self._peer is not None and self._peer.is_private and failure.stage is Stage.TLS:
            failure.evidence = {**failure.evidence, "private": "yes"}

    def _perform_stages(self) -> None:
        security = self.server.security
        token = self._fetch_token()
        connection = self._dial()
        if security is Security.IMPLICIT_TLS:
            with self._recorder.stage(Stage.TLS) as notes:
                self._encrypt(connection, notes)
        self._read_greeting(connection)
        self._ehlo(connection)
        if security is Security.STARTTLS:
            self._start_tls(connection)
        if security is Security.PLAINTEXT:
            self._recorder.skip(
                Stage.TLS, "Not encrypted: the operator of this portal allows that for this server."
            )
        self._log_in(connection, token)

    def _fetch_token(self) -> AccessToken | None:
        """Fetch the access token before the server is dialled, so that the check shows which of the two failed."""
        if self.server.tokens is None or self.server.username is None:
            return None
        with self._recorder.stage(Stage.CONSENT) as notes:
            token = self.server.tokens.fetch()
            notes.sentence = token.sentence
        return token

    def _dial(self) -> SmtpConnection:
        server = self.server
        with self._recorder.stage(Stage.RESOLVE) as notes:
            plaintext = server.security is Security.PLAINTEXT
            timeout = self._deadline.remaining()
            policy = with_own_ports(server.policy, server.host)
            addresses = resolve_allowed(server.host, server.port, policy, timeout, plaintext=plaintext)
            notes.evidence["addresses"] = ", ".join(map(str, addresses))
            notes.sentence = f"The name {server.host} leads to {addresses[0]}."
        with self._recorder.stage(Stage.CONNECT) as notes:
            sock, self._peer = dial(addresses, server, self._limits, self._deadline)
            connection = SmtpConnection(sock, self._limits, self._deadline, self.transcript)
            connection.keep_waiting = self._keep_waiting
            self._connection = connection
            notes.evidence["address"] = str(self._peer.address)
            notes.sentence = f"{server.host} answered at {self._peer.address}, port {server.port}."
        return connection

    def _read_greeting(self, connection: SmtpConnection) -> None:
        with self._recorder.stage(Stage.GREETING) as notes:
            connection.stage = Stage.GREETING
            connection.pending_replies = 1
            reply = connection.read_reply(self._greeting_s())
            if reply.positive and reply.code != 220:
                raise connection.failure(Reason.NOT_SMTP)
            connection.expect(reply, 220)
            notes.evidence["greeting"] = reply.text
            notes.sentence = f"A mail server greets us at {self.server.host}."

    def _greeting_s(self) -> float:
        """Return how long to wait for the greeting. A port for TLS at once stays silent without TLS: not for long."""
        is_silent = self.server.security is Security.STARTTLS and self.server.port in _TLS_AT_ONCE_PORTS
        return min(self._limits.greeting, _SILENT_PORT_S) if is_silent else self._limits.greeting

    def _ehlo(self, connection: SmtpConnection) -> None:
        with self._recorder.stage(Stage.EHLO) as notes:
            connection.stage = Stage.EHLO
            reply = connection.command(f"EHLO {self.server.ehlo_name}")
            if reply.permanent and self._needs_no_extension():
                connection.expect(connection.command(f"HELO {self.server.ehlo_name}"), 250)
                notes.sentence = "The server speaks the oldest form of SMTP, without any extension."
                return
            self.features = EhloFeatures.from_reply(connection.expect(reply, 250))
            notes.evidence["offered"] = str(self.features)
            notes.sentence = "The server introduced itself and listed what it offers."

    def _needs_no_extension(self) -> bool:
        return self.server.security is not Security.STARTTLS and self.server.username is None

    def _start_tls(self, connection: SmtpConnection) -> None:
        """Upgrade with STARTTLS or fail: continuing in plaintext would let an attacker who removes STARTTLS read the password."""
        with self._recorder.stage(Stage.TLS) as notes:
            connection.stage = Stage.TLS
            if "STARTTLS" not in self.features:
                raise connection.failure(Reason.STARTTLS_MISSING)
            connection.expect(connection.command("STARTTLS"), 220)
            # Data received in plaintext would be read as if it had been encrypted. A man in the middle could
            # inject replies in this way (CVE-2011-0411 and many similar ones).
            if connection.has_unsolicited_data():
                raise connection.failure(Reason.GARBLED, detail="answers arrived before the encryption")
            self._encrypt(connection, notes)
        # RFC 3207 section 4.2: discard the plaintext EHLO reply and send EHLO again.
        self.features = EhloFeatures()
        with self._recorder.stage(Stage.EHLO):
            connection.stage = Stage.EHLO
            reply = connection.command(f"EHLO {self.server.ehlo_name}")
            self.features = EhloFeatures.from_reply(connection.expect(reply, 250))

    def _encrypt(self, connection: SmtpConnection, notes: StageNotes) -> None:
        ca_file = self._peer.ca_file if self._peer else None
        timeout = min(self._deadline.remaining(), self._limits.reply)
        connection.sock, facts = tls.wrap_socket(connection.sock, self.server.host, ca_file, timeout)
        self._certificate_asked = facts.get("client_certificate") == "asked"
        self.transcript.add("*", f"encrypted with {facts['version']}")
        notes.evidence.update(facts)
        notes.sentence = tls_sentence(facts, self.server.host)

    def _log_in(self, connection: SmtpConnection, token: AccessToken | None) -> None:
        chosen = self.server.mechanism is Mechanism.NONE
        if chosen or self.server.username is None:
            if chosen:
                self._check_needs_no_login(connection)
            self._recorder.skip(Stage.AUTH, "No log-in is set, so no password was sent.")
            return
        permitted = self._peer is not None and self._peer.permits_plaintext
        with self._recorder.stage(Stage.AUTH) as notes:
            connection.stage = Stage.AUTH
            notes.evidence["offered"] = " ".join(self.features.mechanisms)
            mechanism, reply = auth.authenticate(
                connection, self.server, self.features, plaintext_permitted=permitted, token=token
            )
            notes.evidence |= {"mechanism": mechanism, "reply": str(reply)}
            notes.sentence = "The server accepted the log-in."

    def _check_needs_no_login(self, connection: SmtpConnection) -> None:
        """Raise LOGIN_REQUIRED unless the policy lets mail without a log-in go to this server.

        Any mail exchanger takes mail for its own recipients from anybody, so a tenant could otherwise send from the
        operator's address straight to them.
        """
        if self._peer is None or self._peer.needs_login:
            with self._recorder.stage(Stage.AUTH):
                connection.stage = Stage.AUTH
                raise connection.failure(Reason.LOGIN_REQUIRED)

    def _drop(self) -> None:
        """Close the connection without QUIT."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
