"""Labels of the log's filters, statistics and actions. No HTTP."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flask_babel import gettext as _
from flask_babel import lazy_gettext

from ..bounces.figures import ReportedCounts
from ..bounces.labels import MEANING_TAGS
from ..languages import write_short_day
from ..notices.catalogue import CATALOGUE
from ..web.charts import Chart, draw_bars
from ..web.filters import format_bucket
from ..web.labels import STATUS_LABELS
from ..web.translations import current_language, write_integer
from .filters import Filters, SearchField
from .models import Action

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date, datetime

    from .stats import Stats

SPAN_LABELS = {"day": (lazy_gettext("24 hours"), "hour"), "month": (lazy_gettext("30 days"), "day")}
_SEARCHED = {
    SearchField.AUTO: lazy_gettext("Search"),
    SearchField.RECIPIENT: lazy_gettext("Recipient"),
    SearchField.SUBJECT: lazy_gettext("Words in the subject"),
    SearchField.ID: lazy_gettext("Queue ID or Message-ID"),
}


def filter_chips(filters: Filters) -> list[tuple[str, str, dict[str, str]]]:
    """Return each active filter as (its name, its label, the query without it)."""
    notice = CATALOGUE.get(filters.kind)
    labels = {
        "q": f"{_SEARCHED[filters.by]}: {filters.q}",
        "status": _("Status: %(status)s", status=STATUS_LABELS[filters.status]) if filters.status else "",
        "outcome": _("Afterwards: %(event)s", event=MEANING_TAGS[filters.outcome][1])
        if filters.outcome
        else "",
        "kind": _("Email: %(kind)s", kind=notice.full_name if notice else filters.kind),
        "code": _("Reply code: %(code)s", code=filters.code),
        "version": _("Settings version: %(version)s", version=filters.version),
        "since": _("From %(day)s", day=_day(filters.since)),
        "until": _("Until %(day)s", day=_day(filters.until)),
    }
    return [(name, labels[name], filters.without(name).query()) for name in filters.active]


def _day(day: date | None) -> str:
    return write_short_day(day, current_language(), with_year=True) if day else ""


def stats_chart(stats: Stats, reported: Mapping[datetime, ReportedCounts], *, with_delivered: bool) -> Chart:
    """Return the chart of the statistics, with what bounced later as a part of its own.

    ``with_delivered``: deliveries are reported, so accepted messages are divided into delivered ones and those without a report.
    """
    rows, nothing = [], ReportedCounts()
    labels = {
        "delivered": _("Delivered"),
        "unreported": _("Accepted, not reported yet"),
        "sent": _("Accepted"),
        "waiting": _("Waiting"),
        "bounced": _("Bounced"),
        "failed": _("Failed"),
    }
    for bucket in stats.buckets:
        later = reported.get(bucket.at, nothing)
        bounced = min(later.bounced, bucket.sent)
        delivered = min(later.delivered, bucket.sent - bounced) if with_delivered else 0
        numbers = {
            "delivered": delivered,
            "unreported" if with_delivered else "sent": bucket.sent - bounced - delivered,
            "waiting": bucket.waiting,
            "bounced": bounced,
            "failed": bucket.failed,
        }
        words = ", ".join(
            f"{labels[one]} {write_integer(number)}" for one, number in numbers.items() if number
        )
        at = format_bucket(bucket.at, with_clock=stats.span == "day")
        rows.append((f"{at}: {words or _('no emails')}", numbers))
    return draw_bars(rows)


def duration(seconds: float | None) -> str:
    """Return a duration as text, rounded to one unit."""
    if seconds is None:
        return "–"
    if seconds < 1:
        return _("under 1 s")
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    if seconds < 172800:
        return f"{seconds / 3600:.0f} h"
    return _("%(number)s days", number=f"{seconds / 86400:.0f}")


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
        title=lazy_gettext("Try again"),
        will=lazy_gettext(
            "Emails that failed, were cancelled or are waiting for their next attempt will be retried "
            "now. Accepted emails, tests and emails whose text was removed stay as they are."
        ),
        confirm=lazy_gettext("Yes, try them again"),
        changed=lazy_gettext("will be retried"),
        none=lazy_gettext(
            "You cannot retry any of these emails: they were accepted, are on hold, or are about to be sent."
        ),
        done_one=lazy_gettext("Signet will try again shortly."),
    ),
    Action.CANCEL: ActionLabels(
        title=lazy_gettext("Cancel"),
        will=lazy_gettext(
            "Emails that are waiting or on hold will not be sent. Emails that were sent or are being "
            "sent at this moment stay as they are. You can retry a cancelled email later."
        ),
        confirm=lazy_gettext("Yes, cancel them"),
        changed=lazy_gettext("were cancelled"),
        none=lazy_gettext("You cannot cancel any of these emails: none of them is waiting."),
        done_one=lazy_gettext("The email is cancelled and will not be sent."),
        tone="danger",
    ),
    Action.RELEASE: ActionLabels(
        title=lazy_gettext("Release emails on hold"),
        will=lazy_gettext(
            "Signet tries every email on hold now with your current settings. If these do not work, "
            "Signet puts the emails on hold again. No email is lost."
        ),
        confirm=lazy_gettext("Yes, release them"),
        changed=lazy_gettext("were released"),
        none=lazy_gettext("No email is on hold."),
        done_one=lazy_gettext("The email is released."),
    ),
}
