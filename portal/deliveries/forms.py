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
        lazy_gettext("Keep what emails say for"),
        [InputRequired(_RANGE), NumberRange(MIN_DAYS, MAX_DAYS, _RANGE)],
        description=lazy_gettext("Then their text and the conversations with servers are removed."),
    )
    row_days = _Days(
        lazy_gettext("Keep the log itself for"),
        [InputRequired(_RANGE), NumberRange(MIN_DAYS, MAX_DAYS, _RANGE)],
        description=lazy_gettext("Then an email disappears from the log altogether."),
    )

    def validate_row_days(self, field: IntegerField) -> None:
        if self.body_days.data and field.data and field.data < self.body_days.data:
            raise ValidationError(_("The log is kept at least as long as what emails say."))

    def chosen(self) -> Retention:
        return Retention(self.body_days.data or MIN_DAYS, self.row_days.data or MIN_DAYS)
