"""Data of the page Arrival: the latest test emails, and how each arrived."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import comparison, proofs
from .comparison import ComparisonRow, Observed
from .models import FromOutcome

if TYPE_CHECKING:
    from .models import TestEmail

TONES = {
    FromOutcome.AS_PROMISED: "success",
    FromOutcome.REPLACED: "danger",
    FromOutcome.REFUTED: "danger",
    FromOutcome.NO_RESULTS: "info",
}


@dataclass(frozen=True)
class ArrivalView:
    """One test email. ``rows`` is empty until its headers were pasted."""

    row: TestEmail
    headline: str = ""
    tone: str = ""
    source: str = ""
    rows: tuple[ComparisonRow, ...] = ()


def build(account_id: int) -> list[ArrivalView]:
    """Return the latest test emails that a server accepted, newest first."""
    return [_view(row) for row in proofs.list_latest(account_id)]


def _view(row: TestEmail) -> ArrivalView:
    if not row.outcome or row.observed is None:
        return ArrivalView(row)
    seen, outcome = Observed.from_dict(row.observed), FromOutcome(row.outcome)
    return ArrivalView(
        row,
        headline=comparison.headline(outcome, seen),
        tone=TONES[outcome],
        source=comparison.source_note(seen),
        rows=tuple(comparison.rows(row, seen)),
    )
