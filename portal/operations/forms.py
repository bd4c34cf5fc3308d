"""The forms of the operator's pages."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from flask_babel import gettext
from flask_babel import lazy_gettext as _
from wtforms import HiddenField, SelectField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import Optional, ValidationError

from ..outbox.models import Status
from ..web.fields import PortalForm, mailbox_field, required, text_field
from .orders import AGES, STATUSES, OrderAction, OutboxOrder

_MAX_PER_DAY = 1_000_000
_EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)  # leaves room for date arithmetic


class InvitePersonForm(PortalForm):
    """Whom the operator invites to register."""

    mailbox = mailbox_field(
        _("Email address"),
        required(_("Enter the email address of the person you invite.")),
        description=_("The person registers with it, through a link that you give them."),
    )


class PlatformLimitForm(PortalForm):
    """How many emails a day the platform's sender carries for an account."""

    per_day = text_field(
        _("Emails in 24 hours through the platform’s sender"),
        Optional(),
        limit=12,
        description=_(
            "0 to 1000000. Leave it empty to use the default. It does not apply to emails through the "
            "account’s own SMTP settings."
        ),
    )

    @property
    def chosen(self) -> int | None:
        """The number, or None."""
        return int(self.per_day.data) if self.per_day.data else None

    def validate_per_day(self, field: Any) -> None:
        text = field.data or ""
        if text and not (text.isascii() and text.isdigit() and len(text) < 8 and int(text) <= _MAX_PER_DAY):
            raise ValidationError(gettext("Enter a whole number from 0 to 1000000, or leave this empty."))


class OrderForm(PortalForm):
    """An order over the outbox. ``at`` is when its preview was made, so that what is queued later is left out."""

    action = SelectField(
        _("What to do"),
        choices=[
            SelectChoice(OrderAction.RETRY.value, _("Try again now")),
            SelectChoice(OrderAction.CANCEL.value, _("Cancel: do not send them")),
            SelectChoice(OrderAction.RELEASE.value, _("Release stopped queues")),
        ],
    )
    account = text_field(
        _("Account"),
        Optional(),
        limit=60,
        description=_(
            "The short name of the account, or @portal for the portal’s own emails. Leave it empty for all "
            "accounts."
        ),
    )
    status = SelectField(
        _("Which emails"),
        choices=[
            SelectChoice("", _("All that the action applies to")),
            SelectChoice(Status.FAILED.value, _("Failed")),
            SelectChoice(Status.QUEUED.value, _("Waiting")),
            SelectChoice(Status.HELD.value, _("On hold")),
            SelectChoice(Status.CANCELLED.value, _("Cancelled")),
        ],
        default="",
    )
    age = SelectField(
        _("Queued for longer than"),
        choices=[
            SelectChoice("any", _("Any time")),
            SelectChoice("hour", _("One hour")),
            SelectChoice("day", _("One day")),
            SelectChoice("week", _("One week")),
        ],
        default="any",
    )
    at = HiddenField()

    def validate_status(self, field: Any) -> None:
        allowed = STATUSES[OrderAction(self.action.data)] if self.action.data in set(OrderAction) else ()
        if field.data and field.data not in {one.value for one in allowed}:
            raise ValidationError(gettext("This action does not apply to such emails. Choose others."))

    def order(self, now: datetime) -> OutboxOrder:
        """Return the order as entered, with the time of its preview at the latest."""
        status = Status(self.status.data) if self.status.data else None
        age, action = AGES[self.age.data], OrderAction(self.action.data)
        before = max(_EARLIEST, min(now, _time(self.at.data) or now)) - age
        is_any_queue = action is OrderAction.RELEASE and not age
        return OutboxOrder(action, self.account.data or "", status, None if is_any_queue else before)


def _time(text: str | None) -> datetime | None:
    try:
        found = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return found if found.tzinfo else None
