"""The forms: a new token, and an event to play, whose fields follow from its shape."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from wtforms import HiddenField, SelectField, StringField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import ValidationError

from ..accounts.tokens import new_token
from ..web.fields import PortalForm, at_most, one_line, required, stripped, text_field

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from .problems import FieldError
    from .schemas import EventShape, Field

_FORM_KEY = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)


class TokenForm(PortalForm):
    """A name for a new token. ``form_key`` is of this very form: sent twice, it makes one token."""

    name = text_field(
        "Name of the token",
        required("Enter a name, so that you know this token again."),
        limit=60,
        description="Say where it is used, for example “Shop, production”.",
    )
    form_key = HiddenField(default=new_token)

    def validate_form_key(self, field: Any) -> None:
        if not _FORM_KEY.fullmatch(field.data or ""):
            field.data = new_token()
            raise ValidationError("The form was not complete. Send it again.")


class PlayForm(PortalForm):
    """What every event needs; its own fields are added by ``play_form``."""

    find = StringField(
        "Find an affiliate",
        validators=[at_most(100), one_line],
        filters=[stripped],
        description="Part of a name, an email address or a code. Empty: the newest.",
    )
    affiliate = SelectField("Affiliate", choices=[], validate_choice=False)

    @property
    def own(self) -> list[Any]:
        """The fields of the event itself."""
        return [field for field in self if field.name.startswith("data-")]

    def body(self, shape: EventShape) -> dict[str, Any]:
        """Return the event as a shop would send it; what was left empty is left out."""
        data = {field.name.removeprefix("data-"): field.data for field in self.own if field.data}
        return {"event": shape.event, "affiliate": {"code": self.affiliate.data or ""}, "data": data}

    def show(self, errors: Iterable[FieldError]) -> None:
        """Put the refusal of each member beside its field."""
        for error in errors:
            parts = error.pointer.split("/")
            name = f"data-{parts[2]}" if parts[1:2] == ["data"] and len(parts) > 2 else "affiliate"
            field = self[name]
            if name == "affiliate":
                told = "Choose an affiliate."
            else:
                told = error.message if field.data else f"Enter a value for {field.label.text}."
            field.errors = [*field.errors, told]


def play_form(shape: EventShape, choices: Sequence[tuple[str, str]], **more: Any) -> PlayForm:
    """Build the form for an event."""
    fields = {f"data-{one.name}": _field(one) for one in shape.fields}
    form: PlayForm = type("PlayForm", (PlayForm,), fields)(**more)
    form.affiliate.choices = [SelectChoice(*one) for one in choices]
    return form


def samples(shape: EventShape, said: Mapping[str, Any], code: str) -> dict[str, Any]:
    """Return what the form holds before anybody types: what was played last, or samples."""
    values = {one.name: said.get(one.name, "") if said else one.sample for one in shape.fields}
    return {f"data-{name}": value for name, value in values.items()} | {"affiliate": code}


def _field(one: Field) -> Any:
    if "enum" in one.schema:
        choices = [SelectChoice(code, code) for code in one.schema["enum"]]
        return SelectField(one.label, choices=choices, validate_choice=False)
    return StringField(one.label, validators=[one_line], filters=[stripped])


def required_names(shape: EventShape) -> set[str]:
    """Return the names of the form's fields that may not be left empty."""
    return {f"data-{one.name}" for one in shape.fields if one.required}
