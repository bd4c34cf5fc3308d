"""Validates events by the JSON Schemas of the OpenAPI document."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from ..clock import utcnow
from ..events.types import MAX_AHEAD
from ..smtp.protocol.reply import plain_text
from .affiliates.document import affiliate_request_schemas
from .problems import FieldError, Problem, ProblemKind
from .schemas import SHAPES, EventShape, schemas
from .settings.document import settings_request_schemas

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from jsonschema import ValidationError
    from jsonschema.protocols import Validator

AHEAD = "This is more than an hour ahead of the portal's clock. Give the time in UTC (Z), or with the offset of your time zone."


@dataclass(frozen=True)
class ValidEvent:
    """A valid event. ``values`` are the variables of its notices, all of them text."""

    shape: EventShape
    code: str  # of the affiliate; exactly one of these three
    mailbox: str
    external_id: str
    values: Mapping[str, str]
    occurred_at: datetime
    notify: bool  # also if it happened long ago


def validate(body: Any) -> ValidEvent:
    """Return the event in a request body. Raises Problem with an error for each invalid field."""
    if not isinstance(body, dict):
        raise invalid([FieldError("#", 'An event is an object: {"event": …, "affiliate": …, "data": …}.')])
    event = body.get("event")
    shape = SHAPES.get(event) if isinstance(event, str) else None
    if shape is None:
        raise invalid([FieldError("#/event", f"Say what happened: one of {', '.join(SHAPES)}.")])
    errors = _errors(shape.component, body)
    if errors:
        raise invalid(errors)
    occurred_at = instant(body["occurred_at"]) if "occurred_at" in body else utcnow()
    if occurred_at > utcnow() + MAX_AHEAD:
        raise invalid([FieldError("#/occurred_at", AHEAD)])
    affiliate = body["affiliate"]
    return ValidEvent(
        shape,
        affiliate.get("code", ""),
        affiliate.get("email", ""),
        affiliate.get("external_id", ""),
        _values(shape, body),
        occurred_at,
        notify=body.get("notify", False),
    )


def find_errors(body: Any) -> Sequence[FieldError]:
    """Return the errors of an event."""
    try:
        validate(body)
    except Problem as problem:
        return problem.errors
    return ()


def invalid(errors: list[FieldError]) -> Problem:
    """Return the problem of a request with invalid fields."""
    count = "One field is" if len(errors) == 1 else f"{len(errors)} fields are"
    return Problem(ProblemKind.INVALID, f"{count} not as it should be. Nothing was stored.", errors)


def _values(shape: EventShape, body: Mapping[str, Any]) -> dict[str, str]:
    """Return the variables of the event type; an omitted one is empty."""
    values = {one.name: body["data"].get(one.name, "") for one in shape.fields}
    when = (
        {"occurred_at": f"{instant(body['occurred_at']):%Y-%m-%dT%H:%M:%SZ}"} if "occurred_at" in body else {}
    )
    return values | dict(shape.fixed) | when


def instant(text: str) -> datetime:
    """Return the time that a valid date-time names."""
    return datetime.fromisoformat(text.upper()).astimezone(UTC)


def validate_component(component: str, body: Any) -> None:
    """Check a body by one of the schemas. Raises Problem with an error for each invalid field."""
    errors = _errors(component, body)
    if errors:
        raise invalid(errors)


def _errors(component: str, body: Any) -> list[FieldError]:
    found: dict[str, FieldError] = {}
    for error in _validator(component).iter_errors(body):
        for one in _field_errors(error):
            found.setdefault(one.pointer, one)
    return sorted(found.values(), key=lambda one: one.pointer)


def _field_errors(error: ValidationError) -> Iterator[FieldError]:
    """Convert an error of the validator; each missing or unknown member gets an error of its own."""
    path = [str(part) for part in error.absolute_path]
    match error.validator:
        case "required":
            for name in error.validator_value:
                if name not in error.instance:
                    yield FieldError(_pointer([*path, name]), "This is missing.")
        case "additionalProperties":
            known = error.schema["properties"]
            for name in error.instance:
                if name not in known:
                    message = f"There is no such field; there are {', '.join(known)}."
                    yield FieldError(_pointer([*path, plain_text(name, 60)]), message)
        case "minProperties" | "maxProperties":
            yield FieldError(_pointer(path), str(error.schema["description"]))
        case "type":
            yield FieldError(_pointer(path), _wrong_type(error))
        case _:
            yield FieldError(
                _pointer(path), str(error.schema.get("description", "This is not as it should be."))
            )


def _wrong_type(error: ValidationError) -> str:
    if error.validator_value == "object":
        return "This has to be an object."
    if error.validator_value == "array":
        return "This has to be a list."
    if error.validator_value == "integer":
        return "This has to be a whole number, without quotes."
    if error.validator_value == "boolean":
        return "This has to be true or false, without quotes."
    sample = next(iter(error.schema.get("examples", ())), "")
    such = f', such as "{sample}"' if sample else ""
    # Many parsers read a JSON number as a binary fraction, which cannot represent 118.40 exactly.
    loss = "; a JSON number loses digits" if isinstance(error.instance, int | float) else ""
    return f"This has to be text in quotes{such}{loss}."


def _pointer(path: list[str]) -> str:
    return "#" + "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in path)


@cache
def _validator(component: str) -> Validator:
    # Imported at the first event: every process would start later, and only the portal validates events.
    from jsonschema import Draft202012Validator, FormatChecker
    from jsonschema.validators import extend

    formats = FormatChecker(formats=())
    formats.checks("date-time", raises=ValueError)(_is_timestamp)
    strict = extend(Draft202012Validator, {"pattern": _pattern})
    whole = {
        "$ref": f"#/components/schemas/{component}",
        "components": {"schemas": schemas() | affiliate_request_schemas() | settings_request_schemas()},
    }
    validator: Validator = strict(whole, format_checker=formats)
    return validator


def _pattern(_validator: Any, pattern: str, instance: Any, _schema: Any) -> Iterator[ValidationError]:
    """Match as JSON Schema defines it (ECMA-262): ``$`` is the end of the text; Python's also matches before a final newline."""
    from jsonschema import ValidationError

    if isinstance(instance, str) and not _compiled(pattern).search(instance):
        yield ValidationError("does not match")


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(f"{pattern[:-1]}\\Z" if pattern.endswith("$") else pattern)


def _is_timestamp(value: object) -> bool:
    """Return whether a value is an RFC 3339 date-time with an offset whose date exists in the calendar."""
    if not isinstance(value, str):
        return True
    if not re.fullmatch(r"[0-9-]{10}[Tt][0-9:]{8}(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})", value):
        return False
    return datetime.fromisoformat(value.upper()).tzinfo is not None
