"""Climbing: each stage is timed, and how it ended is told to whoever watches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic

from .failure import Stage, SubmissionFailure
from .rungs import Rung, Verdict, failure_sentence
from .server import Server

Observer = Callable[[Rung], None]


@dataclass
class Note:
    """What a stage finds out while it is climbed. Without a sentence, success is not worth a rung."""

    sentence: str = ""
    evidence: dict[str, str] = field(default_factory=dict)


class Ladder:
    """The rungs of one conversation. ``sender`` and ``recipient`` are named in the sentences of failures."""

    def __init__(self, server: Server, observer: Observer | None) -> None:
        self.rungs: list[Rung] = []
        self.sender = self.recipient = ""
        self._server = server
        self._observer = observer

    @contextmanager
    def climb(self, stage: Stage) -> Iterator[Note]:
        """Time one stage and tell the observer how it ended; failures pass through."""
        note, started = Note(), monotonic()
        try:
            yield note
        except SubmissionFailure as failure:
            said = {"reply": str(failure.reply)} if failure.reply else {}
            sentence = failure_sentence(failure, self._server, self.sender, self.recipient)
            evidence = note.evidence | dict(failure.evidence) | said
            self._emit(Rung(stage, Verdict.FAILED, _since(started), sentence, evidence))
            raise
        if note.sentence:
            self._emit(Rung(stage, Verdict.PASSED, _since(started), note.sentence, note.evidence))

    def skip(self, stage: Stage, sentence: str) -> None:
        """Tell that a stage is not needed with these settings."""
        self._emit(Rung(stage, Verdict.SKIPPED, 0, sentence, {}))

    def _emit(self, rung: Rung) -> None:
        self.rungs.append(rung)
        if self._observer is not None:
            self._observer(rung)


def _since(started: float) -> int:
    return round((monotonic() - started) * 1000)
