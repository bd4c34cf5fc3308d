"""The forms of the log."""

from __future__ import annotations

from wtforms import IntegerField
from wtforms.validators import InputRequired, NumberRange, ValidationError

from ..web.fields import PortalForm
from .retention import LEAST, MOST, Keeping

_RANGE = f"Choose a whole number of days from {LEAST} to {MOST:,}."


class _Days(IntegerField):
    """A number of days; what is no number is refused in our words."""

    def process_formdata(self, valuelist: list[str]) -> None:
        try:
            super().process_formdata(valuelist)
        except ValueError:
            raise ValueError(_RANGE) from None


class KeepingForm(PortalForm):
    """How long messages are kept."""

    body_days = _Days(
        "Keep what emails say for",
        [InputRequired(_RANGE), NumberRange(LEAST, MOST, _RANGE)],
        description="Then their text and the conversations with servers are removed.",
    )
    row_days = _Days(
        "Keep the log itself for",
        [InputRequired(_RANGE), NumberRange(LEAST, MOST, _RANGE)],
        description="Then an email disappears from the log altogether.",
    )

    def validate_row_days(self, field: IntegerField) -> None:
        if self.body_days.data and field.data and field.data < self.body_days.data:
            raise ValidationError("The log is kept at least as long as what emails say.")

    def chosen(self) -> Keeping:
        return Keeping(self.body_days.data or LEAST, self.row_days.data or LEAST)
