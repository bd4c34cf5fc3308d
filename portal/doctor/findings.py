"""The result of one check: a grade, one sentence, and what to do."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


class Grade(StrEnum):
    """How serious a finding is. An error stops the start, or mail does not leave."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"
    NOT_TRIED = "not_tried"


@dataclass(frozen=True)
class DoctorFinding:
    """One line of the report. ``code`` is stable, for scripts; ``details`` are JSON values."""

    code: str
    grade: Grade
    sentence: str
    action: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_error(self) -> bool:
        """Whether the start has to stop."""
        return self.grade is Grade.ERROR

    @property
    def text(self) -> str:
        """The sentence, and what to do."""
        return f"{self.sentence} {self.action}".strip()

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; ``docs/commands.md`` describes them."""
        plain = {"code": self.code, "grade": self.grade.value, "sentence": self.sentence}
        return plain | {"action": self.action} | dict(self.details)


def ok(code: str, sentence: str, **details: Any) -> DoctorFinding:
    """Return a finding without a problem."""
    return DoctorFinding(code, Grade.OK, sentence, details=details)


def warning(code: str, sentence: str, action: str, **details: Any) -> DoctorFinding:
    """Return a problem with which the portal works."""
    return DoctorFinding(code, Grade.WARNING, sentence, action, details)


def error(code: str, sentence: str, action: str = "", **details: Any) -> DoctorFinding:
    """Return a problem with which the portal does not start, or mail does not leave."""
    return DoctorFinding(code, Grade.ERROR, sentence, action, details)


def not_tried(code: str, sentence: str) -> DoctorFinding:
    """Return a check that could not run or was not wanted."""
    return DoctorFinding(code, Grade.NOT_TRIED, sentence)
