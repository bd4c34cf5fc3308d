"""The owner's pages of commissions: the list with its decisions, the rule, the export, and a week that was skipped."""

from __future__ import annotations

from typing import Any

from flask import (
    Blueprint,
    abort,
    flash,
    redirect,
    render_template,
    request,
    url_for,
)
from flask_babel import gettext as _
from flask_babel import ngettext
from flask_login import current_user

from .. import audit
from ..clock import utcnow
from ..events import weeks
from ..events.types import Source
from ..web.csv import csv_download
from ..web.pagination import key_argument, search_argument, searched_live
from . import approval_rule, balances, csv_export, decisions, listing, weekly_summary
from .decisions import Decision
from .forms import DecisionForm, RuleForm
from .models import CommissionState
from .recording import Cause

_EXAMPLES = 10  # commissions that the page before a decision names

blueprint = Blueprint("money", __name__, url_prefix="/commissions")


@blueprint.get("")
@searched_live
def index() -> Any:
    return _page(_state(request.args), _rule_form())


@blueprint.get("/decide", defaults={"every": False})
@blueprint.get("/decide/shown", defaults={"every": True})
def new_decision(*, every: bool) -> Any:
    """State what a decision would change, about the chosen commissions or about every one that the page showed."""
    return _decision_page(
        request.args, _ids(request.args, "shown" if every else "id"), DecisionForm(formdata=None)
    )


@blueprint.post("")
def decide() -> Any:
    """Decide about the chosen commissions."""
    values, form = request.form, DecisionForm()
    decision, ids = _decision(values), _ids(values, "id")
    if decision is Decision.DECLINE and not form.validate():
        return _decision_page(values, ids, form, form_errors=True), 422
    reason = (form.reason.data or "") if decision is Decision.DECLINE else ""
    count = decisions.decide_all(current_user.account, ids, decision, Cause(Source.PORTAL, utcnow()), reason)
    flash(_result(decision, count), "success" if count else "warning")
    return redirect(url_for(".index", state=_state(values).value), 303)


@blueprint.post("/rule")
def save_rule() -> Any:
    form = RuleForm()
    if not form.validate():
        page = _page(CommissionState.PENDING, form, form_errors=True)
        return page, 422
    approval_rule.save_days(current_user.account_id, form.chosen)
    if form.chosen is None:
        flash(_("Automatic approval is off. Commissions now wait for your decision."), "success")
    else:
        text = ngettext(
            "Automatic approval is on: commissions are approved one day after the purchase.",
            "Automatic approval is on: commissions are approved %(num)s days after the purchase.",
            form.chosen,
        )
        flash(text, "success")
    return redirect(url_for(".index"), 303)


@blueprint.post("/export.csv")
def export() -> Any:
    audit.record_alone(audit.Activity.COMMISSIONS_EXPORTED, current_user.account_id)
    lines = csv_export.stream_csv(current_user.account_id)
    return csv_download(f"{current_user.account.slug}-commissions-{utcnow():%Y-%m-%d}.csv", lines)


@blueprint.get("/skipped-week")
def skipped_week() -> Any:
    week = weekly_summary.find_skipped(current_user.account_id)
    days = weeks.days_of(week.week) if week is not None else None
    return render_template("money/skipped_week.html", week=week, days=days)


@blueprint.post("/skipped-week")
def send_skipped_week() -> Any:
    week_id = key_argument(request.form.get("week")) or 0
    if weekly_summary.send_skipped(current_user.account_id, week_id, now=utcnow()):
        flash(_("The summaries are on their way."), "success")
    else:
        flash(
            _("Nothing was sent. These summaries, or those of a later week, have already been sent."),
            "warning",
        )
    return redirect(url_for(".index"), 303)


def _decision_page(values: Any, ids: set[int], form: DecisionForm, **more: object) -> str:
    decision = _decision(values)
    preview = decisions.preview(current_user.account_id, ids, decision)
    return render_template(
        "money/decide.html",
        decision=decision,
        state=_state(values),
        preview=preview,
        examples=listing.describe(preview.changes[:_EXAMPLES]),
        has_choice=bool(ids),
        form=form,
        **more,
    )


def _decision(values: Any) -> Decision:
    name = values.get("decision", "")
    return Decision(name) if name in set(Decision) else abort(400)


def _state(values: Any) -> CommissionState:
    name = values.get("state", "")
    return CommissionState(name) if name in set(CommissionState) else CommissionState.PENDING


def _ids(values: Any, name: str) -> set[int]:
    found = {key_argument(text) for text in values.getlist(name)[: decisions.MAX_AT_ONCE]}
    return {one for one in found if one is not None}


def _rule_form() -> RuleForm:
    days = approval_rule.find_days(current_user.account_id)
    return RuleForm(formdata=None, data={"active": days is not None, "days": str(days or "")})


def _result(decision: Decision, count: int) -> str:
    if not count:
        return str(_("Nothing was changed: this has already been decided."))
    one_and_many = {
        Decision.APPROVE: ngettext("One commission is approved.", "%(num)s commissions are approved.", count),
        Decision.DECLINE: ngettext("One commission is declined.", "%(num)s commissions are declined.", count),
        Decision.SECOND: ngettext("One purchase now counts.", "%(num)s purchases now count.", count),
        Decision.SAME: ngettext(
            "One report is ignored. It does not count.",
            "%(num)s reports are ignored. They do not count.",
            count,
        ),
    }
    return str(one_and_many[decision])


def _page(state: CommissionState, rule_form: RuleForm, **more: object) -> str:
    before, after = key_argument(request.args.get("before")), key_argument(request.args.get("after"))
    account_id, search = current_user.account_id, search_argument(request.args.get("q"))
    page = listing.list_commissions(account_id, state, before=before, after=after, search=search)
    overview = balances.overview(account_id)
    days = approval_rule.find_days(account_id)
    return render_template(
        "money/index.html",
        state=state,
        commissions=listing.describe(page.rows),
        q=search,
        page=page,
        paged=before is not None or after is not None,
        counts=overview.counts,
        tabs=listing.TABS,
        state_labels=listing.STATE_LABELS,
        balances=overview.balances,
        rule_form=rule_form,
        days=days,
        **more,
    )
