"""The page *Team*, the page of an invitation, and the change of the programme that is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import Blueprint, abort, flash, redirect, render_template, session, url_for
from flask_babel import gettext as _
from flask_login import current_user, logout_user

from ...clock import utcnow
from ...web.translations import offer_browsers_language
from .. import login
from ..access import forget_forms, kept_form, known_browser, this_device
from ..forms import add_error
from ..identifiers import mailbox_key
from ..login import TooManyAttempts, Visitor, WrongCredentials
from ..passwords import PasswordRefused
from ..registration import MailboxTaken
from ..tokens import InvalidLink
from ..views import keep_language, let_in, link, render_rate_limited
from . import accepting, invitations, members, programmes
from .accepting import OtherMailbox
from .forms import ContactForm, KnownMemberForm, NewMemberForm, RoleForm, TeamInviteForm
from .invitations import CannotInvite
from .members import LastOwner, NoMember, NotAllowed
from .rights import Right, Role

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask.typing import ResponseReturnValue
    from flask_wtf import FlaskForm

    from ..factors.entry import Entry
    from .accepting import OfferedRole

blueprint = Blueprint("team", __name__, url_prefix="/team")
offer_browsers_language(blueprint)  # to a stranger who opens an invitation
_ID = "<int(max=999999999999):"
_INVITATION = "accounts/team_invitation.html"


@blueprint.get("")
def index() -> ResponseReturnValue:
    kept = kept_form("team.invite")
    return team_page(invite=TeamInviteForm(formdata=kept) if kept else None)


@blueprint.post("/invitations")
def invite() -> ResponseReturnValue:
    form = TeamInviteForm()
    if not form.validate():
        return team_page(invite=form), 422
    mailbox, role = form.mailbox.data, Role(form.role.data)
    try:
        shown = _changed(lambda: invitations.invite(current_user, mailbox, role, link=_link, now=utcnow()))
    except CannotInvite as error:
        add_error(form, str(error), form.mailbox)
        return team_page(invite=form), 422
    return _sent(shown, mailbox)


@blueprint.post(f"/invitations/{_ID}invitation_id>/send-again")
def resend(invitation_id: int) -> ResponseReturnValue:
    try:
        shown = _changed(
            lambda: invitations.send_again(current_user, invitation_id, link=_link, now=utcnow())
        )
    except CannotInvite as error:
        return team_page(problem=str(error)), 429
    return _sent(shown, "")


@blueprint.post(f"/invitations/{_ID}invitation_id>/withdraw")
def withdraw(invitation_id: int) -> ResponseReturnValue:
    _changed(lambda: invitations.withdraw(current_user, invitation_id, now=utcnow()))
    flash(_("The invitation is withdrawn. Its link no longer works."), "success")
    return _back()


@blueprint.post(f"/{_ID}member_id>/role")
def change_role(member_id: int) -> ResponseReturnValue:
    form = RoleForm()
    if not form.validate():
        return team_page(problem=_("Choose a role.")), 422
    try:
        _changed(lambda: members.change_role(current_user, member_id, Role(form.role.data), now=utcnow()))
    except LastOwner:
        return _last_owner()
    flash(_("The role is changed."), "success")
    return _back()


@blueprint.post(f"/{_ID}member_id>/remove")
def remove(member_id: int) -> ResponseReturnValue:
    if member_id == current_user.id:
        return leave()
    try:
        _changed(lambda: members.remove(current_user, member_id, now=utcnow()))
    except LastOwner:
        return _last_owner()
    flash(_("The person is removed, and logged out of this programme."), "success")
    return _back()


@blueprint.post(f"/{_ID}member_id>/hand-over")
def hand_over(member_id: int) -> ResponseReturnValue:
    try:
        shown = _changed(
            lambda: invitations.offer_ownership(current_user, member_id, link=_link, now=utcnow())
        )
    except CannotInvite as error:
        return team_page(problem=str(error)), 429
    return _sent(shown, "")


@blueprint.post("/contact")
def choose_contact() -> ResponseReturnValue:
    form = ContactForm(members.members_of(current_user.account_id))
    if not form.validate():
        return team_page(problem=_("This person is no longer in the team. Choose another one.")), 422
    _changed(lambda: members.choose_contact(current_user, form.member.data))
    flash(_("The contact is saved."), "success")
    return _back()


@blueprint.post("/leave")
def leave() -> ResponseReturnValue:
    name = current_user.account.name
    try:
        goes_on = _changed(lambda: members.leave(current_user, now=utcnow()))
    except LastOwner:
        return _last_owner()
    if not goes_on:
        logout_user()
        session.clear()
    forget_forms()
    flash(_("You have left %(programme)s.", programme=name), "success")
    return redirect(url_for("home.show" if goes_on else "accounts.log_in"), 303)


@blueprint.post(f"/programmes/{_ID}account_id>/show")
def switch(account_id: int) -> ResponseReturnValue:
    if not programmes.switch(current_user, account_id):
        abort(404)
    forget_forms()
    return redirect(url_for("home.show"), 303)


# -- the invited person


@blueprint.get("/invitations/<token>")
def invitation(token: str) -> ResponseReturnValue:
    try:
        found = accepting.find(token, now=utcnow())
    except InvalidLink:
        return _expired()
    return _invitation_page(found, _form_for(found))


@blueprint.post("/invitations/<token>")
def accept(token: str) -> ResponseReturnValue:
    now = utcnow()
    try:
        found = accepting.find(token, now=now)
        form = _form_for(found)
        if form is None:
            accepting.accept(token, current_user, now=now)
            forget_forms()
        elif not form.validate():
            return _invitation_page(found, form, 422)
        else:
            return _entered(found, _log_in(token, form), token)
    except InvalidLink:
        return _expired()
    except OtherMailbox:
        return _invitation_page(found, None, 403)
    except TooManyAttempts as error:
        return render_rate_limited(_INVITATION, form, error, **_context(found))
    except MailboxTaken:  # in another window: ask for the password now
        return redirect(url_for("team.invitation", token=token), 303)
    except (WrongCredentials, PasswordRefused) as error:
        wrong = isinstance(error, WrongCredentials)
        message = _("This is not your password for Signet.") if wrong else str(error)
        add_error(form, message, form["password"] if form else None)
        return _invitation_page(found, form, 422)
    return _entered(found)


def _entered(found: OfferedRole, entered: Entry | None = None, token: str = "") -> ResponseReturnValue:
    """Answer a person who has joined, or who joins as soon as the second factor is proved."""
    page = url_for("team.index")
    answer = let_in(entered, page, joining=token) if entered else redirect(page, 303)
    if entered is None or not entered.is_pending:
        flash(_("Welcome to %(programme)s.", programme=found.programme), "success")
    return answer


def _form_for(found: OfferedRole) -> FlaskForm | None:
    """Return the form that this visitor fills in; None where the log-in is proof enough."""
    if current_user.is_authenticated:
        return None
    return KnownMemberForm() if found.is_known else NewMemberForm()


def _log_in(token: str, form: FlaskForm) -> Entry:
    """Let a new person register, or a known one log in, and join."""
    password = form["password"].data
    if isinstance(form, NewMemberForm):
        person = accepting.accept_new(token, name=form.name.data, password=password, now=utcnow())
        keep_language(person)
        return login.log_in_new_owner(person, device=this_device(), now=utcnow())
    visitor = Visitor(this_device(), known_browser())
    return accepting.accept_by_log_in(token, password, visitor, now=utcnow())


def _invitation_page(found: OfferedRole, form: FlaskForm | None, status: int = 200) -> ResponseReturnValue:
    return render_template(_INVITATION, form=form, form_errors=status == 422, **_context(found)), status


def _context(found: OfferedRole) -> dict[str, Any]:
    mine = current_user.is_authenticated and mailbox_key(current_user.mailbox) == found.key
    return {"invitation": found, "is_other": current_user.is_authenticated and not mine}


def _expired() -> ResponseReturnValue:
    return render_template("accounts/team_link_expired.html"), 404


# -- parts


def _link(token: str) -> str:
    return link("team.invitation", token=token)


def _changed(operation: Callable[[], Any]) -> Any:
    """Run an operation. Answers 404 for a person or an invitation of no concern, 403 where the right has ended."""
    try:
        return operation()
    except NoMember:
        abort(404)
    except NotAllowed:
        abort(403)


def _sent(shown: str | None, mailbox: str) -> ResponseReturnValue:
    """Answer an invitation: by the page with its link where no email could be sent, else by a redirect."""
    if shown is not None:
        return team_page(shown_link=shown)
    to = mailbox or _("the person")
    flash(_("An email with a link is on its way to %(to)s. The link works for 7 days.", to=to), "success")
    return _back()


def _last_owner() -> ResponseReturnValue:
    problem = _("A programme needs an owner. Make another person an owner first, then try again.")
    return team_page(problem=problem), 409


def _back() -> ResponseReturnValue:
    return redirect(url_for("team.index"), 303)


def team_page(*, invite: TeamInviteForm | None = None, problem: str = "", shown_link: str = "") -> str:
    """Render the page *Team*, with a refused form or with what was refused."""
    people = members.members_of(current_user.account_id)
    contact = next((one for one in people if one.is_contact), None)
    manages = current_user.may(Right.PEOPLE)
    return render_template(
        "accounts/team.html",
        members=people,
        roles=list(Role),
        contact=contact,
        contact_form=ContactForm(people, formdata=None, data={"member": contact.id if contact else None}),
        invitations=invitations.sent_by(current_user.account_id, now=utcnow()) if manages else [],
        form=invite or TeamInviteForm(formdata=None, data={"role": Role.EDITOR.value}),
        form_errors=bool(invite and invite.errors),
        problem=problem,
        shown_link=shown_link,
    )
