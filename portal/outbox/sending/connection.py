"""Flask-Mail's connection on our own SMTP session: checked target, verified TLS, one log-in, bounds."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from flask import current_app
from flask_mail import BadHeaderError, Connection, Mail, email_dispatched

from ...smtp.protocol.session import Session
from ..diagnoses import UNENCODABLE_CREDENTIALS
from ..routing import NoRoute, Route

if TYPE_CHECKING:
    from types import TracebackType

    from ...smtp.protocol.envelope import Acceptance
    from ...smtp.protocol.stages import Observer
    from .message import AccountMessage

mail = Mail()
_log = logging.getLogger(__name__)


class AccountConnection(Connection):
    """A connection to the server of one route, kept for as many messages as wanted.

    Stock Flask-Mail checks no certificate, waits for ever, tries every mechanism in turn and forgets the
    server's last words; all of that lives in ``configure_host`` and ``host``, which are replaced here. What its
    ``send`` promises stays: bad headers are refused and ``email_dispatched`` is told.
    """

    host: Session  # type: ignore[assignment]  # it has what Flask-Mail needs of an smtplib.SMTP

    def __init__(self, route: Route, observer: Observer | None = None) -> None:
        # A state of its own: testing=False, for a suppressed connection would "accept" anything.
        super().__init__(mail.init_mail(_state(route), debug=False, testing=False))  # type: ignore[arg-type]
        self.route = route
        self._observer = observer

    def configure_host(self) -> Session:  # type: ignore[override]
        try:
            session = Session(self.route.server, self._observer)
        except ValueError:
            raise NoRoute(UNENCODABLE_CREDENTIALS) from None
        self.host = session  # kept even when opening fails: its transcript tells why
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
        """Hand one message in; the envelope of ``following`` may leave with its end.

        Raises SubmissionFailure, MessageRefused, BadHeaderError or ValueError.
        """
        if message.has_bad_headers():
            raise BadHeaderError
        acceptance = self.host.send(message.outgoing(), following.outgoing() if following else None)
        self.num_emails += 1
        try:
            email_dispatched.send(current_app._get_current_object(), message=message)  # type: ignore[attr-defined]
        except Exception:
            # The server has it; a listener that fails must not make it leave twice.
            _log.exception("something failed after the message had been accepted")
        return acceptance


def _state(route: Route) -> dict[str, object]:
    return {
        "MAIL_SERVER": route.server.host,
        "MAIL_PORT": route.server.port,
        "MAIL_DEFAULT_SENDER": route.sender,
    }
