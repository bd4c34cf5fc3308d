"""The way an account's mail takes: through which server, as whom."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from flask import current_app

from ..smtp.diagnosis import Diagnosis, diagnose
from ..smtp.failure import SubmissionFailure
from ..smtp.providers import Provider
from ..smtp.server import Server


@dataclass(frozen=True)
class Route:
    """One way out. ``version_number`` is that of the settings, or None for the platform's sender."""

    server: Server
    sender: str  # the mailbox in From and in the envelope
    display_name: str
    reply_to: str | None = None
    version_number: int | None = None
    provider: Provider | None = None

    def explain(self, failure: SubmissionFailure) -> Diagnosis:
        """Say what a failure on this way means."""
        return diagnose(failure, self.server, self.provider)


class NoRoute(Exception):
    """There is no way out at present; ``because`` is the diagnosis, as stored on the queue."""

    def __init__(self, because: Mapping[str, Any]) -> None:
        super().__init__(str(because.get("code")))
        self.because = dict(because)


# (account id or None for the portal's own mail, settings version id or None for what is live) -> the way
RouteFor = Callable[[int | None, int | None], Route]


def route_for(account_id: int | None, version_id: int | None = None) -> Route:
    """Ask the room that knows. Raises NoRoute."""
    find: RouteFor = current_app.extensions["signet.route_for"]
    return find(account_id, version_id)
