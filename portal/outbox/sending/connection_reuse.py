"""The line of one drain: a connection kept for as many messages as it honestly serves."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ...smtp.failure import Reason, Stage, SubmissionFailure
from .connection import AccountConnection

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...smtp.protocol.envelope import Acceptance
    from ...smtp.protocol.stages import Observer
    from ..routing import Route
    from .message import AccountMessage

# Servers count messages per connection and end it, mostly at a hundred, with words that sound like trouble.
_PER_CONNECTION = 100
_OLDEST = 300.0  # seconds after which a connection is given up between two messages


class Line:
    """Reuses its connection while the route stays the same, and dials anew otherwise.

    ``when_idle`` is called when a server takes its time, once for each message, and before a new one is dialled;
    ``meanwhile`` while a server reads a message.
    """

    def __init__(
        self, when_idle: Callable[[], None] | None = None, meanwhile: Callable[[], None] | None = None
    ) -> None:
        self._when_idle, self._meanwhile = when_idle, meanwhile
        self._connection: AccountConnection | None = None
        self._dialled = 0.0
        self.transcript = ""

    def submit(
        self,
        route: Route,
        message: AccountMessage,
        observer: Observer | None = None,
        following: AccountMessage | None = None,
    ) -> Acceptance:
        """Hand one message in. Raises SubmissionFailure, NoRoute, and what a connection does.

        The envelope of ``following`` leaves with the end of this one, where the same connection will take it.
        """
        connection = self._kept(route)
        if connection is not None:
            try:
                return self._say(connection, message, following)
            except SubmissionFailure as failure:
                if not _had_ended(failure):
                    raise
        return self._say(self._dial(route, observer), message, following)

    @property
    def is_open(self) -> bool:
        """Whether there is a connection that another message could take."""
        connection = self._connection
        return connection is not None and connection.host is not None and connection.host.is_usable()

    def close(self) -> None:
        """Take leave of the server, if there is one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.__exit__(None, None, None)

    def _kept(self, route: Route) -> AccountConnection | None:
        """Return the connection ready for the next message, or None when a new one is needed."""
        connection = self._connection
        if connection is None or connection.host is None or connection.num_emails >= _PER_CONNECTION:
            return None
        if time.monotonic() - self._dialled > _OLDEST or not connection.host.is_usable():
            return None
        if not connection.route.same_way(route):
            return None
        connection.route = route  # the same way, found anew: the next message is of this very one
        connection.host.begin_message()
        return connection

    def _dial(self, route: Route, observer: Observer | None) -> AccountConnection:
        self.close()
        if self._when_idle is not None:
            self._when_idle()
        connection = self._connection = AccountConnection(route, observer)
        self._dialled = time.monotonic()
        try:
            connection.__enter__()
            connection.host.on_wait, connection.host.on_body_sent = self._when_idle, self._meanwhile
        finally:
            self._remember(connection)
        return connection

    def _say(
        self, connection: AccountConnection, message: AccountMessage, following: AccountMessage | None
    ) -> Acceptance:
        if connection.num_emails + 1 >= _PER_CONNECTION:
            following = None  # this one is the last here
        try:
            return connection.submit(message, following)
        finally:
            self._remember(connection)

    def _remember(self, connection: AccountConnection) -> None:
        self.transcript = str(connection.host.transcript) if connection.host is not None else ""


def _had_ended(failure: SubmissionFailure) -> bool:
    """Whether a kept connection was over before it heard of this message, so that a new one may be tried."""
    farewell = failure.reply is not None and failure.reply.code == 421
    gone = failure.reason is Reason.DISCONNECTED or farewell
    return gone and failure.stage is Stage.MAIL and not failure.ambiguous
