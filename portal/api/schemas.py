"""The shapes of what a shop sends, as JSON Schema: the document serves them and the requests are judged by them.

Each ``description`` of a leaf is written so that it can stand beside a field that breaks it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..events.types import EVENT_LABELS, EventType
from .currencies import BY_DECIMALS, CODES

if TYPE_CHECKING:
    from collections.abc import Mapping

# What ends a line, is seen by nobody or turns text around: C0, C1, separators, bidirectional marks.
_TREACHEROUS = r"\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff"
_ONE_LINE = rf"^[^\s{_TREACHEROUS}][^{_TREACHEROUS}]*$"
_MAILBOX = r"^[^\s@\u0000-\u0020\u007f-\u009f<>]{1,64}@[^\s@\u0000-\u0020\u007f-\u009f<>]{1,185}$"

Schema = dict[str, Any]


@dataclass(frozen=True)
class Field:
    """A member of ``data``. ``sample`` is what the documentation and the form for trying it show."""

    name: str
    label: str
    sample: str
    schema: Schema
    required: bool = True


@dataclass(frozen=True)
class EventShape:
    """An event a shop can send. ``fixed`` are values that follow from its kind."""

    event: str
    occasion: EventType
    title: str
    when: str
    fields: tuple[Field, ...]
    fixed: Mapping[str, str]

    @property
    def component(self) -> str:
        """The name of its schema: PurchaseEvent."""
        return "".join(word.capitalize() for word in self.event.split("_")) + "Event"


def _line(limit: int, what: str, example: str) -> Schema:
    return {
        "type": "string",
        "minLength": 1,
        "maxLength": limit,
        "pattern": _ONE_LINE,
        "description": f"{what}. Write one line of 1 to {limit} characters that begins with a visible one.",
        "examples": [example],
    }


def _amount(what: str, example: str) -> Schema:
    return {
        "type": "string",
        "maxLength": 18,
        "pattern": r"^-?[0-9]{1,12}(\.[0-9]{1,4})?$",
        "description": f"{what}. Write digits, a dot and no more decimals than the currency has, such as {example}.",
        "examples": [example],
    }


_ORDER = Field("order", "Order", "A-1042", _line(64, "The order’s number", "A-1042"))
_COMMISSION = Field("commission", "Commission", "12.25", _amount("What the affiliate earns", "12.25"))
_CURRENCY = Field(
    "currency",
    "Currency",
    "EUR",
    {
        "type": "string",
        "enum": list(CODES),
        "description": "The currency. Write its code of ISO 4217 in capital letters, such as EUR.",
        "examples": ["EUR"],
    },
)


def _reason(example: str) -> Field:
    return Field("reason", "Reason", example, _line(300, "The reason", example), required=False)


def _shape(occasion: EventType, when: str, *fields: Field, **fixed: str) -> EventShape:
    return EventShape(occasion.value.replace("-", "_"), occasion, EVENT_LABELS[occasion], when, fields, fixed)


_ALL = (
    _shape(
        EventType.LEAD,
        "Somebody came through the affiliate’s link and left their details.",
        Field(
            "lead_name",
            "Name of the lead",
            "Robin Vale",
            _line(100, "The lead’s name", "Robin Vale"),
            required=False,
        ),
        Field(
            "lead_email",
            "Email address of the lead",
            "robin@vale.example",
            {
                "type": "string",
                "maxLength": 254,
                "pattern": _MAILBOX,
                "description": "An email address, such as robin@vale.example. Leave it out unless the affiliate may see it.",
                "examples": ["robin@vale.example"],
            },
            required=False,
        ),
    ),
    _shape(
        EventType.PURCHASE,
        "Somebody bought something through the affiliate’s link.",
        _ORDER,
        Field("amount", "Amount", "49.00", _amount("What was paid", "49.00")),
        _CURRENCY,
        _COMMISSION,
        Field(
            "product", "Product", "Herb garden", _line(200, "What was bought", "Herb garden"), required=False
        ),
    ),
    _shape(
        EventType.COMMISSION_APPROVED,
        "The commission for an order is certain now.",
        _ORDER,
        _COMMISSION,
        _CURRENCY,
    ),
    _shape(
        EventType.COMMISSION_DECLINED,
        "The affiliate gets no commission for an order.",
        _ORDER,
        _COMMISSION,
        _CURRENCY,
        _reason("The order was cancelled"),
        outcome="declined",
    ),
    _shape(
        EventType.REFUND,
        "The buyer got the money back, and the commission is taken back with it.",
        _ORDER,
        _COMMISSION,
        _CURRENCY,
        _reason("The goods were returned"),
        outcome="refunded",
    ),
    _shape(
        EventType.PAYOUT,
        "The affiliate was paid.",
        Field("amount", "Amount", "118.40", _amount("What was paid out", "118.40")),
        _CURRENCY,
        Field(
            "method", "Method", "Bank transfer", _line(60, "How it was paid", "Bank transfer"), required=False
        ),
        Field(
            "reference",
            "Reference",
            "PAY-2026-11",
            _line(100, "What the bank shows", "PAY-2026-11"),
            required=False,
        ),
        Field(
            "period",
            "Period",
            "October 2026",
            _line(60, "What it was paid for", "October 2026"),
            required=False,
        ),
    ),
)
SHAPES: Mapping[str, EventShape] = {shape.event: shape for shape in _ALL}
BY_OCCASION: Mapping[EventType, EventShape] = {shape.occasion: shape for shape in _ALL}


def schemas() -> dict[str, Schema]:
    """Return the components that describe requests."""
    affiliate: Schema = {
        "type": "object",
        "description": "Whom it is about: exactly one of code and email.",
        "properties": {
            "code": {
                "type": "string",
                "pattern": "^[A-Za-z0-9_-]{1,32}$",
                "description": "The code in the affiliate’s link: letters, digits, - and _.",
                "examples": ["GRACE42K"],
            },
            "email": {
                "type": "string",
                "maxLength": 254,
                "pattern": _MAILBOX,
                "description": "The email address the affiliate signed up with.",
                "examples": ["grace@hopper.example"],
            },
        },
        "minProperties": 1,
        "maxProperties": 1,
        "additionalProperties": False,
    }
    occurred_at: Schema = {
        "type": "string",
        "format": "date-time",
        "pattern": r"^20[0-9]{2}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-5][0-9]",
        "description": "When it happened, as RFC 3339 writes it, such as 2026-11-03T09:12:00Z.",
        "examples": ["2026-11-03T09:12:00Z"],
    }
    events = {shape.component: _event(shape) for shape in _ALL}
    return {"AffiliateReference": affiliate, "OccurredAt": occurred_at} | events


def _event(shape: EventShape) -> Schema:
    reference = "#/components/schemas/"
    return {
        "type": "object",
        "title": shape.title,
        "description": shape.when,
        "properties": {
            "event": {"const": shape.event, "type": "string"},
            "affiliate": {"$ref": f"{reference}AffiliateReference"},
            "occurred_at": {"$ref": f"{reference}OccurredAt"},
            "data": _data(shape),
        },
        "required": ["event", "affiliate", "data"],
        "additionalProperties": False,
    }


def _data(shape: EventShape) -> Schema:
    fields = shape.fields
    money = [one.name for one in fields if one.name in {"amount", "commission"}]
    schema: Schema = {
        "type": "object",
        "properties": {one.name: one.schema for one in fields},
        "required": [one.name for one in fields if one.required],
        "additionalProperties": False,
        "examples": [{one.name: one.sample for one in fields}],
    }
    return schema | ({"allOf": [_decimals(money, count) for count in (0, 2, 3)]} if money else {})


def _decimals(money: list[str], count: int) -> Schema:
    """An amount has no more decimals than its currency."""
    codes = list(BY_DECIMALS[count])
    pattern, say = (
        (rf"^-?[0-9]+(\.[0-9]{{1,{count}}})?$", f"at most {count} decimals")
        if count
        else ("^-?[0-9]+$", "no decimals")
    )
    rule = {"pattern": pattern, "description": f"This currency has {say}."}
    return {
        "if": {"properties": {"currency": {"enum": codes}}, "required": ["currency"]},
        "then": {"properties": dict.fromkeys(money, rule)},
    }
