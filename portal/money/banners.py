"""Banners about orders that were reported twice, and about summaries that were not sent."""

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

_SUMMARIES = (CATALOGUE["weekly-summary"], CATALOGUE["owner-weekly-summary"])


def banners(account_id: int) -> list[Banner]:
    """Return the banners of an account about its money."""
    return [*_repeated(account_id), *_skipped(account_id)]


def _repeated(account_id: int) -> list[Banner]:
    count = listing.count_repeated(account_id)
    if not count:
        return []
    title = ngettext("Your shop reported an order twice", "Your shop reported %(num)s orders twice", count)
    text = _("Each counts once until you say that it is a second purchase.")
    return [Banner("warning", title, text, _("Decide"), url_for("money.index", state="repeated"))]


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
