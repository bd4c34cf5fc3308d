"""The operator's page of accounts: list, approve, suspend, resume and invite."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import abort, flash, redirect, render_template, request, url_for
from flask_babel import gettext as _

from ..accounts import access, identifiers, invitations, standing
from ..accounts.registration import RegistrationRefused
from ..clock import utcnow
from ..state import current_config
from ..status.labels import CODE_LABELS
from ..web.pagination import key_argument, search_argument, searched_live
from . import accounts
from .forms import InvitePersonForm
from .views import blueprint

if TYPE_CHECKING:
    from flask.typing import ResponseReturnValue

_ID = "<int(max=999999999999):account_id>"


@blueprint.get("/accounts")
@searched_live
def list_accounts() -> ResponseReturnValue:
    return _page(InvitePersonForm(formdata=access.kept_form("operator.invite")))


@blueprint.post("/accounts/invite")
def invite() -> ResponseReturnValue:
    """Show the link of a new invitation, once. The operator hands it over."""
    form = InvitePersonForm()
    if not form.validate():
        return _page(form, form_errors=True), 422
    try:
        link = invitations.invite(form.mailbox.data, link=invitations.link_to, now=utcnow())
    except RegistrationRefused as error:
        form.mailbox.errors = [str(error)]
        return _page(form, form_errors=True), 422
    return _page(InvitePersonForm(formdata=None), link=link, invited=form.mailbox.data)


@blueprint.post(f"/accounts/{_ID}/approve")
def approve(account_id: int) -> ResponseReturnValue:
    slug = _slug_or_404(account_id)
    if standing.approve(account_id, now=utcnow()):
        flash(_("%(account)s is approved.", account=slug), "success")
    else:
        flash(_("%(account)s was already approved.", account=slug), "info")
    return redirect(url_for(".list_accounts"), 303)


@blueprint.post(f"/accounts/{_ID}/suspend")
def suspend(account_id: int) -> ResponseReturnValue:
    slug = _slug_or_404(account_id)
    if standing.suspend(account_id, reason=request.form.get("reason", ""), now=utcnow()):
        flash(_("%(account)s is suspended. Its emails wait.", account=slug), "success")
    else:
        flash(_("%(account)s was already suspended.", account=slug), "info")
    return redirect(url_for(".list_accounts"), 303)


@blueprint.post(f"/accounts/{_ID}/resume")
def resume(account_id: int) -> ResponseReturnValue:
    slug = _slug_or_404(account_id)
    if standing.resume(account_id):
        flash(
            _("%(account)s sends again. Signet is sending its waiting emails now.", account=slug), "success"
        )
    else:
        flash(_("%(account)s was not suspended.", account=slug), "info")
    return redirect(url_for(".list_accounts"), 303)


def _slug_or_404(account_id: int) -> str:
    return identifiers.find_slug(account_id) or abort(404)


def _page(form: InvitePersonForm, **more: Any) -> str:
    before, after = key_argument(request.args.get("before")), key_argument(request.args.get("after"))
    search = search_argument(request.args.get("q"))
    return render_template(
        "operator/accounts.html",
        form=form,
        q=search,
        page=accounts.list_page(before=before, after=after, now=utcnow(), search=search),
        reason_limit=standing.REASON_LIMIT_CHARS,
        mode=current_config().registration,
        sending_labels=CODE_LABELS,
        **more,
    )
