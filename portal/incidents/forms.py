"""Forms: webhook address, failure policy, sending limits, and discarding held mail by age."""

from __future__ import annotations

from typing import Any

from wtforms import Form, RadioField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import Optional, ValidationError

from .. import http_client
from ..state import current_config
from ..web.fields import PortalForm, required, text_field
from .held_mail import AGES
from .models import OnFailure

_ACTIONS = [
    SelectChoice(OnFailure.WAIT.value, "Wait and try again"),
    SelectChoice(OnFailure.PLATFORM.value, "Send through the platform after a while"),
    SelectChoice(OnFailure.STOP.value, "Stop until I say so"),
]
_MAX_LIMIT = 10_000_000  # emails
_MAX_DIGITS = 11


class WebhookForm(PortalForm):
    """The address to which events are posted."""

    url = text_field("Address", required("Enter an address such as https://example.com/signet."), limit=500)

    def validate_url(self, field: Any) -> None:
        try:
            http_client.parse_address(field.data or "", current_config().webhook_policy)
        except http_client.InvalidAddress as refused:
            raise ValidationError(str(refused)) from None


def whole_number(low: int, high: int, what: str) -> Any:
    """Return a validator that accepts a whole number from ``low`` to ``high``."""

    def validate(_form: Form, field: Any) -> None:
        typed = field.data or ""
        if not (
            typed.isascii() and typed.isdigit() and len(typed) <= _MAX_DIGITS and low <= int(typed) <= high
        ):
            raise ValidationError(f"Enter {what}: a whole number from {low:,} to {high:,}.")

    return validate


class FailureForm(PortalForm):
    """The failure policy: what happens to emails when the account's own server fails."""

    action = RadioField("When my own mail server fails", choices=_ACTIONS, validate_choice=False)
    after_minutes = text_field("After how many minutes", whole_number(1, 1440, "the minutes"), limit=6)

    def validate_action(self, field: Any) -> None:
        if field.data not in {choice.value for choice in _ACTIONS}:
            raise ValidationError("Choose what shall happen.")

    @property
    def chosen(self) -> tuple[OnFailure, int]:
        return OnFailure(self.action.data), int(self.after_minutes.data or 0)


def _limit(label: str, what: str) -> Any:
    return text_field(label, Optional(), whole_number(1, _MAX_LIMIT, what), limit=12)


class LimitsForm(PortalForm):
    """Sending limits per second, hour and day; an empty field means no limit."""

    per_second = _limit("Emails a second", "how many a second")
    per_hour = _limit("Emails an hour", "how many an hour")
    per_day = _limit("Emails a day", "how many a day")

    @property
    def chosen(self) -> tuple[int | None, int | None, int | None]:
        fields = (self.per_second, self.per_hour, self.per_day)
        second, hour, day = (int(field.data) if field.data else None for field in fields)
        return second, hour, day


class HeldMailForm(PortalForm):
    """The age above which held emails are discarded."""

    hours = RadioField(
        "Older than",
        choices=[SelectChoice(str(hours), label) for hours, label in AGES.items()],
        validate_choice=False,
    )

    def validate_hours(self, field: Any) -> None:
        if parse_age(field.data) is None:
            raise ValidationError("Choose how old is too old.")


def parse_age(typed: str | None) -> int | None:
    """Return the typed age in hours if it is one of ``AGES``, otherwise None."""
    return int(typed) if typed in {str(hours) for hours in AGES} else None
