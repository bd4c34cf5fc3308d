"""Banners about orders that were reported twice or inconsistently, and about summaries that were not sent."""

from __future__ import annotations

from babel.dates import format_date
from flask import url_for
from flask_babel import gettext as _
from flask_babel import ngettext

from ..amounts import DEFAULT_LOCALE
from ..events import weeks
from ..notices import recipients
from ..notices.catalogue import CATALOGUE
from ..web.banners import Banner
from . import listing, weekly_summary
from .models import CommissionState

_SUMMARIES = (CATALOGUE["weekly-summary"], CATALOGUE["owner-weekly-summary"])


def banners(account_id: int) -> list[Banner]:
    """Return the banners of an account about its money."""
    return [*_waiting(account_id), *_skipped(account_id)]


def _waiting(account_id: int) -> list[Banner]:
    counts, found = listing.count_waiting(account_id), []
    if count := counts.get(CommissionState.REPEATED):
        title = ngettext(
            "Your shop reported an order twice", "Your shop reported %(num)s orders twice", count
        )
        text = _("Each counts once unless you decide that it is a second purchase.")
        url = url_for("money.index", state="repeated")
        found.append(Banner("warning", title, text, _("Decide"), url))
    if count := counts.get(CommissionState.UNMATCHED):
        title = ngettext(
            "What your shop reported of an order does not fit its purchase",
            "What your shop reported of %(num)s orders does not fit their purchases",
            count,
        )
        text = _(
            "A refund, decision or payout named another affiliate or currency. It changes no commission."
        )
        url = url_for("money.index", state="unmatched")
        found.append(Banner("warning", title, text, _("See what was reported"), url))
    return found


def _skipped(account_id: int) -> list[Banner]:
    if not any(recipients.is_enabled(account_id, notice) for notice in _SUMMARIES):
        return []
    week = weekly_summary.find_skipped(account_id)
    if week is None:
        return []
    first, last = weeks.days_of(week.week)
    title = _(
        "The weekly summaries of %(first)s to %(last)s were not sent",
        first=format_date(first, "d MMMM", DEFAULT_LOCALE),
        last=format_date(last, "d MMMM", DEFAULT_LOCALE),
    )
    text = _(
        "No worker ran on the day they were due. Send them now; otherwise the next summaries name what happened then."
    )
    return [Banner("warning", title, text, _("Send them now"), url_for("money.skipped_week"))]
