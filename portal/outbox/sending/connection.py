"""Connections to submission servers: Flask-Mail's connection on our own SMTP session, and its reuse."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from flask import current_app
from flask_mail import BadHeaderError, Connection, Mail, email_dispatched

from ...smtp.failure import Reason, Stage, SubmissionFailure
from ...smtp.protocol.session import Session
from ...state import current_config
from ..diagnoses import UNENCODABLE_CREDENTIALS
from ..routing import NoRoute, Route
from .message import AccountMessage, PreparedMessages

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from ...smtp.protocol.envelope import Acceptance
    from ...smtp.protocol.stages import Observer

mail = Mail()
_log = logging.getLogger(__name__)
CONNECTION_USED_UP = "connection-used-up"  # the code of the diagnosis


class AccountConnection(Connection):
    """A connection to the server of one route.

    Flask-Mail's own connection verifies no certificate, has no deadline, tries every mechanism in turn and drops the
    server's reply. ``configure_host`` and ``host`` replace all of that. The contract of ``send`` stays: a message with
    bad headers is refused and the signal ``email_dispatched`` is sent.
    """

    host: Session  # type: ignore[assignment]  # it has what Flask-Mail needs of an smtplib.SMTP

    def __init__(
        self,
        route: Route,
        observer: Observer | None = None,
        keep_waiting: Callable[[], bool] | None = None,
    ) -> None:
        # Its own state with testing=False: a suppressed connection would "accept" every message.
        super().__init__(mail.init_mail(_mail_settings(route), debug=False, testing=False))  # type: ignore[arg-type]
        self.route = route
        self._observer, self._keep_waiting = observer, keep_waiting

    def configure_host(self) -> Session:  # type: ignore[override]
        try:
            session = Session(self.route.server, self._observer, self._keep_waiting)
        except ValueError:
            raise NoRoute(UNENCODABLE_CREDENTIALS) from None
        self.host = session  # kept even if opening fails, for its transcript
        session.open()
        return session

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        if self.host is not None:
            self.host.close()

    def submit(self, message: AccountMessage, following: AccountMessage | None = None) -> Acceptance:
        """Submit one message; the envelope of ``following`` may be pipelined with the end of its body.

        Raises SubmissionFailure, MessageRefused, BadHeaderError or ValueError.
        """
        if message.has_bad_headers():
            raise BadHeaderError
        acceptance = self.host.send(message.outgoing(), following.outgoing() if following else None)
        self.num_emails += 1
        try:
            email_dispatched.send(current_app._get_current_object(), message=message)  # type: ignore[attr-defined]
        except Exception:
            # The server has the message: a failing receiver of the signal must not make it a failed attempt.
            _log.exception("a receiver of email_dispatched failed after the message was accepted")
        return acceptance


class ReusableConnection:
    """Keeps its connection while the route stays the same, and opens a new one otherwise.

    ``on_wait`` is called before a connection is opened and, once for each message, when the server is slow to reply;
    ``on_body_sent`` while the server reads a message. ``observer`` is called with each stage, and ``keep_waiting`` every
    second while the server is silent (see Session).
    """

    def __init__(
        self,
        *,
        on_wait: Callable[[], None] | None = None,
        on_body_sent: Callable[[], None] | None = None,
        observer: Observer | None = None,
        keep_waiting: Callable[[], bool] | None = None,
    ) -> None:
        self._on_wait, self._on_body_sent = on_wait, on_body_sent
        self._observer, self._keep_waiting = observer, keep_waiting
        self._tuning = current_config().tuning
        self._connection: AccountConnection | None = None
        self._opened_at = 0.0
        self._limit_seen: int | None = None  # messages that the server took over one connection
        self.prepared = PreparedMessages()
        self.transcript = ""  # of the last session, secrets redacted

    def submit(
        self,
        route: Route,
        message: AccountMessage,
        following: AccountMessage | None = None,
    ) -> Acceptance:
        """Submit one message; the envelope of ``following`` is pipelined if the same connection will take it.

        Raises SubmissionFailure, NoRoute, and what ``AccountConnection.submit`` raises.
        """
        connection = self._reusable(route)
        if connection is not None:
            try:
                return self._submit(connection, message, following)
            except SubmissionFailure as failure:
                if not _was_closed_before(failure) and not self._is_used_up(connection, failure):
                    raise
        return self._submit(self._open(route), message, following)

    @property
    def is_open(self) -> bool:
        """Whether another message could be submitted over the present connection."""
        connection = self._connection
        return connection is not None and connection.host is not None and connection.host.is_usable()

    def close(self) -> None:
        """Quit the session, if there is one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.__exit__(None, None, None)

    def _reusable(self, route: Route) -> AccountConnection | None:
        """Return the connection, ready for the next message, or None if a new one is needed."""
        connection = self._connection
        if connection is not None and not connection.route.is_same(route):
            self._limit_seen = None
            return None
        if connection is None or not self.is_open or connection.num_emails >= self._max_messages(route):
            return None
        if time.monotonic() - self._opened_at > self._tuning.connection_max_age_s:
            return None
        connection.route = route  # the equal route that was resolved for the next message
        connection.host.begin_message()
        return connection

    def _open(self, route: Route) -> AccountConnection:
        self.close()
        if self._on_wait is not None:
            self._on_wait()
        connection = self._connection = AccountConnection(route, self._observer, self._keep_waiting)
        self._opened_at = time.monotonic()
        try:
            connection.__enter__()
            connection.host.on_wait, connection.host.on_body_sent = self._on_wait, self._on_body_sent
        finally:
            self._keep_transcript(connection)
        return connection

    def _submit(
        self, connection: AccountConnection, message: AccountMessage, following: AccountMessage | None
    ) -> Acceptance:
        if connection.num_emails + 1 >= self._max_messages(connection.route):
            following = None  # this message is the last one of the connection
        try:
            return connection.submit(message, following)
        finally:
            self._keep_transcript(connection)

    def _max_messages(self, route: Route) -> int:
        limit = route.messages_per_connection or self._tuning.connection_max_messages
        return limit if self._limit_seen is None else min(limit, self._limit_seen)

    def _is_used_up(self, connection: AccountConnection, failure: SubmissionFailure) -> bool:
        """Whether the server refused this message only because the connection has carried enough of them.

        Then later connections end before their limit, and the message may be submitted over a new one at once.
        """
        if failure.reason is not Reason.REPLIED or failure.reply is None or not connection.num_emails:
            return False
        if connection.route.explain(failure).code == CONNECTION_USED_UP:
            self._limit_seen = connection.num_emails
            return True
        return failure.reply.code == 421 and failure.stage in (Stage.RCPT, Stage.DATA)

    def _keep_transcript(self, connection: AccountConnection) -> None:
        self.transcript = str(connection.host.transcript) if connection.host is not None else ""


def _mail_settings(route: Route) -> dict[str, object]:
    return {
        "MAIL_SERVER": route.server.host,
        "MAIL_PORT": route.server.port,
        "MAIL_DEFAULT_SENDER": route.sender,
    }


def _was_closed_before(failure: SubmissionFailure) -> bool:
    """Whether the server had closed a kept connection before this message, so that a new one may be tried."""
    is_shutdown = failure.reply is not None and failure.reply.code == 421  # RFC 5321 section 3.8
    is_closed = failure.reason is Reason.DISCONNECTED or is_shutdown
    return is_closed and failure.stage is Stage.MAIL and not failure.ambiguous
