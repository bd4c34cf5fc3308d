"""Pages of the delivery log: the list with its statistics, one message, the CSV export, and the retention."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response, abort, redirect, render_template, request, url_for
from flask_login import current_user

from .. import audit
from ..accounts import access
from ..accounts.team.rights import Right
from ..affiliates import links, suppressions
from ..affiliates.models import SuppressionReason
from ..bounces import event_log, figures, labels, outcomes
from ..bounces.providers.setup import setup_of
from ..clock import utcnow
from ..events import digests
from ..notices.catalogue import CATALOGUE
from ..outbox.queue import find_queue
from ..web.charts import share
from ..web.csv import csv_download
from ..web.headers import mail_page
from ..web.labels import STATUS_LABELS
from ..web.pagination import is_fragment, key_argument, searched_live
from ..web.translations import write_rate
from . import bulk_actions, domains, export, message_log, message_page, resend, retention, stats
from .action_labels import SPAN_LABELS, duration, filter_chips, stats_chart
from .filters import Filters
from .forms import RetentionForm

if TYPE_CHECKING:
    from ..bounces.models import MessageOutcome
    from ..outbox.models import OutboxMessage

blueprint = Blueprint("deliveries", __name__, url_prefix="/deliveries")

MESSAGE_RULE = "<int(max=999999999999):message_id>"


@blueprint.get("")
@searched_live
def index() -> Any:
    args = request.args.to_dict()
    filters = Filters.read(args, current_user.time_zone)
    before, after = key_argument(args.get("before")), key_argument(args.get("after"))
    span = args.get("span", "") if args.get("span") in stats.SPANS else "day"
    account = current_user.account_id
    query = filters.query() | ({"span": span} if span != "day" else {})
    log = message_log.read_page(account, filters, before=before, after=after)
    return render_template(
        "deliveries/index.html",
        log=log,
        log_url=url_for("deliveries.index"),
        filters=filters,
        misread=filters.misread(args),
        typed=args,
        chips=filter_chips(filters),
        tabs=message_log.TABS,
        notices=CATALOGUE,
        # Translated once: rows show them, and a lazy string is translated at each look.
        status_labels={status: str(label) for status, label in STATUS_LABELS.items()},
        outcome_tags={one: (tone, str(label)) for one, (tone, label) in labels.MEANING_TAGS.items()},
        kind_names={kind: message_page.name_of_kind(kind) for kind in {row.kind for row in log.page.rows}},
        purpose=message_page.purpose,
        problem=message_page.problem,
        paged=before is not None or after is not None,
        query=query,
        link=lambda **changes: _link(query | changes),
        **({} if is_fragment() else _around_the_list(account, span)),
    )


def _around_the_list(account: int, span: str) -> dict[str, Any]:
    """Return what the page shows beside the list: figures, running bulk actions, and how long the log is kept."""
    found = stats.read(account, span, now=utcnow())
    since = found.buckets[0].at
    reported = figures.reported_since(account, since, days=span == "month")
    outcome_figures = figures.read(account, since, accepted=found.sent)
    return {
        "stats": found,
        "outcomes": outcome_figures,
        "is_reported": outcome_figures.is_known or figures.is_set_up(account),
        "percent": write_rate,
        "figure_limits": figures,
        "chart": stats_chart(found, reported, with_delivered=outcome_figures.reports_deliveries),
        "reported": reported,
        "domains": domains.read(account),
        "share": share,
        "span_labels": SPAN_LABELS,
        "duration": duration,
        "retention": retention.get(account),
        "bulk_actions": bulk_actions.list_open(account),
        "collected": digests.count_waiting(account),
    }


@blueprint.post("/export.csv")
def table() -> Response:
    filters = Filters.read(request.args.to_dict(), current_user.time_zone)
    account = current_user.account
    # What was searched for may be a person's address.
    chosen = filters.query() | ({"q": "set"} if filters.q else {})
    audit.record_alone(audit.Activity.DELIVERIES_EXPORTED, account.id, after=chosen)
    return csv_download(export.file_name(account.slug, utcnow()), export.csv_chunks(account.id, filters))


@blueprint.route("/keep", methods=["GET", "POST"])
def keep() -> Any:
    chosen = retention.get(current_user.account_id)
    saved = {"body_days": chosen.body_days, "row_days": chosen.row_days}
    if request.method != "POST":
        form = RetentionForm(formdata=access.kept_form("deliveries.keep"), data=saved)
        return render_template("deliveries/keep.html", form=form, saved="saved" in request.args)
    form = RetentionForm(data=saved)
    if form.validate():
        if form.deletes_sooner(chosen) and "confirmed" not in request.form:
            return render_template("deliveries/keep.html", form=form, saved=False, asks=True)
        retention.save(current_user.account_id, form.chosen())
        return redirect(url_for("deliveries.keep", saved="1"), 303)
    return render_template("deliveries/keep.html", form=form, saved=False), 422


@blueprint.get(f"/{MESSAGE_RULE}")
def show(message_id: int) -> Any:
    message = message_or_404(message_id)
    return message_page_response(message)


@blueprint.get(f"/{MESSAGE_RULE}/html")
def html(message_id: int) -> Response:
    message = message_or_404(message_id)
    return mail_page(_as_shown(message, message.html)) if message.html else abort(404)


def _as_shown(message: OutboxMessage, body: str) -> str:
    """Return the body of an email without what would let its reader do more than the person's role includes."""
    return links.redact_tokens(message.kind, body, also_keys=not current_user.may(Right.WRITE))


def _link(query: dict[str, Any]) -> str:
    return url_for("deliveries.index", **{name: value for name, value in query.items() if value != ""})


def message_page_response(message: OutboxMessage, refused: str = "", code: int = 200) -> Any:
    """Return the page of one message; ``refused`` is why an action on it was refused."""
    attempts, now = message_log.attempts_of(message), utcnow()
    event, row = resend.event_of(message), message_log.log_row_of(message)
    reports, outcome = event_log.of_message(message.id), outcomes.find(message.id)
    page = render_template(
        "deliveries/show.html",
        detail=message_page.describe(message, attempts, find_queue(current_user.account_id), outcome),
        message=message,
        timeline=message_page.timeline(message, attempts, event, row, reports),
        outcome_labels=labels,
        advice=_advice(message, outcome) if outcome is not None else "",
        provider_setup=setup_of(outcome.source) if outcome is not None else None,
        shown_text=_as_shown(message, message.text),
        link_hidden=links.holds_token(message.kind),
        wiped_at=row.wiped_at if row else None,
        origin=resend.origin_of(message),
        copies=message_log.copies_of(message),
        status_labels=STATUS_LABELS,
        refused=refused,
        may_retry=resend.may_retry(message, now),
        may_cancel=resend.may_cancel(message),
        why_no_copy=resend.why_no_copy(message),
        why_not_to_recipient=resend.why_not_to_recipient(message),
        why_not_rendered_again=resend.why_not_rendered_again(message),
        key=secrets.token_urlsafe(12),
    )
    return page, code


def _advice(message: OutboxMessage, outcome: MessageOutcome) -> str:
    account, mailbox = current_user.account_id, message.recipient
    row = suppressions.find_suppression(account, mailbox)
    return labels.advice(
        outcome.meaning,
        is_affiliate=suppressions.is_affiliate(account, mailbox),
        is_suppressed=row is not None and row.reason is not SuppressionReason.UNSUBSCRIBED,
    )


def message_or_404(message_id: int) -> OutboxMessage:
    """Return a message of the account that is logged in; abort with 404 if it has none with this id."""
    return message_log.get_message(current_user.account_id, message_id) or abort(404)
