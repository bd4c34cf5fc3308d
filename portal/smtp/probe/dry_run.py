"""Connection test without a message: every stage up to RCPT, then RSET and QUIT."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..failure import SubmissionFailure
from ..protocol.session import Session

if TYPE_CHECKING:
    from ..protocol.stages import Observer, StageResult
    from ..protocol.transcript import Transcript
    from ..server import Server


@dataclass(frozen=True)
class ProbeReport:
    """Stage results of one connection test. ``failure`` is what ended it, None if the recipient was accepted."""

    stages: tuple[StageResult, ...]
    failure: SubmissionFailure | None
    transcript: Transcript

    @property
    def passed(self) -> bool:
        return self.failure is None


def probe(server: Server, sender: str, recipient: str, observer: Observer | None = None) -> ProbeReport:
    """Run the conversation up to RCPT and reset it without sending a message.

    Raises:
        ValueError: credentials, EHLO name or addresses cannot be sent (see Session). A failure of the server
            is returned in the report.
    """
    session = Session(server, observer)
    failure: SubmissionFailure | None = None
    try:
        with session:
            session.verify_recipient(sender, recipient)
    except SubmissionFailure as error:
        failure = error
    return ProbeReport(session.stage_results, failure, session.transcript)
