"""Pages of incidents: the list, one incident, and the held mail."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from flask_babel import gettext as _
from flask_babel import ngettext
from flask_login import current_user

from ..accounts.standing import may_send
from ..clock import utcnow
from ..deliveries.action_labels import duration
from ..languages import write_short_day
from ..outbox.overview import MAX_SHOWN, count_waiting
from ..outbox.queue import find_queue
from ..settings.routing import live_version
from ..state import current_config
from ..web.charts import Chart, draw_bars
from ..web.labels import STATUS_LABELS
from ..web.pagination import capped, key_argument
from ..web.translations import current_language, page_zone
from . import failover, forms, held_mail, incident_log, presenter

if TYPE_CHECKING:
    from collections.abc import Callable

blueprint = Blueprint("incidents", __name__, url_prefix="/incidents")
_ID_RULE = "<int(max=999999999999):incident_id>"


@blueprint.get("")
def index() -> Any:
    before, after = key_argument(request.args.get("before")), key_argument(request.args.get("after"))
    return render_template(
        "incidents/index.html",
        open_incidents=incident_log.list_open(current_user.account_id),
        page=incident_log.list_closed(current_user.account_id, before=before, after=after),
        paged=before is not None or after is not None,
        kinds=incident_log.KIND_LABELS,
        sentence=presenter.sentence,
        waiting=capped(count_waiting(current_user.account_id, MAX_SHOWN + 1), MAX_SHOWN),
        duration=duration,
        chart=_chart(),
        chart_days=incident_log.CHART_DAYS,
    )


def _chart() -> Chart | None:
    """Return the minutes of incidents by day; None without any."""
    days = incident_log.days_of_incidents(current_user.account_id, page_zone(), now=utcnow())
    rows = []
    for day, number, lasted in days:
        words = ngettext("%(num)s incident", "%(num)s incidents", number)
        text = f"{words}, {duration(lasted.total_seconds())}" if number else _("no incident")
        minutes = max(1, round(lasted.total_seconds() / 60)) if number else 0
        rows.append((f"{write_short_day(day, current_language())}: {text}", {"failed": minutes}))
    return draw_bars(rows) if any(number for _day, number, _lasted in days) else None


@blueprint.get(f"/{_ID_RULE}")
def show(incident_id: int) -> Any:
    incident = incident_log.find(current_user.account_id, incident_id) or abort(404)
    return render_template(
        "incidents/show.html",
        shown=incident_log.read_page(incident),
        row=incident,
        status_labels=STATUS_LABELS,
    )


@blueprint.get("/waiting")
def waiting() -> Any:
    hours = forms.parse_age(request.args.get("hours"))
    return _waiting(hours, forms.HeldMailForm(formdata=None, data={"hours": str(hours or 24)}))


@blueprint.post("/waiting/release")
def release() -> Any:
    count = held_mail.release(current_user.account_id, now=utcnow())
    flash(
        _("You released the waiting emails.")
        + " "
        + ngettext("%(num)s email is being sent.", "%(num)s emails are being sent.", count),
        "success",
    )
    return redirect(url_for(".waiting"), 303)


@blueprint.post("/waiting/discard")
def discard() -> Any:
    form = forms.HeldMailForm()
    if not form.validate():
        return _waiting(None, form, refused=True), 422
    count = held_mail.discard(
        current_user.account_id,
        int(form.hours.data),
        by=current_user.name,
        release_rest="release" in request.form,
        now=utcnow(),
    )
    rest = " " + _("You released the others.") if "release" in request.form else ""
    flash(
        ngettext(
            "%(num)s email is discarded. You find it in the delivery log as cancelled.",
            "%(num)s emails are discarded. You find them in the delivery log as cancelled.",
            count,
        )
        + rest,
        "success",
    )
    return redirect(url_for(".waiting"), 303)


@blueprint.post("/waiting/platform")
def platform() -> Any:
    flash_result(
        lambda: failover.start(current_user.account_id, now=utcnow()),
        _("The platform’s server now sends your emails. Replies go to you."),
        unless=failover.FailoverUnavailable,
    )
    return redirect(url_for(".waiting"), 303)


@blueprint.post("/waiting/own")
def own() -> Any:
    if failover.end_manually(current_user.account_id, now=utcnow()):
        flash(_("Your own server sends your emails again."), "success")
    return redirect(url_for(".waiting"), 303)


def flash_result(operation: Callable[[], object], done: str, *, unless: type[Exception]) -> None:
    """Run an operation; flash ``done``, or the message of the exception ``unless``."""
    try:
        operation()
    except unless as refused:
        flash(str(refused), "danger")
    else:
        flash(done, "success")


def _waiting(hours: int | None, form: forms.HeldMailForm, *, refused: bool = False) -> Any:
    account_id, now = current_user.account_id, utcnow()
    live = live_version(account_id)
    has_platform = bool(current_config().platform.server)
    return render_template(
        "incidents/waiting.html",
        form=form,
        hours=hours,
        ages=forms.AGE_LABELS,
        held=held_mail.count_held(account_id, hours or 0, now=now),
        now=now,
        queue=find_queue(account_id),
        incident=next(iter(incident_log.list_open(account_id)), None),
        sentence=presenter.sentence,
        failover_since=live.failover_since if live else None,
        can_fail_over=live is not None and has_platform,
        has_platform=has_platform,
        is_sending=may_send(account_id),
        form_errors=refused,
    )
