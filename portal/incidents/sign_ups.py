"""Incidents of the sign-up form: a network's limit refused people, or the form slowed down because of many networks at once.

The function is a listener and works inside the transaction of its caller; it does not commit.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from flask_babel import gettext as _

from ..enrolment.sign_up_brake import Limit
from ..web.translations import speaking
from . import lifecycle
from .lifecycle import Failure
from .models import IncidentKind

QUIET = timedelta(hours=1)  # without another refusal: the incident is over


def on_limit(account_id: int, limit: Limit, now: datetime) -> None:
    """Open or extend the incident of a limit that took effect."""
    with speaking(
        None
    ):  # it is stored in English, whatever the language of the form, and translated where it is shown
        if limit is Limit.AT_ONCE:
            cause = _(
                "Sign-ups come from many networks at once, so your sign-up form is slow for an hour. "
                "Each person waits half a minute, and more people than usual have to come back later."
            )
            fixes = [
                _("Check the names and addresses of your newest affiliates: do they look real?"),
                _(
                    "If you expect so many sign-ups, raise the limit under Programme settings. The form "
                    "is then as fast as before."
                ),
            ]
        else:
            cause = _("More people than your limit allows wanted to sign up from one network within an hour.")
            fixes = [
                _(
                    "If they share a network, such as at a trade fair, in a class or in an office, "
                    "raise the limit under Programme settings."
                ),
                _("If you do not expect such a group, keep the limit: it keeps bots out."),
            ]
    diagnosis = {
        "code": limit.value,
        "kind": "sign-ups",
        "whose_move": "owner",
        "cause": cause,
        "fixes": fixes,
    }
    failure = Failure(account_id, IncidentKind.SIGN_UPS, diagnosis, alert_delay=timedelta())
    lifecycle.record_failure(failure, now=now)
