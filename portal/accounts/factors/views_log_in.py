"""The second step of a log-in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import flash, redirect, render_template, request, url_for
from flask_babel import gettext as _

from ...clock import utcnow
from ...web.requests import same_site_path
from ..access import (
    forget_invitation,
    forget_pending_log_in,
    known_browser,
    pending_log_in,
    start_browser_session,
    this_device,
)
from ..forms import NO_PROGRAMME, WRONG_CODE, add_error
from ..login import TooManyAttempts, Visitor
from ..team.accepting import OtherMailbox
from ..tokens import InvalidLink
from ..views import for_logged_out, render_errors, render_rate_limited
from . import second_step as steps
from .entry import NoProgramme
from .forms import SecondStepForm
from .second_step import PendingEnded, WrongCode
from .views import blueprint

if TYPE_CHECKING:
    from flask.typing import ResponseReturnValue

_PAGE = "accounts/second_step.html"


@blueprint.route("/log-in/second", methods=["GET", "POST"])
@for_logged_out
def second_step() -> ResponseReturnValue:
    form, target = SecondStepForm(), same_site_path(request.args.get("next")) or ""
    token, _invitation = pending_log_in()
    if not steps.is_waiting(token, now=utcnow()):
        return _ended(target)
    if not form.is_submitted():
        return render_template(_PAGE, form=form, target=target)
    if not form.validate():
        return render_errors(_PAGE, form, target=target)
    try:
        session = _complete(form.code.data)
    except PendingEnded:
        return _ended(target)
    except TooManyAttempts as error:
        return render_rate_limited(_PAGE, form, error, target=target)
    except WrongCode:
        add_error(form, WRONG_CODE, form.code)
    except (InvalidLink, OtherMailbox):
        forget_invitation()
        add_error(form, _("The invitation no longer works. To log in without it, enter the code again."))
    except NoProgramme:
        add_error(
            form,
            NO_PROGRAMME,
        )
    else:
        start_browser_session(session)
        return redirect(target or url_for("home.show"), 303)
    return render_errors(_PAGE, form, target=target)


def _complete(code: str) -> str:
    """Complete the log-in that waits in this browser; return the token of its session."""
    token, invitation = pending_log_in()
    visitor = Visitor(this_device(), known_browser())
    return steps.complete(token, code, visitor, now=utcnow(), invitation=invitation)


def _ended(target: str) -> ResponseReturnValue:
    forget_pending_log_in()
    flash(
        _("Log in again. You have five minutes and five attempts for the second step."),
        "info",
    )
    return redirect(url_for("accounts.log_in", next=target or None), 303)
