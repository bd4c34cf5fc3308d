"""JSON Schemas of the events that a shop can send. The OpenAPI document contains them and requests are validated by them.

The ``description`` of each leaf is also the error message of a field that violates it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..amounts import BY_DECIMALS, CODES
from ..events.types import EVENT_LABELS, OLD_AFTER, EventType

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flask_babel.speaklater import LazyString

# Characters that end a line, are invisible or reorder text: C0, C1, separators, bidirectional marks.
_INVISIBLE = r"\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff"
ORDER_PATTERN = _ONE_LINE = rf"^[^\s{_INVISIBLE}][^{_INVISIBLE}]*$"
MAILBOX_PATTERN = r"^[^\s@\u0000-\u0020\u007f-\u009f<>]{1,64}@[^\s@\u0000-\u0020\u007f-\u009f<>]{1,185}$"

Schema = dict[str, Any]


@dataclass(frozen=True)
class EventField:
    """A member of ``data``. ``sample`` is the value shown in the reference and in the simulator."""

    name: str
    label: str
    sample: str
    schema: Schema
    required: bool = True


@dataclass(frozen=True)
class EventShape:
    """An event that a shop can send. ``fixed`` holds the values implied by its type."""

    event: str
    event_type: EventType
    title: LazyString  # translated where it is shown
    when: str
    fields: tuple[EventField, ...]
    fixed: Mapping[str, str]

    @property
    def component(self) -> str:
        """The name of its schema, such as PurchaseEvent."""
        return "".join(word.capitalize() for word in self.event.split("_")) + "Event"


def _text_schema(limit_chars: int, what: str, example: str) -> Schema:
    return {
        "type": "string",
        "minLength": 1,
        "maxLength": limit_chars,
        "pattern": _ONE_LINE,
        "description": f"{what}. Write one line of 1 to {limit_chars} characters that begins with a visible one.",
        "examples": [example],
    }


_ANY_AMOUNT = r"-?[0-9]{1,12}(\.[0-9]{1,4})?"
_FROM_ZERO = r"[0-9]{1,12}(\.[0-9]{1,4})?"
# A digit other than 0, before the dot or after it.
_ABOVE_ZERO = r"(0{0,11}[1-9][0-9]{0,11}(\.[0-9]{1,4})?|0{1,12}\.0{0,3}[1-9][0-9]{0,3})"


def _amount_schema(what: str, example: str, pattern: str = _ANY_AMOUNT, more: str = "") -> Schema:
    """Return the schema of an amount; ``more`` is a sentence about the amounts that ``pattern`` excludes."""
    form = f"Write digits, a dot and no more decimals than the currency has, such as {example}."
    return {
        "type": "string",
        "maxLength": 18,
        "pattern": f"^{pattern}$",
        "description": " ".join(filter(None, [f"{what}.", form, more])),
        "examples": [example],
    }


_ORDER = EventField("order", "Order", "A-1042", _text_schema(64, "The order’s number", "A-1042"))
_COMMISSION = EventField(
    "commission",
    "Commission",
    "12.25",
    _amount_schema(
        "What the affiliate earns", "12.25", _FROM_ZERO, "A correction takes money from the balance."
    ),
)
_CURRENCY = EventField(
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


def _reason_field(example: str) -> EventField:
    return EventField("reason", "Reason", example, _text_schema(300, "The reason", example), required=False)


def _shape(event_type: EventType, when: str, *fields: EventField, **fixed: str) -> EventShape:
    name = event_type.value.replace("-", "_")
    return EventShape(name, event_type, EVENT_LABELS[event_type], when, fields, fixed)


_ALL = (
    _shape(
        EventType.LEAD,
        "A visitor came through the affiliate’s link and left their details.",
        EventField(
            "lead_name",
            "Name of the lead",
            "Robin Vale",
            _text_schema(100, "The lead’s name", "Robin Vale"),
            required=False,
        ),
        EventField(
            "lead_email",
            "Email address of the lead",
            "robin@vale.example",
            {
                "type": "string",
                "maxLength": 254,
                "pattern": MAILBOX_PATTERN,
                "description": "An email address, such as robin@vale.example. Leave it out unless the affiliate may see it.",
                "examples": ["robin@vale.example"],
            },
            required=False,
        ),
    ),
    _shape(
        EventType.PURCHASE,
        "A customer bought something through the affiliate’s link.",
        _ORDER,
        EventField("amount", "Amount", "49.00", _amount_schema("What was paid", "49.00")),
        _CURRENCY,
        _COMMISSION,
        EventField(
            "product",
            "Product",
            "Herb garden",
            _text_schema(200, "What was bought", "Herb garden"),
            required=False,
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
        _reason_field("The order was cancelled"),
        outcome="declined",
    ),
    _shape(
        EventType.REFUND,
        "The buyer got money back, all or a part; the commission is what is taken back with it.",
        _ORDER,
        _COMMISSION,
        _CURRENCY,
        _reason_field("The goods were returned"),
        outcome="refunded",
    ),
    _shape(
        EventType.PAYOUT,
        "The affiliate was paid.",
        EventField(
            "amount",
            "Amount",
            "118.40",
            _amount_schema(
                "What was paid out",
                "118.40",
                _ABOVE_ZERO,
                "It is more than zero; a correction takes money back.",
            ),
        ),
        _CURRENCY,
        EventField(
            "order",
            "Order",
            "A-1042",
            _text_schema(64, "The order that it pays, if it pays one alone", "A-1042"),
            required=False,
        ),
        EventField(
            "method",
            "Method",
            "Bank transfer",
            _text_schema(60, "How it was paid", "Bank transfer"),
            required=False,
        ),
        EventField(
            "reference",
            "Reference",
            "PAY-2026-11",
            _text_schema(100, "What the bank shows", "PAY-2026-11"),
            required=False,
        ),
        EventField(
            "period",
            "Period",
            "October 2026",
            _text_schema(60, "What it was paid for", "October 2026"),
            required=False,
        ),
    ),
    _shape(
        EventType.CORRECTION,
        "The affiliate’s balance was put right, outside of any order: added to, or with a minus taken from.",
        EventField(
            "amount",
            "Amount",
            "-5.00",
            _amount_schema(
                "What is added", "-5.00", f"-?{_ABOVE_ZERO}", "A minus takes away; zero corrects nothing."
            ),
        ),
        _CURRENCY,
        _reason_field("A bonus was paid twice"),
    ),
)
SHAPES: Mapping[str, EventShape] = {shape.event: shape for shape in _ALL}
SHAPES_BY_TYPE: Mapping[EventType, EventShape] = {shape.event_type: shape for shape in _ALL}


def schemas() -> dict[str, Schema]:
    """Return the components that describe requests."""
    affiliate: Schema = {
        "type": "object",
        "description": "Whom it is about: name exactly one of code, external_id and email.",
        "properties": {
            "code": {
                "type": "string",
                "pattern": "^[A-Za-z0-9_-]{1,32}$",
                "description": "The code in the affiliate’s link: letters, digits, - and _.",
                "examples": ["GRACE42K"],
            },
            "external_id": {
                "type": "string",
                "minLength": 1,
                "maxLength": 100,
                "pattern": _ONE_LINE,
                "description": "Your own id of the affiliate: one line of 1 to 100 characters.",
                "examples": ["crm-7"],
            },
            "email": {
                "type": "string",
                "maxLength": 254,
                "pattern": MAILBOX_PATTERN,
                "description": "The affiliate’s email address.",
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
    notify: Schema = {
        "type": "boolean",
        "description": (
            f"Whether an event that is more than {OLD_AFTER.days} days old causes emails, too: true or false, without quotes."
        ),
    }
    events = {shape.component: _event_schema(shape) for shape in _ALL}
    return {"AffiliateReference": affiliate, "OccurredAt": occurred_at, "Notify": notify} | events


def _event_schema(shape: EventShape) -> Schema:
    reference = "#/components/schemas/"
    return {
        "type": "object",
        "title": str(shape.title),
        "description": shape.when,
        "properties": {
            "event": {"const": shape.event, "type": "string"},
            "affiliate": {"$ref": f"{reference}AffiliateReference"},
            "occurred_at": {"$ref": f"{reference}OccurredAt"},
            "notify": {"$ref": f"{reference}Notify"},
            "data": _data_schema(shape),
        },
        "required": ["event", "affiliate", "data"],
        "additionalProperties": False,
    }


def _data_schema(shape: EventShape) -> Schema:
    fields = shape.fields
    money = [one.name for one in fields if one.name in {"amount", "commission"}]
    schema: Schema = {
        "type": "object",
        "properties": {one.name: one.schema for one in fields},
        "required": [one.name for one in fields if one.required],
        "additionalProperties": False,
        "examples": [{one.name: one.sample for one in fields}],
    }
    return schema | ({"allOf": [_decimals_rule(money, count) for count in (0, 2, 3)]} if money else {})


def _decimals_rule(money: list[str], count: int) -> Schema:
    """Return the rule that amounts in currencies with ``count`` decimals have no more of them."""
    codes = list(BY_DECIMALS[count])
    pattern, limit = (
        (rf"^-?[0-9]+(\.[0-9]{{1,{count}}})?$", f"at most {count} decimals")
        if count
        else ("^-?[0-9]+$", "no decimals")
    )
    rule = {"pattern": pattern, "description": f"This currency has {limit}."}
    return {
        "if": {"properties": {"currency": {"enum": codes}}, "required": ["currency"]},
        "then": {"properties": dict.fromkeys(money, rule)},
    }
