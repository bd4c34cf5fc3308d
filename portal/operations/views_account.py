"""The operator's page of one account: its state, limits and people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import abort, flash, redirect, render_template, request, url_for
from flask_babel import gettext as _

from ..accounts import access, identifiers, standing
from ..clock import utcnow
from ..status.labels import CODE_LABELS
from ..web.pagination import key_argument
from . import people
from .forms import PlatformLimitForm
from .views import blueprint

if TYPE_CHECKING:
    from flask.typing import ResponseReturnValue

_ACCOUNT = "/accounts/<int(max=999999999999):account_id>"


@blueprint.get(_ACCOUNT)
def show_account(account_id: int) -> ResponseReturnValue:
    return _page(account_id)


@blueprint.post(f"{_ACCOUNT}/limit")
def save_platform_limit(account_id: int) -> ResponseReturnValue:
    slug = identifiers.find_slug(account_id) or abort(404)
    form = PlatformLimitForm()
    if not form.validate():
        return _page(account_id, form, form_errors=True), 422
    standing.set_platform_limit(account_id, form.chosen)
    flash(_("The limit of %(account)s is saved. It applies to the next email.", account=slug), "success")
    return redirect(url_for(".show_account", account_id=account_id), 303)


def _page(account_id: int, form: PlatformLimitForm | None = None, **more: Any) -> str:
    number = key_argument(request.args.get("page")) or 1
    page = people.build(account_id, number, now=utcnow()) or abort(404)
    saved = str(page.limits.platform_set) if page.limits.platform_set is not None else ""
    typed = access.kept_form("operator.save_platform_limit")
    form = form or PlatformLimitForm(formdata=typed, data={"per_day": saved})
    return render_template(
        "operator/account.html", page=page, account=page.row, form=form, sending_labels=CODE_LABELS, **more
    )
