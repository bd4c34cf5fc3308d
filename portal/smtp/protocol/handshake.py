"""Opening a conversation: from the server's name to the log-in, rung by rung.

Whatever goes wrong is a SubmissionFailure, and the connection is closed by then.
"""

from __future__ import annotations

import re

from ..failure import Reason, Stage
from ..network.dial import Peer, dial
from ..network.guard import resolve_allowed
from ..server import Limits, Security, Server
from . import auth, tls
from .connection import Budget, SmtpConnection
from .reply import EhloFeatures
from .stages import Observer, StageNotes, StageRecorder, StageResult, tls_sentence
from .transcript import Transcript

_EHLO_NAME = re.compile(r"[A-Za-z0-9.:\[\]-]{1,255}")


class Handshake:
    """A connection to ``server`` and how it comes to be; ``Session`` puts the messages on top.

    ``observer`` is told every rung as it is climbed. Raises ValueError, before anything is dialled, for
    credentials or an EHLO name that cannot be said.
    """

    def __init__(self, server: Server, observer: Observer | None = None) -> None:
        auth.check_credentials_encodable(server)
        if not _EHLO_NAME.fullmatch(server.ehlo_name):
            raise ValueError("The EHLO name is no host name.")
        self.server = server
        self.features = EhloFeatures()
        self.transcript = Transcript()
        self._recorder = StageRecorder(server, observer)
        self._limits = server.limits
        self._budget = Budget(server.limits.deadline, server.limits.received)
        self._wire: SmtpConnection | None = None
        self._target: Peer | None = None

    @property
    def stage_results(self) -> tuple[StageResult, ...]:
        """Return what was climbed since the session was opened or last renewed."""
        return self._recorder.results

    def open(self) -> None:
        """Climb from RESOLVE to AUTH; nothing if already open. Raises SubmissionFailure, closed by then."""
        if self._wire is not None:
            return
        self.begin_message()
        self._climb_or_leave()

    def begin_message(self, limits: Limits | None = None) -> None:
        """Begin a new message's time and bytes, and an empty transcript, on the same connection."""
        self._limits = limits or self.server.limits
        self._budget = Budget(self._limits.deadline, self._limits.received)
        self.transcript = Transcript()
        self._recorder.reset()
        if self._wire is not None:
            self._wire.limits, self._wire.budget = self._limits, self._budget
            self._wire.transcript = self.transcript

    def _climb_or_leave(self) -> None:
        try:
            self._climb()
        except BaseException:
            self._abandon()
            raise

    def _climb(self) -> None:
        security = self.server.security
        wire = self._reach()
        if security is Security.IMPLICIT_TLS:
            with self._recorder.stage(Stage.TLS) as notes:
                self._encrypt(wire, notes)
        self._greeting(wire)
        self._introduction(wire)
        if security is Security.STARTTLS:
            self._start_tls(wire)
        if security is Security.PLAINTEXT:
            self._recorder.skip(
                Stage.TLS, "Not encrypted: whoever runs this portal allows that for this server."
            )
        self._log_in(wire)

    def _reach(self) -> SmtpConnection:
        server = self.server
        with self._recorder.stage(Stage.RESOLVE) as notes:
            in_clear = server.security is Security.PLAINTEXT
            left = self._budget.left()
            addresses = resolve_allowed(server.host, server.port, server.policy, left, plaintext=in_clear)
            notes.evidence["addresses"] = ", ".join(map(str, addresses))
            notes.sentence = f"The name {server.host} leads to {addresses[0]}."
        with self._recorder.stage(Stage.CONNECT) as notes:
            sock, self._target = dial(addresses, server, self._limits, self._budget)
            self._wire = wire = SmtpConnection(sock, self._limits, self._budget, self.transcript)
            notes.evidence["address"] = str(self._target.address)
            notes.sentence = f"{server.host} answered at {self._target.address}, port {server.port}."
        return wire

    def _greeting(self, wire: SmtpConnection) -> None:
        with self._recorder.stage(Stage.GREETING) as notes:
            wire.stage = Stage.GREETING
            wire.owed = 1
            reply = wire.read_reply(self._limits.greeting)
            if reply.positive and reply.code != 220:
                raise wire.fail(Reason.NOT_SMTP)
            wire.require(reply, 220)
            notes.evidence["greeting"] = reply.text
            notes.sentence = f"A mail server greets us at {self.server.host}."

    def _introduction(self, wire: SmtpConnection) -> None:
        with self._recorder.stage(Stage.EHLO) as notes:
            wire.stage = Stage.EHLO
            reply = wire.ask(f"EHLO {self.server.ehlo_name}")
            if reply.permanent and self._may_do_without_ehlo():
                wire.require(wire.ask(f"HELO {self.server.ehlo_name}"), 250)
                notes.sentence = "The server speaks the oldest form of SMTP, without any extension."
                return
            self.features = EhloFeatures.of(wire.require(reply, 250))
            notes.evidence["offered"] = str(self.features)
            notes.sentence = "The server introduced itself and told what it offers."

    def _may_do_without_ehlo(self) -> bool:
        return self.server.security is not Security.STARTTLS and self.server.username is None

    def _start_tls(self, wire: SmtpConnection) -> None:
        """Upgrade, or give up: going on in clear is what an attacker who strips the offer waits for."""
        with self._recorder.stage(Stage.TLS) as notes:
            wire.stage = Stage.TLS
            if "STARTTLS" not in self.features:
                raise wire.fail(Reason.STARTTLS_MISSING)
            wire.require(wire.ask("STARTTLS"), 220)
            # Words that came in clear would be read as if they had come encrypted: that is how a man in the
            # middle puts replies into the conversation (CVE-2011-0411 and its many relatives).
            if wire.spoke_unasked():
                raise wire.fail(Reason.GARBLED, detail="answers arrived before the encryption")
            self._encrypt(wire, notes)
        # RFC 3207 section 4.2: what was offered in clear is forgotten and asked again.
        self.features = EhloFeatures()
        with self._recorder.stage(Stage.EHLO):
            wire.stage = Stage.EHLO
            self.features = EhloFeatures.of(wire.require(wire.ask(f"EHLO {self.server.ehlo_name}"), 250))

    def _encrypt(self, wire: SmtpConnection, notes: StageNotes) -> None:
        ca_file = self.server.policy.ca_file if self._target and self._target.private else None
        timeout = min(self._budget.left(), self._limits.reply)
        wire.sock, facts = tls.upgrade(wire.sock, self.server.host, ca_file, timeout)
        self.transcript.add("*", f"encrypted with {facts['version']}")
        notes.evidence.update(facts)
        notes.sentence = tls_sentence(facts, self.server.host)

    def _log_in(self, wire: SmtpConnection) -> None:
        if self.server.username is None:
            self._recorder.skip(Stage.AUTH, "No username is set, so there is no log-in.")
            return
        permitted = self._target is not None and self._target.plaintext
        with self._recorder.stage(Stage.AUTH) as notes:
            wire.stage = Stage.AUTH
            notes.evidence["offered"] = " ".join(self.features.mechanisms)
            mechanism, reply = auth.authenticate(
                wire, self.server, self.features, permitted_in_clear=permitted
            )
            notes.evidence |= {"mechanism": mechanism, "reply": str(reply)}
            notes.sentence = "The server accepted the log-in."

    def _abandon(self) -> None:
        """Close without a word."""
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.close()
