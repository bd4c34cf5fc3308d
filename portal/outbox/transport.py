"""Flask-Mail's connection on our own SMTP session: checked target, verified TLS, one log-in, bounds."""

from __future__ import annotations

import logging
from types import TracebackType

from flask_mail import Connection, Mail

from ..smtp.envelope import Acceptance
from ..smtp.probe import Observer
from ..smtp.session import Session
from .compose import AccountMessage
from .route import NoRoute, Route

mail = Mail()
_log = logging.getLogger(__name__)

UNSAYABLE = {
    "code": "unsayable-login",
    "kind": "credentials",
    "whose_move": "owner",
    "field": "password",
    "cause": "The username or the password holds a character that no log-in can say.",
    "fixes": ["Enter the SMTP Username and the SMTP Password again, without invisible characters."],
}


class AccountConnection(Connection):
    """A connection to the server of one route, kept for as many messages as wanted.

    Stock Flask-Mail checks no certificate, waits for ever, tries every mechanism in turn and forgets the
    server's last words; all of that lives in ``configure_host`` and ``host``, which are replaced here. Its
    ``send`` stays: it refuses bad headers and tells ``email_dispatched``.
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
            raise NoRoute(UNSAYABLE) from None
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

    def submit(self, message: AccountMessage) -> Acceptance:
        """Hand one message in. Raises SubmissionFailure, MessageRefused, BadHeaderError or ValueError."""
        self.host.last_acceptance = None
        try:
            self.send(message, envelope_from=self.route.sender)
        except Exception:
            if self.host.last_acceptance is None:
                raise
            # The server has it; a listener of email_dispatched that fails must not make it leave twice.
            _log.exception("something failed after the message had been accepted")
        accepted = self.host.last_acceptance
        if accepted is None:
            raise AssertionError("Flask-Mail returned without having spoken to the server")
        return accepted


def _state(route: Route) -> dict[str, object]:
    return {
        "MAIL_SERVER": route.server.host,
        "MAIL_PORT": route.server.port,
        "MAIL_DEFAULT_SENDER": route.sender,
    }
