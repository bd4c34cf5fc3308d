"""Flask-Mail's connection on our own SMTP session: checked target, verified TLS, one log-in, bounds."""

from __future__ import annotations

from types import TracebackType

from flask_mail import Connection, Mail

from ..smtp.probe import Observer
from ..smtp.session import Acceptance, Session
from .compose import AccountMessage
from .route import Route

mail = Mail()


class AccountConnection(Connection):
    """A connection to the server of one route, kept for as many messages as wanted.

    Stock Flask-Mail checks no certificate, waits for ever, tries every mechanism in turn and forgets the
    server's last words; all of that lives in ``configure_host`` and ``host``, which are replaced here. Its
    ``send`` stays: it refuses bad headers and tells ``email_dispatched``.
    """

    host: Session

    def __init__(self, route: Route, observer: Observer | None = None) -> None:
        # A state of its own: testing=False, for a suppressed connection would "accept" anything.
        super().__init__(mail.init_mail(_state(route), debug=False, testing=False))
        self.route = route
        self._observer = observer

    def configure_host(self) -> Session:
        session = Session(self.route.server, self._observer)
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
        """Hand one message in. Raises SubmissionFailure, MessageRefused or BadHeaderError."""
        self.send(message, envelope_from=self.route.sender)
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
