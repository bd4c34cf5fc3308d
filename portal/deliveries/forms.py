"""Forms of the delivery log."""

from __future__ import annotations

from flask_babel import gettext as _
from flask_babel import lazy_gettext
from wtforms import IntegerField
from wtforms.validators import InputRequired, NumberRange, ValidationError

from ..web.fields import PortalForm
from .retention import MAX_DAYS, MIN_DAYS, Retention

_RANGE = lazy_gettext(
    "Choose a whole number of days from %(min_days)s to %(max_days)s.",
    min_days=MIN_DAYS,
    max_days=f"{MAX_DAYS:,}",
)


class _Days(IntegerField):
    """A number of days, with the portal's message for a value that is no number."""

    def process_formdata(self, valuelist: list[str]) -> None:
        try:
            super().process_formdata(valuelist)
        except ValueError:
            raise ValueError(_RANGE) from None


class RetentionForm(PortalForm):
    """How long messages are kept."""

    body_days = _Days(
        lazy_gettext("Keep the content of emails for"),
        [InputRequired(_RANGE), NumberRange(MIN_DAYS, MAX_DAYS, _RANGE)],
        description=lazy_gettext("After that, Signet deletes their text and the exchanges with servers."),
    )
    row_days = _Days(
        lazy_gettext("Keep the delivery log for"),
        [InputRequired(_RANGE), NumberRange(MIN_DAYS, MAX_DAYS, _RANGE)],
        description=lazy_gettext("After that, Signet deletes an email from the log."),
    )

    def validate_row_days(self, field: IntegerField) -> None:
        if self.body_days.data and field.data and field.data < self.body_days.data:
            raise ValidationError(_("The log has to be kept at least as long as the content of emails."))

    def deletes_sooner(self, present: Retention) -> bool:
        """Return whether these values delete what the present ones still keep."""
        new = self.chosen()
        return new.body_days < present.body_days or new.row_days < present.row_days

    def chosen(self) -> Retention:
        return Retention(self.body_days.data or MIN_DAYS, self.row_days.data or MIN_DAYS)
