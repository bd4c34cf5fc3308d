"""Climbing: each stage is timed, and how it ended is told to whoever watches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, Any

from ..failure import Stage, SubmissionFailure
from .stages import Rung, Verdict, failure_sentence

if TYPE_CHECKING:
    from types import TracebackType

    from ..server import Server

Observer = Callable[[Rung], None]


@dataclass
class Note:
    """What a stage finds out while it is climbed. Without a sentence, success is not worth a rung."""

    sentence: str = ""
    evidence: dict[str, str] = field(default_factory=dict)


class Ladder:
    """The rungs of one conversation. ``sender`` and ``recipient`` are named in the sentences of failures."""

    def __init__(self, server: Server, observer: Observer | None) -> None:
        self._climbed: list[tuple[Any, ...]] = []  # what makes a rung; most are never asked for
        self.sender = self.recipient = ""
        self._server = server
        self._observer = observer

    def climb(self, stage: Stage) -> _Climb:
        """Time one stage, as a context, and tell the observer how it ended; failures pass through."""
        return _Climb(self, stage)

    def ended(self, stage: Stage, note: Note, started: float, failure: BaseException | None) -> None:
        """Tell how a stage ended; whatever is no SubmissionFailure is no fact about the server."""
        if isinstance(failure, SubmissionFailure):
            said = {"reply": str(failure.reply)} if failure.reply else {}
            sentence = failure_sentence(failure, self._server, self.sender, self.recipient)
            evidence = note.evidence | dict(failure.evidence) | said
            self._emit(stage, Verdict.FAILED, _since(started), sentence, evidence)
        elif failure is None and note.sentence:
            self._emit(stage, Verdict.PASSED, _since(started), note.sentence, note.evidence)

    def skip(self, stage: Stage, sentence: str) -> None:
        """Tell that a stage is not needed with these settings."""
        self._emit(stage, Verdict.SKIPPED, 0, sentence, {})

    def begin_anew(self) -> None:
        """Forget what was climbed so far."""
        self._climbed.clear()

    @property
    def rungs(self) -> tuple[Rung, ...]:
        """Return what was climbed."""
        return tuple(Rung(*one) for one in self._climbed)

    def _emit(self, *rung: Any) -> None:
        self._climbed.append(rung)
        if self._observer is not None:
            self._observer(Rung(*rung))


class _Climb:
    """One stage while it is climbed. A class, for a generator's context would cost more than the stage."""

    __slots__ = ("_ladder", "_note", "_stage", "_started")

    def __init__(self, ladder: Ladder, stage: Stage) -> None:
        self._ladder, self._stage, self._note, self._started = ladder, stage, Note(), monotonic()

    def __enter__(self) -> Note:
        return self._note

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._ladder.ended(self._stage, self._note, self._started, error)


def _since(started: float) -> int:
    return round((monotonic() - started) * 1000)
