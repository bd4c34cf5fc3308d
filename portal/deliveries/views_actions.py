"""Pages of actions: on one message, on its own page; on many, with a count before and the progress after."""

from __future__ import annotations

import secrets
from typing import Any

from flask import abort, flash, redirect, render_template, request, url_for
from flask_babel import gettext as _
from flask_login import current_user

from ..clock import utcnow
from . import bulk_actions, resend
from .action_labels import ACTION_LABELS, filter_chips
from .bulk_actions import Scope
from .filters import Filters
from .models import Action, BulkActionState
from .views import MESSAGE_RULE, blueprint, message_or_404, message_page_response

_ACTION_RULE = "<int(max=999999999999):action_id>"
_KEY_LENGTH = range(8, 41)  # characters of a form's key


@blueprint.get("/orders/new")
def new_order() -> Any:
    action, scope = _read_request()
    if action is None:
        return abort(404)
    if not scope.message_ids and "all" not in request.args:
        flash(_("Select at least one email first."), "warning")
        return redirect(url_for("deliveries.index", **scope.filters.query()), 303)
    count = bulk_actions.preview(current_user.account_id, action, scope)
    return render_template(
        "deliveries/new_order.html",
        action=action,
        filters=scope.filters,
        chips=filter_chips(scope.filters),
        message_ids=scope.message_ids,
        count=count,
        labels=ACTION_LABELS[action],
        key=secrets.token_urlsafe(12),
    )


@blueprint.post("/orders")
def give_order() -> Any:
    action, scope = _read_request()
    key = request.form.get("key", "")
    if action is None or len(key) not in _KEY_LENGTH or not (scope.message_ids or "all" in request.form):
        return abort(400)
    created = bulk_actions.create(current_user.account_id, action, scope, key=key, now=utcnow())
    return redirect(url_for("deliveries.order", action_id=created.id), 303)


@blueprint.get(f"/orders/{_ACTION_RULE}")
def order(action_id: int) -> Any:
    found = bulk_actions.get(current_user.account_id, action_id) or abort(404)
    return render_template(
        "deliveries/order.html",
        bulk_action=found,
        labels=ACTION_LABELS[found.action],
        live=found.state in (BulkActionState.WAITING, BulkActionState.RUNNING),
        chips=filter_chips(Filters.read(found.filters)) if found.message_ids is None else [],
    )


@blueprint.post(f"/orders/{_ACTION_RULE}/stop")
def stop_order(action_id: int) -> Any:
    found = bulk_actions.get(current_user.account_id, action_id) or abort(404)
    bulk_actions.stop(found, now=utcnow())
    return redirect(url_for("deliveries.order", action_id=action_id), 303)


@blueprint.post(f"/{MESSAGE_RULE}/<any(retry, cancel):operation>")
def retry_or_cancel(message_id: int, operation: str) -> Any:
    message = message_or_404(message_id)
    refused = resend.retry_or_cancel(message, Action(operation), now=utcnow())
    if refused:
        return message_page_response(message, refused, 422)
    flash(ACTION_LABELS[Action(operation)].done_one, "success")
    return redirect(url_for("deliveries.show", message_id=message_id), 303)


@blueprint.post(f"/{MESSAGE_RULE}/again")
def send_again(message_id: int) -> Any:
    message = message_or_404(message_id)
    key = request.form.get("key", "")
    if len(key) not in _KEY_LENGTH:
        return abort(400)
    resend_request = resend.ResendRequest(
        to_owner=request.form.get("to") == "me",
        render_again=request.form.get("words") == "today",
        key=key,
    )
    try:
        copy = resend.send(message, current_user, resend_request, now=utcnow())
    except resend.ResendRefused as refused:
        return message_page_response(message, str(refused), 422)
    flash(_("The copy is on its way. This is its page."), "success")
    return redirect(url_for("deliveries.show", message_id=copy.id), 303)


def _read_request() -> tuple[Action | None, Scope]:
    """Read an action and its scope: the ids in ``id``, or with ``all`` every message that matches the filters."""
    values = request.values
    name = values.get("action", "")
    action = Action(name) if name in set(Action) else None
    filters = Filters.read(values.to_dict(), current_user.time_zone)
    if "all" in values:
        return action, Scope(filters)
    ids = {int(text) for text in values.getlist("id") if text.isascii() and text.isdigit() and len(text) < 13}
    return action, Scope(filters, sorted(ids)[: bulk_actions.MAX_SELECTED])
