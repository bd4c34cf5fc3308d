"""The forms of an import: the file, and what its columns mean."""

from __future__ import annotations

from typing import Any

from flask_babel import lazy_gettext as _
from flask_wtf.file import FileField
from wtforms import BooleanField, HiddenField, RadioField, SelectField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import StopValidation, ValidationError

from ..accounts.tokens import new_token
from ..clock import utcnow
from ..web.fields import PortalForm, text_field
from .cells import read_date
from .columns import FIELD_LABELS, HOURS, Choices, ColumnField


class UploadForm(PortalForm):
    """The file."""

    file = FileField(
        _("CSV file"),
        description=_(
            "Up to 10,000 lines and 5 MB, with commas, semicolons or tabs, as your spreadsheet saves it."
        ),
    )
    key = HiddenField(default=new_token)

    def validate_file(self, field: Any) -> None:
        if not field.data or not field.data.filename:
            raise StopValidation(_("Choose a file."))

    def validate_key(self, field: Any) -> None:
        if not 20 <= len(field.data or "") <= 64 or not (field.data or "").isascii():
            field.data = new_token()
            raise ValidationError(_("The form was not complete. Send it again."))


class ChoicesForm(PortalForm):
    """What the columns mean, the consent, and the emails. A select for each field is added by ``for_columns``."""

    has_headings = BooleanField(_("The first line contains headings"))
    date_order = RadioField(
        _("Dates like 03/04/2026"),
        choices=[SelectChoice("day", _("The 3rd of April")), SelectChoice("month", _("The 4th of March"))],
        default="day",
    )
    consented_on = text_field(
        _("Date of the consent, if no column contains it"),
        limit=40,
        description=_(
            "Enter it only if all these people agreed to your emails. Otherwise leave it empty, and each "
            "person gets an email to confirm."
        ),
    )
    consent_source = text_field(
        _("Source of the consent, if no column contains it"),
        limit=200,
        description=_("Such as: sign-up form of our former affiliate system."),
    )
    welcome = BooleanField(
        _("Send the email New Sign-up to those who have agreed"),
        description=_(
            "It contains their new link and the address of their dashboard. It is sent through your own "
            "server only."
        ),
    )
    hours = SelectField(
        _("Spread the emails over"),
        choices=[SelectChoice(str(hours), _("%(number)s hours", number=hours)) for hours in HOURS],
        default="8",
    )

    def validate_consented_on(self, field: Any) -> None:
        month_first = self.date_order.data == "month"
        if field.data and read_date(field.data, utcnow(), month_first=month_first) is None:
            raise ValidationError(_("Enter a day up to today, such as 2026-03-31."))

    def validate_consent_source(self, field: Any) -> None:
        if self.consented_on.data and not field.data:
            raise ValidationError(_("Enter where they agreed."))

    @property
    def columns(self) -> list[Any]:
        """The selects, in order."""
        return [self[_name(one)] for one in ColumnField]

    def choices(self) -> Choices:
        """Return what was chosen."""
        columns = {one.value: int(self[_name(one)].data) for one in ColumnField if self[_name(one)].data}
        return Choices(
            columns=columns,
            has_headings=bool(self.has_headings.data),
            month_first=self.date_order.data == "month",
            consented_on=self.consented_on.data or "",
            consent_source=self.consent_source.data or "",
            welcome=bool(self.welcome.data),
            hours=int(self.hours.data),
        )


def choices_form(headings: list[str], saved: Choices | None) -> ChoicesForm:
    """Return the form for a file with these headings; with ``saved`` choices, or as it was sent."""
    options = [SelectChoice("", _("No column"))]
    options += [
        SelectChoice(str(index), heading[:60] or _("Column %(number)s", number=index + 1))
        for index, heading in enumerate(headings)
    ]

    class _Form(ChoicesForm):
        def validate_column_mailbox(self, field: Any) -> None:
            if not field.data:
                raise ValidationError(_("Choose the column with the email addresses."))

    for one in ColumnField:
        setattr(_Form, _name(one), SelectField(FIELD_LABELS[one], choices=options, default=""))
    if saved is None:
        return _Form()
    data: dict[str, Any] = {
        "has_headings": saved.has_headings,
        "date_order": "month" if saved.month_first else "day",
        "consented_on": saved.consented_on,
        "consent_source": saved.consent_source,
        "welcome": saved.welcome,
        "hours": str(saved.hours),
    }
    data |= {_name(one): str(index) for one in ColumnField if (index := saved.column(one)) is not None}
    return _Form(formdata=None, data=data)


def _name(one: ColumnField) -> str:
    return f"column_{one.value}"
