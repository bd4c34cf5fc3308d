"""The words of the page and the command for verdicts and marks."""

from __future__ import annotations

from .findings import Mark
from .models import Verdict

VERDICTS = {
    Verdict.ARRIVES: "will arrive",
    Verdict.AT_RISK: "at risk",
    Verdict.REFUSED: "will be refused",
    Verdict.UNKNOWN: "could not look",
}
MARKS = {
    Mark.GOOD: "in order",
    Mark.CARE: "to be mended",
    Mark.BAD: "wrong",
    Mark.UNKNOWN: "could not look",
    Mark.NOTE: "nothing to do",
}
VOUCHES = {True: "yes", False: "no", None: "unknown"}
