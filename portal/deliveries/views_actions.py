"""Orders: about one message, on its page; about many, with a count first and progress after."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from flask import abort, flash, redirect, render_template, request, url_for
from flask_login import current_user, login_required

from ..clock import utcnow
from . import bulk_actions, message_log, resend
from .action_labels import ORDER_WORDS, chips
from .filters import Filters
from .models import Action, State
from .views import IDENT, blueprint, story_page

if TYPE_CHECKING:
    from ..outbox.models import OutboxMessage

_KEY_LENGTH = range(8, 41)


@blueprint.get("/orders/new")
@login_required
def new_order() -> Any:
    action, filters, idents = _asked()
    if action is None:
        return abort(404)
    if not idents and "all" not in request.args:
        flash("Choose one email or more first.", "warning")
        return redirect(url_for("deliveries.index", **filters.query()), 303)
    count = bulk_actions.preview(current_user.account_id, action, filters, idents)
    return render_template(
        "deliveries/new_order.html",
        action=action,
        filters=filters,
        chips=chips(filters),
        idents=idents,
        count=count,
        said=ORDER_WORDS[action],
        key=secrets.token_urlsafe(12),
    )


@blueprint.post("/orders")
@login_required
def give_order() -> Any:
    action, filters, idents = _asked()
    key = request.form.get("key", "")
    if action is None or len(key) not in _KEY_LENGTH or not (idents or "all" in request.form):
        return abort(400)
    order = bulk_actions.give(current_user.account_id, action, filters, idents, key=key, now=utcnow())
    return redirect(url_for("deliveries.order", ident=order.id), 303)


@blueprint.get(f"/orders/{IDENT}")
@login_required
def order(ident: int) -> Any:
    found = bulk_actions.order_of(current_user.account_id, ident) or abort(404)
    return render_template(
        "deliveries/order.html",
        order=found,
        said=ORDER_WORDS[found.action],
        live=found.state in (State.WAITING, State.RUNNING),
        chips=chips(Filters.read(found.filters)) if found.message_ids is None else [],
    )


@blueprint.post(f"/orders/{IDENT}/stop")
@login_required
def stop_order(ident: int) -> Any:
    found = bulk_actions.order_of(current_user.account_id, ident) or abort(404)
    bulk_actions.stop(found, now=utcnow())
    return redirect(url_for("deliveries.order", ident=ident), 303)


@blueprint.post(f"/{IDENT}/<any(retry, cancel):deed>")
@login_required
def move(ident: int, deed: str) -> Any:
    message = _message(ident)
    refused = resend.move(message, Action(deed), now=utcnow())
    if refused:
        return story_page(message, refused, 422)
    flash(ORDER_WORDS[Action(deed)].done_one, "success")
    return redirect(url_for("deliveries.show", ident=ident), 303)


@blueprint.post(f"/{IDENT}/again")
@login_required
def send_again(ident: int) -> Any:
    message = _message(ident)
    key = request.form.get("key", "")
    if len(key) not in _KEY_LENGTH:
        return abort(400)
    wish = resend.Wish(
        to_me=request.form.get("to") == "me", anew=request.form.get("words") == "today", key=key
    )
    try:
        copy = resend.send(message, current_user, wish, now=utcnow())
    except resend.Refused as refused:
        return story_page(message, str(refused), 422)
    flash("Another copy is on its way. This is its page.", "success")
    return redirect(url_for("deliveries.show", ident=copy.id), 303)


def _message(ident: int) -> OutboxMessage:
    return message_log.message_of(current_user.account_id, ident) or abort(404)


def _asked() -> tuple[Action | None, Filters, list[int] | None]:
    """Read which messages are meant: those named, or, with ``all``, those the filters let through."""
    values = request.values
    asked = values.get("action", "")
    action = Action(asked) if asked in set(Action) else None
    filters = Filters.read(values.to_dict())
    if "all" in values:
        return action, filters, None
    named = [one for one in values.getlist("id") if one.isascii() and one.isdigit() and len(one) < 13]
    return action, filters, sorted({int(one) for one in named})[: bulk_actions.MOST_NAMED]
