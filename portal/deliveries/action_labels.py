"""Labels of the log's filters, statistics and actions. No HTTP."""

from __future__ import annotations

from dataclasses import dataclass

from ..bounces.labels import MEANING_TAGS
from ..notices.catalogue import CATALOGUE
from ..web.labels import STATUS_LABELS
from .filters import Filters, SearchField
from .models import Action

SPAN_LABELS = {"day": ("24 hours", "hour"), "month": ("30 days", "day")}
_SEARCHED = {
    SearchField.AUTO: "Search",
    SearchField.RECIPIENT: "Recipient",
    SearchField.SUBJECT: "Words of the subject",
    SearchField.ID: "Queue id or Message-ID",
}


def filter_chips(filters: Filters) -> list[tuple[str, str, dict[str, str]]]:
    """Return each active filter as (its name, its label, the query without it)."""
    notice = CATALOGUE.get(filters.kind)
    labels = {
        "q": f"{_SEARCHED[filters.by]}: {filters.q}",
        "status": f"Status: {STATUS_LABELS[filters.status]}" if filters.status else "",
        "outcome": f"Then: {MEANING_TAGS[filters.outcome][1]}" if filters.outcome else "",
        "kind": f"Email: {notice.full_name if notice else filters.kind}",
        "code": f"Reply code: {filters.code}",
        "version": f"Settings version: {filters.version}",
        "since": f"From {_day(filters.since)}",
        "until": f"Until {_day(filters.until)}",
    }
    return [(name, labels[name], filters.without(name).query()) for name in filters.active]


def _day(day: object) -> str:
    return f"{day:%d %b %Y}".lstrip("0") if day else ""


def duration(seconds: float | None) -> str:
    """Return a duration as text, rounded to one unit."""
    if seconds is None:
        return "–"
    if seconds < 1:
        return "under 1 s"
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h" if seconds < 172800 else f"{seconds / 86400:.0f} days"


@dataclass(frozen=True)
class ActionLabels:
    """The texts of one action on its pages."""

    title: str
    will: str  # with {count}
    confirm: str  # the button
    changed: str  # what was done with the changed ones
    none: str
    done_one: str
    tone: str = "primary"


ACTION_LABELS = {
    Action.RETRY: ActionLabels(
        title="Try again",
        will="Those that failed, were cancelled or wait for their next try get a new start and leave as soon as a "
        "worker is free. What was accepted is left alone, and so are tests and emails whose text was removed.",
        confirm="Yes, try them again",
        changed="get a new start",
        none="None of these emails can be tried again: they were accepted, are on hold, or leave at once anyway.",
        done_one="It is tried again as soon as a worker is free.",
    ),
    Action.CANCEL: ActionLabels(
        title="Cancel",
        will="Those that wait or are on hold will never leave. What is being sent at this moment, or was sent, is left "
        "alone. A cancelled email can be tried again later.",
        confirm="Yes, cancel them",
        changed="were cancelled",
        none="None of these emails can be cancelled: none of them waits.",
        done_one="It is cancelled and will not leave.",
        tone="danger",
    ),
    Action.RELEASE: ActionLabels(
        title="Release what is on hold",
        will="The whole queue moves again at once: every email on hold is tried with the settings as they are. If these "
        "still do not work, the emails are put on hold again. Nothing is lost.",
        confirm="Yes, release them",
        changed="were released",
        none="Nothing is on hold.",
        done_one="It is released.",
    ),
}
