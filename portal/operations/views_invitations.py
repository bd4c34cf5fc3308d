"""The operator's page of invitations to register: who was invited and has not registered, new links, and withdrawal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import abort, flash, redirect, render_template, request, url_for
from flask_babel import gettext as _

from ..accounts import invitations
from ..accounts.registration import RegistrationRefused
from ..clock import utcnow
from ..web.pagination import key_argument, search_argument, searched_live
from .views import blueprint

if TYPE_CHECKING:
    from flask.typing import ResponseReturnValue

_ID = "<int(max=999999999999):invitation_id>"


@blueprint.get("/invitations")
@searched_live
def list_invitations() -> ResponseReturnValue:
    return _page()


@blueprint.post(f"/invitations/{_ID}/renew")
def renew_invitation(invitation_id: int) -> ResponseReturnValue:
    """Show a new link to the same person, once. The earlier one ends."""
    mailbox = invitations.mailbox_of(invitation_id) or abort(404)
    try:
        link = invitations.invite(mailbox, link=invitations.link_to, now=utcnow())
    except RegistrationRefused as refused:
        flash(str(refused), "warning")
        return redirect(url_for(".list_invitations"), 303)
    return _page(link=link, invited=mailbox)


@blueprint.post(f"/invitations/{_ID}/withdraw")
def withdraw_invitation(invitation_id: int) -> ResponseReturnValue:
    mailbox = invitations.withdraw(invitation_id) or abort(404)
    flash(_("The invitation of %(mailbox)s is withdrawn.", mailbox=mailbox), "success")
    return redirect(url_for(".list_invitations"), 303)


def _page(**more: Any) -> str:
    before, after = key_argument(request.args.get("before")), key_argument(request.args.get("after"))
    search = search_argument(request.args.get("q"))
    return render_template(
        "operator/invitations.html",
        q=search,
        page=invitations.list_made(before=before, after=after, search=search),
        lifetime=invitations.LINK_LIFETIME,
        now=utcnow(),
        **more,
    )
