"""Forms: a new token, and a simulated event, whose fields are derived from the event's shape."""

from __future__ import annotations

import re
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

from flask_babel import gettext as _
from flask_babel import lazy_gettext
from wtforms import DateField, HiddenField, SelectField, StringField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import Optional, ValidationError

from ..accounts.tokens import new_token
from ..clock import utcnow
from ..web.fields import PortalForm, max_length, one_line, required, stripped, text_field
from ..web.translations import translated
from .models import TokenScope

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from .problems import FieldError
    from .schemas import EventField, EventShape

_MAX_LIFETIME = timedelta(days=3653)  # ten years
_FORM_KEY = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)


class TokenForm(PortalForm):
    """A new token. ``form_key`` identifies the rendered form, so that submitting it twice creates one token."""

    name = text_field(
        lazy_gettext("Name of the token"),
        required(lazy_gettext("Enter a name, so that you recognise this token later.")),
        limit=60,
        description=lazy_gettext("Name the place where you use it, for example “Shop, production”."),
    )
    scope = SelectField(
        lazy_gettext("What it may do"),
        choices=[
            SelectChoice(TokenScope.EVENTS.value, lazy_gettext("Report events and read their emails")),
            SelectChoice(TokenScope.SENDING.value, lazy_gettext("Read the sending status")),
            SelectChoice(TokenScope.AFFILIATES.value, lazy_gettext("Add, read, change and erase affiliates")),
            SelectChoice(
                TokenScope.SETTINGS.value, lazy_gettext("Save drafts of the SMTP settings and check them")
            ),
        ],
        default=TokenScope.EVENTS.value,
    )
    ends_on = DateField(
        lazy_gettext("End date"),
        validators=[Optional()],
        format=["%Y-%m-%d"],
        description=lazy_gettext(
            "The last day on which it works, in UTC. If you leave it empty, it works until you revoke it."
        ),
    )
    form_key = HiddenField(default=new_token)

    @property
    def expires_at(self) -> datetime | None:
        """The end of the last day, or None."""
        last = self.ends_on.data
        return datetime.combine(last, time(), UTC) + timedelta(days=1) if last else None

    def validate_ends_on(self, field: Any) -> None:
        today = utcnow().date()
        if field.data and field.data < today:
            raise ValidationError(str(lazy_gettext("This day is in the past. Enter today or a later day.")))
        if field.data and field.data > today + _MAX_LIFETIME:
            raise ValidationError(str(lazy_gettext("Enter a day within ten years, or leave this empty.")))

    def validate_form_key(self, field: Any) -> None:
        if not _FORM_KEY.fullmatch(field.data or ""):
            field.data = new_token()
            raise ValidationError(_("The form was not complete. Send it again."))


class SimulationForm(PortalForm):
    """The fields of every event; ``simulation_form`` adds those of the event's data."""

    find = StringField(
        lazy_gettext("Find an affiliate"),
        validators=[max_length(100), one_line],
        filters=[stripped],
        description=lazy_gettext(
            "Part of a name, an email address or a code. Leave it empty to see the newest."
        ),
    )
    affiliate = SelectField(lazy_gettext("Affiliate"), choices=[], validate_choice=False)

    @property
    def data_fields(self) -> list[Any]:
        """The fields of the event's data."""
        return [field for field in self if field.name.startswith("data-")]

    def body(self, shape: EventShape) -> dict[str, Any]:
        """Return the event as a shop would send it, without the fields left empty."""
        data = {field.name.removeprefix("data-"): field.data for field in self.data_fields if field.data}
        return {"event": shape.event, "affiliate": {"code": self.affiliate.data or ""}, "data": data}

    def add_errors(self, errors: Iterable[FieldError]) -> None:
        """Add each error of the event to the field it is about."""
        for error in errors:
            parts = error.pointer.split("/")
            name = f"data-{parts[2]}" if parts[1:2] == ["data"] and len(parts) > 2 else "affiliate"
            field = self[name]
            if name == "affiliate":
                message = _("Choose an affiliate.")
            else:
                message = (
                    error.message if field.data else _("Enter a value for %(text)s.", text=field.label.text)
                )
            field.errors = [*field.errors, message]


def simulation_form(shape: EventShape, choices: Sequence[tuple[str, str]], **more: Any) -> SimulationForm:
    """Build the form of an event."""
    fields = {f"data-{one.name}": _field(one) for one in shape.fields}
    form: SimulationForm = type("PlayForm", (SimulationForm,), fields)(**more)
    form.affiliate.choices = [SelectChoice(*one) for one in choices]
    return form


def initial_values(shape: EventShape, last_values: Mapping[str, Any], code: str) -> dict[str, Any]:
    """Return the initial values of the form: those of the last simulated event, or samples."""
    values = {one.name: last_values.get(one.name, "") if last_values else one.sample for one in shape.fields}
    return {f"data-{name}": value for name, value in values.items()} | {"affiliate": code}


def _field(one: EventField) -> Any:
    if "enum" in one.schema:
        choices = [SelectChoice(code, code) for code in one.schema["enum"]]
        return SelectField(translated(one.label), choices=choices, validate_choice=False)
    return StringField(translated(one.label), validators=[one_line], filters=[stripped])


def required_names(shape: EventShape) -> set[str]:
    """Return the names of the required fields of the form."""
    return {f"data-{one.name}" for one in shape.fields if one.required}
