"""The operator's orders over the outbox: a form, what it would change, and the order itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import flash, redirect, render_template, request, url_for
from flask_babel import gettext as _
from flask_babel import ngettext

from ..accounts import access
from ..clock import utcnow
from . import orders
from .forms import OrderForm
from .orders import OrderAction
from .views import blueprint

if TYPE_CHECKING:
    from flask.typing import ResponseReturnValue

    from .orders import OrderPreview

_MAX_ACCOUNTS = 50  # listed in a preview


@blueprint.get("/outbox/orders", endpoint="orders")
def orders_page() -> ResponseReturnValue:
    """Show the form and, once it is sent, what the order would change. It changes nothing, so it is a GET."""
    now = utcnow()
    if "show" not in request.args:
        chosen = {
            name: request.args.get(name, "") for name in ("action", "account") if request.args.get(name)
        }
        return _page(OrderForm(formdata=access.kept_form("operator.give_order"), data=chosen))
    form = OrderForm(formdata=request.args)
    form.at.data = now.isoformat()
    if not form.validate():
        return _page(form, form_errors=True), 422
    try:
        found = orders.preview(form.order(now), now=now)
    except orders.UnknownAccount:
        return _unknown(form)
    return _page(form, found)


@blueprint.post("/outbox/orders")
def give_order() -> ResponseReturnValue:
    form, now = OrderForm(), utcnow()
    if not form.validate():
        return _page(form, form_errors=True), 422
    order = form.order(now)
    try:
        found = orders.preview(order, now=now)
        if found.is_too_large:
            return _page(form, found), 422
        count = orders.give(order, now=now)
    except orders.UnknownAccount:
        return _unknown(form)
    flash(_sentence(order.action, count), "success" if count else "info")
    return redirect(url_for(".outbox"), 303)


def _sentence(action: OrderAction, count: int) -> str:
    if not count:
        return str(_("There were no matching emails any more, so nothing was changed."))
    if action is OrderAction.RELEASE:
        return str(ngettext("One queue is released.", "%(num)s queues are released.", count))
    if action is OrderAction.RETRY:
        return str(
            ngettext("Signet is trying one email again.", "Signet is trying %(num)s emails again.", count)
        )
    return str(ngettext("One email is cancelled.", "%(num)s emails are cancelled.", count))


def _unknown(form: OrderForm) -> ResponseReturnValue:
    form.account.errors = [_("No account has this short name. It is the last part of /join/<name>.")]
    return _page(form, form_errors=True), 422


def _page(form: OrderForm, preview: OrderPreview | None = None, **more: Any) -> str:
    return render_template(
        "operator/orders.html",
        form=form,
        preview=preview,
        max_accounts=_MAX_ACCOUNTS,
        max_emails=orders.MAX_EMAILS,
        **more,
    )
