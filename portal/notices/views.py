"""The list of automated emails: switching them on and off, and further mailboxes for the notices to the owner."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from flask_babel import gettext as _
from flask_babel import lazy_gettext
from flask_login import current_user

from ..accounts import access
from ..accounts.standing import is_limited
from ..clock import utcnow
from ..outbox.routing import NoRoute, route_for
from . import further_mailboxes, recipients, texts
from .catalogue import CATALOGUE, Audience, Notice
from .forms import OwnerMailboxForm

blueprint = Blueprint("notices", __name__, url_prefix="/automated-emails")
_LINK_SENT = lazy_gettext(
    "A link is on its way to %(mailbox)s. Once it is confirmed, this address gets the emails to you as well."
)
samples = Blueprint("samples", __name__)  # the targets of links in previews and test emails


@blueprint.get("")
def index() -> Any:
    return _index(OwnerMailboxForm(formdata=access.kept_form("notices.add_mailbox")))


@blueprint.post("/<kind>/switch")
def switch(kind: str) -> Any:
    notice = notice_or_404(kind)
    enabled = {"1": True, "0": False}.get(request.form.get("on", ""))
    if enabled is None or notice.always_on:  # without a valid value, nothing is switched
        abort(400)
    recipients.set_enabled(current_user.account_id, notice, enabled=enabled)
    flash(
        _("%(email)s is switched on.", email=notice.full_name)
        if enabled
        else _("%(email)s is switched off.", email=notice.full_name),
        "success",
    )
    back = url_for(".index") if request.form.get("back") == "list" else url_for(".show", kind=kind)
    return redirect(back, 303)


@blueprint.post("/mailboxes")
def add_mailbox() -> Any:
    form = OwnerMailboxForm()
    if not form.validate():
        return _index(form, form_errors=True), 422
    try:
        added = further_mailboxes.add(current_user.account, form.mailbox.data, now=utcnow())
    except further_mailboxes.MailboxRefused as error:
        form.mailbox.errors = [str(error)]
        return _index(form, form_errors=True), 422
    flash(_LINK_SENT % {"mailbox": added.mailbox}, "success")
    return redirect(url_for(".index", _anchor="to-you"), 303)


@blueprint.post("/mailboxes/<int:mailbox_id>/remove")
def remove_mailbox(mailbox_id: int) -> Any:
    if not further_mailboxes.remove(current_user.account_id, mailbox_id):
        abort(404)
    flash(_("The mailbox is removed."), "success")
    return redirect(url_for(".index", _anchor="to-you"), 303)


@blueprint.post("/mailboxes/<int:mailbox_id>/send-again")
def send_mailbox_link_again(mailbox_id: int) -> Any:
    try:
        row = further_mailboxes.send_again(current_user.account, mailbox_id, now=utcnow()) or abort(404)
    except further_mailboxes.MailboxRefused as error:
        flash(str(error), "warning")
    else:
        flash(_LINK_SENT % {"mailbox": row.mailbox}, "success")
    return redirect(url_for(".index", _anchor="to-you"), 303)


@blueprint.get("/mailboxes/confirm/<token>")
def confirm_mailbox(token: str) -> Any:
    mailbox, account = further_mailboxes.find_by_token(token, now=utcnow()) or abort(404)
    html = render_template(
        "notices/confirm_mailbox.html",
        account=account,
        mailbox=mailbox.mailbox,
        token=token,
        done=mailbox.confirmed_at is not None,
    )
    return html, {"Referrer-Policy": "no-referrer"}  # the address of the page is a credential


@blueprint.post("/mailboxes/confirm/<token>")
def confirm_mailbox_now(token: str) -> Any:
    if not further_mailboxes.confirm(token, now=utcnow()):
        abort(404)
    return redirect(url_for(".confirm_mailbox", token=token), 303)


@samples.route("/affiliate/sample")
@samples.route("/r/ADA7K2PQ")
@samples.route("/preferences/sample", methods=["GET", "POST"])  # mail programs POST to it (RFC 8058)
def sample_link() -> str:
    """Explain that the link of a test email is only a sample. Changes nothing."""
    return render_template("notices/sample_link.html")


def notice_or_404(kind: str) -> Notice:
    """Return the notice of this kind; abort with 404 if there is none."""
    return CATALOGUE.get(kind) or abort(404)


def current_sender() -> str:
    """Return the From header that an email would have now; empty while there is no route."""
    try:
        return route_for(current_user.account_id).author
    except NoRoute:
        return ""


def _index(form: OwnerMailboxForm, **more: object) -> str:
    account_id = current_user.account_id
    edited = texts.newest_versions(account_id)
    rows = [
        (notice, recipients.is_enabled(account_id, notice), edited.get(notice.kind))
        for notice in CATALOGUE.values()
    ]
    return render_template(
        "notices/index.html",
        to_affiliates=[row for row in rows if row[0].audience is Audience.AFFILIATE],
        to_owner=[row for row in rows if row[0].audience is Audience.OWNER],
        recipients=recipients.recipients_of(current_user.account),
        further=further_mailboxes.find_all(account_id),
        own_texts_wait=is_limited(current_user.account),
        restrictions=recipients.restrictions_of(current_user.account),
        limit=further_mailboxes.LIMIT,
        form=form,
        **more,
    )
