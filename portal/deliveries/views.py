"""The delivery log: the list, its figures, one message's story, and the table to take away."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response, abort, redirect, render_template, request, stream_with_context, url_for
from flask_login import current_user, login_required

from ..affiliates import links
from ..clock import utcnow
from ..notices.catalogue import CATALOGUE
from ..outbox.queue import find_queue
from ..web.headers import mail_page
from ..web.labels import STATUS_LABELS
from ..web.pagination import key_argument
from . import bulk_actions, chart, export, message_log, message_page, resend, retention, stats
from .action_labels import SPAN_WORDS, chips, duration
from .filters import Filters
from .forms import KeepingForm

if TYPE_CHECKING:
    from ..outbox.models import OutboxMessage

blueprint = Blueprint("deliveries", __name__, url_prefix="/deliveries")

IDENT = "<int(max=999999999999):ident>"


@blueprint.get("")
@login_required
def index() -> Any:
    args = request.args.to_dict()
    filters = Filters.read(args)
    before, after = key_argument(args.get("before")), key_argument(args.get("after"))
    span = args.get("span", "") if args.get("span") in stats.SPANS else "day"
    account = current_user.account_id
    told = stats.read(account, span, now=utcnow())
    query = filters.query() | ({"span": span} if span != "day" else {})
    return render_template(
        "deliveries/index.html",
        log=message_log.read(account, filters, before=before, after=after),
        filters=filters,
        misread=filters.misread(args),
        typed=args,
        chips=chips(filters),
        tabs=message_log.TABS,
        notices=CATALOGUE,
        words=STATUS_LABELS,
        name_of=message_page.name_of,
        purpose_of=message_page.purpose_of,
        last_reply=message_page.last_reply,
        paged=before is not None or after is not None,
        figures=told,
        chart=chart.draw(told),
        span_words=SPAN_WORDS,
        duration=duration,
        query=query,
        link=lambda **changes: _link(query | changes),
        keeping=retention.of(account),
        orders=bulk_actions.recent(account),
    )


@blueprint.get("/export.csv")
@login_required
def table() -> Response:
    filters = Filters.read(request.args.to_dict())
    account = current_user.account
    name = export.file_name(account.slug, utcnow())
    lines = stream_with_context(export.lines(account.id, filters))
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(lines, mimetype="text/csv", headers=headers)


@blueprint.route("/keep", methods=["GET", "POST"])
@login_required
def keep() -> Any:
    chosen = retention.of(current_user.account_id)
    form = KeepingForm(data={"body_days": chosen.body_days, "row_days": chosen.row_days})
    if form.validate_on_submit():
        retention.save(current_user.account_id, form.chosen())
        return redirect(url_for("deliveries.keep", saved="1"), 303)
    page = render_template("deliveries/keep.html", form=form, saved="saved" in request.args)
    return page, 422 if request.method == "POST" else 200


@blueprint.get(f"/{IDENT}")
@login_required
def show(ident: int) -> Any:
    message = _message(ident)
    return story_page(message)


@blueprint.get(f"/{IDENT}/html")
@login_required
def html(ident: int) -> Response:
    message = _message(ident)
    return mail_page(links.redact_tokens(message.kind, message.html)) if message.html else abort(404)


def _link(query: dict[str, Any]) -> str:
    return url_for("deliveries.index", **{name: value for name, value in query.items() if value != ""})


def story_page(message: OutboxMessage, refused: str = "", code: int = 200) -> Any:
    """Show one message's story, with the reason why what was asked for is refused."""
    attempts, now = message_log.attempts_at(message), utcnow()
    event, line = resend.event_of(message), message_log.line_of(message)
    page = render_template(
        "deliveries/show.html",
        story=message_page.describe(message, attempts, find_queue(current_user.account_id)),
        message=message,
        moments=message_page.timeline(message, attempts, event, line),
        shown_text=links.redact_tokens(message.kind, message.text),
        link_hidden=links.holds_token(message.kind),
        wiped_at=line.wiped_at if line else None,
        origin=resend.origin_of(message),
        copies=message_log.copies_of(message),
        words=STATUS_LABELS,
        refused=refused,
        may_retry=resend.may_retry(message, now),
        may_cancel=resend.may_cancel(message),
        why_no_copy=resend.why_no_copy(message),
        why_not_to=resend.why_not_to(message),
        why_not_anew=resend.why_not_anew(message),
        key=secrets.token_urlsafe(12),
    )
    return page, code


def _message(ident: int) -> OutboxMessage:
    return message_log.message_of(current_user.account_id, ident) or abort(404)
