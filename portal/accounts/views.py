"""Pages for visitors who are not logged in: registration, log-in and password reset."""

from __future__ import annotations

import math
from functools import wraps
from typing import TYPE_CHECKING, Any

from flask import Blueprint, flash, redirect, render_template, request, session, url_for
from flask_babel import gettext as _
from flask_babel import lazy_gettext
from flask_login import current_user, logout_user

from ..clock import utcnow
from ..languages import ENGLISH
from ..state import current_config
from ..web.requests import network_of, same_site_path
from ..web.translations import current_language, offer_browsers_language
from . import login, profile, registration, sessions
from . import password_reset as resetting
from .access import (
    known_browser,
    remember_browser,
    start_browser_session,
    start_pending_log_in,
    this_device,
)
from .factors.entry import NoProgramme
from .forms import NO_PROGRAMME, ConfirmForm, ForgotForm, LogInForm, RegisterForm, ResetForm, add_error
from .login import TooManyAttempts, Visitor, WrongCredentials
from .passwords import PasswordRefused
from .tokens import InvalidLink

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask.typing import ResponseReturnValue
    from flask_wtf import FlaskForm

    from ..config import Registration
    from .factors.entry import Entry

blueprint = Blueprint("accounts", __name__)
offer_browsers_language(blueprint)

_LONG_WAIT_MINUTES = 90
_WRONG = lazy_gettext("The email address or the password is wrong. Check both, or choose a new password.")
_NOT_COMPLETED = lazy_gettext(
    "This registration could not be completed. If you already have an account, log in or choose a "
    "new password."
)


def link(endpoint: str, **values: Any) -> str:
    """Return a full address for an email, from the configured base URL and never from the Host header."""
    config = current_config()
    return config.base_url + url_for(endpoint, **values)


@blueprint.context_processor
def _registration_mode() -> dict[str, Registration]:
    """Give the templates of this room the registration mode."""
    return {"registration_mode": current_config().registration}


def for_logged_out(view: Callable[..., ResponseReturnValue]) -> Callable[..., ResponseReturnValue]:
    """Redirect owners who are logged in already to the start page."""

    @wraps(view)
    def guarded(*args: Any, **kwargs: Any) -> ResponseReturnValue:
        if current_user.is_authenticated:
            return redirect(url_for("home.show"), 303)
        return view(*args, **kwargs)

    return guarded


def render_errors(template: str, form: FlaskForm, **more: Any) -> tuple[str, int]:
    """Render a form with its errors, status 422."""
    return render_template(template, form=form, form_errors=True, **more), 422


def render_rate_limited(
    template: str, form: FlaskForm, error: TooManyAttempts, **more: Any
) -> ResponseReturnValue:
    """Render a form after a rate limit was reached, with the time to wait and status 429."""
    add_error(
        form,
        _(
            "There were too many attempts in a short time. Wait %(duration)s, then try again.",
            duration=_duration(error.minutes),
        ),
    )
    html = render_template(template, form=form, form_errors=True, **more)
    return html, 429, {"Retry-After": str(math.ceil(error.wait.total_seconds()))}


def _duration(minutes: int) -> str:
    if minutes == 1:
        return _("a minute")
    if minutes <= _LONG_WAIT_MINUTES:
        return _("%(number)s minutes", number=minutes)
    return _("%(number)s hours", number=-(-minutes // 60))


@blueprint.route("/log-in", methods=["GET", "POST"])
@for_logged_out
def log_in() -> ResponseReturnValue:
    form = LogInForm()
    page, target = "accounts/log_in.html", same_site_path(request.args.get("next"))
    if not form.is_submitted():
        return render_template(page, form=form, target=target)
    if not form.validate():
        return render_errors(page, form, target=target)
    visitor = Visitor(this_device(), known_browser())
    try:
        entered = login.log_in(form.mailbox.data, form.password.data, visitor, now=utcnow())
    except TooManyAttempts as error:
        if error.minutes > _LONG_WAIT_MINUTES:
            add_error(
                form,
                _("You can also choose a new password. You can then log in at once in the same browser."),
            )
        return render_rate_limited(page, form, error, target=target)
    except WrongCredentials:
        add_error(form, _WRONG)
        return render_errors(page, form, target=target)
    except NoProgramme:
        add_error(
            form,
            NO_PROGRAMME,
        )
        return render_errors(page, form, target=target)
    return let_in(entered, target or "")


def let_in(entered: Entry, target: str = "", *, joining: str = "") -> ResponseReturnValue:
    """Answer a log-in: by the page that it was for, or first by the question for the second factor.

    ``joining`` is the token of the invitation that the log-in is for, while it is not used.
    """
    if entered.is_pending:
        start_pending_log_in(entered.token, joining=joining)
        return redirect(url_for("factors.second_step", next=target or None), 303)
    start_browser_session(entered.token)
    return redirect(target or url_for("home.show"), 303)


@blueprint.post("/log-out")
def log_out() -> ResponseReturnValue:
    if current_user.is_authenticated:
        sessions.end(current_user.id, current_user.session_id, now=utcnow())
    logout_user()
    session.clear()
    flash(_("You are logged out."), "success")
    return redirect(url_for("accounts.log_in"), 303)


@blueprint.route("/register", methods=["GET", "POST"])
@for_logged_out
def register() -> ResponseReturnValue:
    form = RegisterForm()
    page = "accounts/register.html"
    if not registration.is_open():
        return render_template("accounts/register_closed.html"), 403 if form.is_submitted() else 200
    if not form.is_submitted():
        return render_template(page, form=form)
    if not form.validate():
        return render_errors(page, form)
    entered = registration.RegistrationInput(
        form.programme.data, form.name.data, form.mailbox.data, form.password.data
    )
    try:
        return _confirm_first(entered) if registration.needs_confirmation() else _register_at_once(entered)
    except TooManyAttempts as error:
        return render_rate_limited(page, form, error)
    except (PasswordRefused, registration.RegistrationRefused) as error:
        show_refusal(form, error)
    return render_errors(page, form)


def show_refusal(form: FlaskForm, error: PasswordRefused | registration.RegistrationRefused) -> None:
    """Show why a registration was refused, beside its field if it is about a name or the password, else on top.

    That a mailbox belongs to an owner already is not revealed.
    """
    if isinstance(error, PasswordRefused):
        add_error(form, str(error), form["password"])
    elif isinstance(error, registration.MailboxTaken):
        add_error(form, _NOT_COMPLETED)
    else:
        field = form[error.field] if isinstance(error, registration.NameRefused) else None
        add_error(form, str(error), field)


def _confirm_first(entered: registration.RegistrationInput) -> ResponseReturnValue:
    session["registering"] = registration.request_confirmation(
        entered,
        network=network_of(request),
        confirm_link=lambda token: link("accounts.confirm", token=token),
        reset_link=link("accounts.forgot"),
        now=utcnow(),
    )
    return redirect(url_for("accounts.register_sent"), 303)


def _register_at_once(entered: registration.RegistrationInput) -> ResponseReturnValue:
    now = utcnow()
    owner = registration.register(entered, network=network_of(request), now=now)
    return log_in_new_owner(owner.id)


def keep_language(owner_id: int) -> None:
    """Let a person who has just registered go on in the language of the pages so far."""
    if current_language() is not ENGLISH:
        profile.change_language(owner_id, current_language().code)


def log_in_new_owner(owner_id: int) -> ResponseReturnValue:
    """Log in an owner who has just registered, and show the first page."""
    keep_language(owner_id)
    answer = let_in(login.log_in_new_owner(owner_id, device=this_device(), now=utcnow()))
    flash(_("Welcome to Signet. Next, connect the provider that sends your emails."), "success")
    return answer


@blueprint.get("/register/check-your-inbox")
def register_sent() -> ResponseReturnValue:
    return render_template("accounts/register_sent.html")


@blueprint.route("/register/<token>", methods=["GET", "POST"])
def confirm(token: str) -> ResponseReturnValue:
    form = ConfirmForm()
    page, browser = "accounts/confirm.html", str(session.get("registering", ""))
    if not registration.is_open():
        return render_template("accounts/register_closed.html"), 403
    try:
        pending = registration.find_pending(token, now=utcnow())
    except InvalidLink:
        return render_template("accounts/link_expired.html", again="accounts.register"), 404
    known = registration.is_same_browser(pending, browser)
    more = {"programme": pending.programme, "known": known}
    if not form.is_submitted():
        return render_template(page, form=form, **more)
    if not known and not form.validate():
        return render_errors(page, form, **more)
    try:
        owner = registration.confirm(
            token,
            browser=browser,
            password=form.password.data or "",
            network=network_of(request),
            now=utcnow(),
        )
    except TooManyAttempts as error:
        return render_rate_limited(page, form, error, **more)
    except registration.WrongPassword:
        add_error(form, _("This is not the password that you chose when you registered."), form.password)
        return render_errors(page, form, **more)
    except (InvalidLink, registration.RegistrationRefused):
        return render_template("accounts/link_expired.html", again="accounts.register"), 404
    return log_in_new_owner(owner.id)


@blueprint.route("/forgot-password", methods=["GET", "POST"])
def forgot() -> ResponseReturnValue:
    form = ForgotForm()
    page = "accounts/forgot.html"
    if not form.is_submitted():
        return render_template(page, form=form)
    if not form.validate():
        return render_errors(page, form)
    try:
        resetting.request_reset(
            resetting.ResetRequest(form.mailbox.data, network_of(request), known_browser()),
            link_for=lambda token: link("accounts.reset", token=token),
            now=utcnow(),
        )
    except TooManyAttempts as error:
        return render_rate_limited(page, form, error)
    return redirect(url_for("accounts.forgot_sent"), 303)


@blueprint.get("/forgot-password/check-your-inbox")
def forgot_sent() -> ResponseReturnValue:
    return render_template("accounts/forgot_sent.html")


@blueprint.route("/reset-password/<token>", methods=["GET", "POST"])
def reset(token: str) -> ResponseReturnValue:
    form = ResetForm()
    page = "accounts/reset.html"
    if not resetting.is_valid_link(token, now=utcnow()):
        return render_template("accounts/link_expired.html", again="accounts.forgot"), 404
    if not form.is_submitted():
        return render_template(page, form=form)
    if not form.validate():
        return render_errors(page, form)
    try:
        owner_id = resetting.set_password(
            token, form.password.data, reset_link=link("accounts.forgot"), now=utcnow()
        )
    except PasswordRefused as error:
        add_error(form, str(error), form.password)
        return render_errors(page, form)
    except InvalidLink:
        return render_template("accounts/link_expired.html", again="accounts.forgot"), 404
    logout_user()
    session.clear()
    remember_browser(owner_id)
    flash(_("Your new password is saved, and all devices are logged out. Now log in with it."), "success")
    return redirect(url_for("accounts.log_in"), 303)
