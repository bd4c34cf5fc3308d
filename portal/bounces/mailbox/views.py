"""The page of the mailbox that is read for bounces."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import Blueprint, abort, flash, redirect, render_template, url_for
from flask_babel import gettext as _
from flask_login import current_user

from ...accounts import access
from ...clock import utcnow
from ...oauth import issuers
from ...oauth.models import Flow
from . import connecting, problems, saving
from .forms import FolderForm, MailboxForm

if TYPE_CHECKING:
    from .models import BounceMailbox

# The pages that connect a mailbox again; by consent, the page depends on the provider.
_PAGES = {Flow.APP_ONLY: "connect_mailbox.app", Flow.SERVICE_ACCOUNT: "connect_mailbox.service_account"}
blueprint = Blueprint("bounce_mailbox", __name__, url_prefix="/settings/bounces/mailbox")


@blueprint.get("")
def show() -> Any:
    mailbox = saving.find(current_user.account_id)
    kept = access.kept_form("bounce_mailbox.save")
    return _page(MailboxForm(formdata=kept, data=_data(mailbox)), mailbox)


@blueprint.post("")
def save() -> Any:
    form = MailboxForm()
    if form.validate():
        try:
            saving.save(current_user.account_id, form.values, current_user.name, now=utcnow())
        except saving.PasswordNeeded:
            form.password.errors = [
                _(
                    "Enter the IMAP password. Signet sends a saved password only to the server and user that it was saved for."
                )
            ]
        else:
            flash(_("The mailbox is saved. Signet is reading it now."), "success")
            return redirect(url_for(".show"), 303)
    return _page(form, saving.find(current_user.account_id), refused=True), 422


@blueprint.post("/folder")
def save_folder() -> Any:
    form = FolderForm()
    mailbox = saving.find(current_user.account_id) or abort(404)
    if not form.validate():
        return _page(
            MailboxForm(formdata=None, data=_data(mailbox)), mailbox, folder_form=form, refused=True
        ), 422
    if not saving.save_folder(current_user.account_id, str(form.read_folder.data), now=utcnow()):
        abort(404)
    flash(_("The mailbox is saved. Signet is reading it now."), "success")
    return redirect(url_for(".show"), 303)


@blueprint.post("/read")
def read_now() -> Any:
    if saving.find(current_user.account_id) is None:
        abort(404)
    if saving.read_now(current_user.account_id, now=utcnow()):
        flash(_("Signet is reading the mailbox now."), "success")
    else:
        flash(
            _("You did this very often within an hour. Signet reads the mailbox every five minutes anyway."),
            "error",
        )
    return redirect(url_for(".show"), 303)


@blueprint.post("/remove")
def remove() -> Any:
    if not saving.remove(current_user.account_id, now=utcnow()):
        abort(404)
    flash(_("Signet no longer reads the mailbox and has deleted its password or permission."), "success")
    return redirect(url_for(".show"), 303)


def _data(mailbox: BounceMailbox | None) -> dict[str, str]:
    if mailbox is None or mailbox.grant_id is not None:
        return {"folder": "INBOX", "security": "implicit"}
    return {
        "host": mailbox.host,
        "port": str(mailbox.port),
        "security": mailbox.security,
        "username": mailbox.username,
        "folder": mailbox.folder,
    }


def _page(
    form: MailboxForm,
    mailbox: BounceMailbox | None,
    *,
    folder_form: FolderForm | None = None,
    refused: bool = False,
) -> str:
    grant = saving.grant_of(mailbox) if mailbox else None
    again_url = ""
    if grant is not None:
        page = _PAGES.get(grant.flow)
        again_url = url_for(page) if page else url_for("connect_mailbox.show", way=connecting.way_of(grant))
    folder = folder_form or FolderForm(formdata=None, data={"read_folder": mailbox.folder} if mailbox else {})
    return render_template(
        "bounces/mailbox.html",
        form=form,
        folder_form=folder,
        wrong_form=(folder if folder_form else form) if refused else None,
        grant=grant,
        again_url=again_url,
        issuer=issuers.issuer_of(grant).name if grant else "",
        ways=connecting.ways(),
        mailbox=mailbox,
        problem=problems.sentence(mailbox.problem) if mailbox and mailbox.problem else "",
    )
