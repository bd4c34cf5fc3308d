"""Incidents of the mailbox for bounces: it cannot be read for long.

The function is a listener and works inside the transaction of its caller; it does not commit.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from flask_babel import gettext as _

from ..bounces.mailbox import problems
from ..bounces.mailbox.trouble import MailboxState
from . import lifecycle
from .lifecycle import Failure
from .models import EndReason, IncidentKind

if TYPE_CHECKING:
    from datetime import datetime

    from ..bounces.mailbox.models import BounceMailbox

UNREADABLE = "mailbox-unreadable"
_ENDS = {MailboxState.READ: EndReason.READABLE, MailboxState.REMOVED: EndReason.REMOVED}


def on_mailbox_state(mailbox: BounceMailbox, state: MailboxState, now: datetime) -> None:
    """Open or extend the incident of a mailbox that cannot be read, and close it when it is read again or removed."""
    if state is MailboxState.FAILING:
        lifecycle.record_failure(_failure(mailbox), now=now)
        return
    is_known = lifecycle.has_open_incident(mailbox.account_id, IncidentKind.MAILBOX)
    if state is MailboxState.READ and not is_known:
        return
    for incident in lifecycle.open_incidents(mailbox.account_id, lock=True):
        if incident.kind is IncidentKind.MAILBOX:
            lifecycle.close(incident, _ENDS[state], now=now)


def _failure(mailbox: BounceMailbox) -> Failure:
    cause = _("Signet cannot read the mailbox for bounces, so it misses the bounces in it.")
    fix = _(
        "Open Settings, Bounces, Mailbox for bounces. Correct the settings there, or choose Read now "
        "when the server works again."
    )
    diagnosis = {
        "code": UNREADABLE,
        "kind": "mailbox",
        "whose_move": "owner",
        "cause": f"{cause} {problems.sentence(mailbox.problem)}",
        "fixes": [fix],
    }
    server = f"{mailbox.host}:{mailbox.port}"
    return Failure(mailbox.account_id, IncidentKind.MAILBOX, diagnosis, server, alert_delay=timedelta())
