"""The pages on which a person changes the mailbox of the log-in, and undoes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import flash, redirect, render_template, request, session, url_for
from flask_babel import gettext as _
from flask_babel import ngettext
from flask_login import current_user, logout_user

from ...clock import utcnow
from ..access import kept_form
from ..forms import add_error
from ..tokens import InvalidLink
from ..views import blueprint, link, render_errors
from . import changes
from .forms import NewMailboxForm

if TYPE_CHECKING:
    from flask.typing import ResponseReturnValue

    from .made_since import Ended

_PATH = "/account/email-address"
_PAGE = "accounts/mailbox.html"


@blueprint.route(_PATH, methods=["GET", "POST"])
def change_mailbox() -> ResponseReturnValue:
    if request.method != "POST":
        form = NewMailboxForm(formdata=kept_form("accounts.change_mailbox"))
        return render_template(_PAGE, form=form, can_change=changes.can_change())
    form = NewMailboxForm()
    if not changes.can_change():
        return render_template(_PAGE, form=form, can_change=False), 409
    if not form.validate():
        return render_errors(_PAGE, form, can_change=True)
    try:
        to = changes.request_change(
            current_user,
            form.mailbox.data,
            link=lambda token: link("accounts.confirm_new_mailbox", token=token),
            now=utcnow(),
        )
    except changes.CannotChange as error:
        add_error(form, str(error), form.mailbox)
        page = render_errors(_PAGE, form, can_change=True)
        return (page[0], 429) if isinstance(error, changes.TooManyMailboxChanges) else page
    flash(_("A link is on its way to %(mailbox)s. Open it here within 24 hours.", mailbox=to), "success")
    return redirect(url_for("accounts.profile"), 303)


@blueprint.route(f"{_PATH}/<token>", methods=["GET", "POST"])
def confirm_new_mailbox(token: str) -> ResponseReturnValue:
    """Show the change and, by the button, make it. A program that follows links in emails presses no button."""
    try:
        if request.method != "POST":
            offered = changes.find(token, current_user, now=utcnow())
            return render_template("accounts/mailbox_confirm.html", offered=offered, token=token)
        mailbox = changes.confirm(token, current_user, undo_link=_undo_link, now=utcnow())
    except InvalidLink:
        return _expired(again="accounts.change_mailbox")
    flash(
        _(
            "You now log in with %(mailbox)s. All other devices are logged out, and your former address got "
            "an email.",
            mailbox=mailbox,
        ),
        "success",
    )
    return redirect(url_for("accounts.profile"), 303)


@blueprint.route(f"{_PATH}/undo/<token>", methods=["GET", "POST"])
def undo_mailbox(token: str) -> ResponseReturnValue:
    try:
        if request.method != "POST":
            offered = changes.find_undo(token, now=utcnow())
            return render_template("accounts/mailbox_undo.html", offered=offered, token=token)
        undone = changes.undo(token, now=utcnow())
    except InvalidLink:
        return _expired(again="accounts.forgot")
    logout_user()
    session.clear()
    flash(
        _("Your former address is restored, and all devices are logged out. Now choose a new password."),
        "success",
    )
    _flash_ended(undone.ended)
    return redirect(url_for("accounts.reset", token=undone.reset), 303)


def _flash_ended(ended: Ended) -> None:
    """Name what was made in the person's name and works no longer."""
    if ended.tokens:
        flash(
            ngettext(
                "One API token that was made in your name shortly before or since the change no longer works.",
                "%(num)s API tokens that were made in your name shortly before or since the change no longer work.",
                ended.tokens,
            )
        )
    if ended.invitations:
        flash(
            ngettext(
                "One invitation that was sent in your name shortly before or since the change was withdrawn.",
                "%(num)s invitations that were sent in your name shortly before or since the change were withdrawn.",
                ended.invitations,
            )
        )


def _undo_link(token: str) -> str:
    return link("accounts.undo_mailbox", token=token)


def _expired(again: str) -> ResponseReturnValue:
    return render_template("accounts/link_expired.html", again=again), 404
