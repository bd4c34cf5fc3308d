"""The ladder of proof: everything that can be known about a submission server without sending anything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..failure import SubmissionFailure
from ..protocol.session import Session
from .recorder import Observer
from .stages import Rung, Verdict

if TYPE_CHECKING:
    from ..protocol.transcript import Transcript
    from ..server import Server

__all__ = ["Observer", "Report", "Rung", "Verdict", "probe"]


@dataclass(frozen=True)
class Report:
    """How far the ladder was climbed. ``failure`` ended the climb; None if it reached the recipient."""

    rungs: tuple[Rung, ...]
    failure: SubmissionFailure | None
    transcript: Transcript

    @property
    def passed(self) -> bool:
        return self.failure is None


def probe(server: Server, sender: str, recipient: str, observer: Observer | None = None) -> Report:
    """Climb to RCPT and turn back. Raises ValueError alone, for what cannot be said (see Session)."""
    session = Session(server, observer)
    failure: SubmissionFailure | None = None
    try:
        with session:
            session.verify_recipient(sender, recipient)
    except SubmissionFailure as met:
        failure = met
    return Report(session.stage_results, failure, session.transcript)
