"""Registration by an invitation's one-time link."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import render_template

from ..clock import utcnow
from . import invitations, registration
from .forms import InvitedForm
from .passwords import PasswordRefused
from .tokens import InvalidLink
from .views import (
    blueprint,
    for_logged_out,
    log_in_new_owner,
    render_errors,
    show_refusal,
)

if TYPE_CHECKING:
    from flask.typing import ResponseReturnValue

_PAGE = "accounts/invited.html"


@blueprint.route("/register/invited/<token>", methods=["GET"])
@for_logged_out
def invited(token: str) -> ResponseReturnValue:
    try:
        invitation = invitations.find(token, now=utcnow())
    except InvalidLink:
        return _expired()
    return render_template(_PAGE, form=InvitedForm(invitation.mailbox), invitation=invitation)


@blueprint.post("/register/invited/<token>")
@for_logged_out
def register_invited(token: str) -> ResponseReturnValue:
    now = utcnow()
    try:
        invitation = invitations.find(token, now=now)
    except InvalidLink:
        return _expired()
    form = InvitedForm(invitation.mailbox)
    if not form.validate():
        return render_errors(_PAGE, form, invitation=invitation)
    entered = registration.RegistrationInput(
        form.programme.data,
        form.name.data,
        invitation.mailbox or form.mailbox.data,
        form.password.data,
    )
    try:
        return log_in_new_owner(invitations.accept(token, entered, now=now).id)
    except InvalidLink:
        return _expired()
    except (PasswordRefused, registration.RegistrationRefused) as error:
        show_refusal(form, error)
    return render_errors(_PAGE, form, invitation=invitation)


def _expired() -> ResponseReturnValue:
    return render_template("accounts/link_expired.html", again=""), 404
