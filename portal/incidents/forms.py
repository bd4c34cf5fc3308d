"""Forms: webhook address, failure policy, sending limits, and discarding held mail by age."""

from __future__ import annotations

from typing import Any

from flask_babel import gettext as _
from flask_babel import lazy_gettext
from wtforms import Form, RadioField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import Optional, ValidationError

from .. import http_client
from ..state import current_config
from ..web.fields import PortalForm, required, text_field
from ..web.translations import translated
from .held_mail import AGES
from .models import OnFailure

_ACTIONS = [
    SelectChoice(OnFailure.WAIT.value, lazy_gettext("Wait and try again")),
    SelectChoice(OnFailure.PLATFORM.value, lazy_gettext("Send through the platform after a while")),
    SelectChoice(OnFailure.STOP.value, lazy_gettext("Stop until I restart sending")),
]
_MAX_LIMIT = 10_000_000  # emails
_MAX_DIGITS = 11


class WebhookForm(PortalForm):
    """The address to which events are posted."""

    url = text_field(
        lazy_gettext("Address"),
        required(lazy_gettext("Enter an address such as https://example.com/signet.")),
        limit=500,
    )

    def validate_url(self, field: Any) -> None:
        try:
            http_client.parse_address(field.data or "", current_config().webhook_policy)
        except http_client.InvalidAddress as refused:
            raise ValidationError(translated(str(refused))) from None


def whole_number(low: int, high: int, what: str) -> Any:
    """Return a validator that accepts a whole number from ``low`` to ``high``."""

    def validate(_form: Form, field: Any) -> None:
        typed = field.data or ""
        if not (
            typed.isascii() and typed.isdigit() and len(typed) <= _MAX_DIGITS and low <= int(typed) <= high
        ):
            raise ValidationError(
                _(
                    "Enter %(what)s: a whole number from %(low)s to %(high)s.",
                    what=what,
                    low=f"{low:,}",
                    high=f"{high:,}",
                )
            )

    return validate


class FailureForm(PortalForm):
    """The failure policy: what happens to emails when the account's own server fails."""

    action = RadioField(
        lazy_gettext("When my own mail server fails"), choices=_ACTIONS, validate_choice=False
    )
    after_minutes = text_field(
        lazy_gettext("After how many minutes"), whole_number(1, 1440, lazy_gettext("the minutes")), limit=6
    )

    def validate_action(self, field: Any) -> None:
        if field.data not in {choice.value for choice in _ACTIONS}:
            raise ValidationError(_("Choose what to do."))

    @property
    def chosen(self) -> tuple[OnFailure, int]:
        return OnFailure(self.action.data), int(self.after_minutes.data or 0)


def _limit(label: str, what: str) -> Any:
    return text_field(label, Optional(), whole_number(1, _MAX_LIMIT, what), limit=12)


class LimitsForm(PortalForm):
    """Sending limits per second, hour and day; an empty field means no limit."""

    per_second = _limit(lazy_gettext("Emails a second"), lazy_gettext("how many a second"))
    per_hour = _limit(lazy_gettext("Emails an hour"), lazy_gettext("how many an hour"))
    per_day = _limit(lazy_gettext("Emails a day"), lazy_gettext("how many a day"))

    @property
    def chosen(self) -> tuple[int | None, int | None, int | None]:
        fields = (self.per_second, self.per_hour, self.per_day)
        second, hour, day = (int(field.data) if field.data else None for field in fields)
        return second, hour, day


AGE_LABELS = {
    1: lazy_gettext("1 hour"),
    6: lazy_gettext("6 hours"),
    24: lazy_gettext("1 day"),
    72: lazy_gettext("3 days"),
    168: lazy_gettext("7 days"),
}


class HeldMailForm(PortalForm):
    """The age above which held emails are discarded."""

    hours = RadioField(
        lazy_gettext("Older than"),
        choices=[SelectChoice(str(hours), AGE_LABELS[hours]) for hours in AGES],
        validate_choice=False,
    )

    def validate_hours(self, field: Any) -> None:
        if parse_age(field.data) is None:
            raise ValidationError(_("Choose an age."))


def parse_age(typed: str | None) -> int | None:
    """Return the typed age in hours if it is one of ``AGES``, otherwise None."""
    return int(typed) if typed in {str(hours) for hours in AGES} else None
