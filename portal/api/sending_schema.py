"""The schema of the sending status in the OpenAPI document."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..arrival.models import FromOutcome
from ..domains.models import DomainStatus
from ..status.model import Code, Through, Tone

if TYPE_CHECKING:
    from enum import StrEnum

    from .schemas import Schema

_TEXT: Schema = {"type": "string"}
_TIMESTAMP: Schema = {"type": "string", "format": "date-time"}
_CODE: Schema = {"$ref": "#/components/schemas/SendingCode"}


def sending_schemas() -> dict[str, Schema]:
    """Return the components of the sending status, ``SendingStatus.as_dict`` of the room ``status``."""
    return {
        "SendingCode": _one_of(Code),
        "SendingItem": _object({"code": _CODE, "sentence": _TEXT, "tone": _one_of(Tone)}),
        "Sending": _object(
            {
                "code": {
                    **_CODE,
                    "description": "That of the first entry of `missing`, or `own-domain`. New codes may be added.",
                },
                "sentence": _TEXT,
                "tone": _one_of(Tone),
                "seal": {"type": "boolean", "description": "Connection, From as received and domain agree."},
                "through": _one_of(Through),
                "sender": _nullable(_TEXT),
                "reply_to": _nullable(_TEXT),
                "server": _nullable(_TEXT),
                "version": _nullable({"type": "integer", "minimum": 1}),
                "waiting": {"type": "integer", "minimum": 0},
                "more_waiting": {"type": "boolean", "description": "More emails wait than `waiting` counts."},
                "connection_proved_at": _nullable(_TIMESTAMP),
                "test_email_received_at": _nullable(_TIMESTAMP),
                "from_received": _nullable(_one_of(FromOutcome)),
                "domain": _nullable(_one_of(DomainStatus)),
                "domain_checked_at": _nullable(_TIMESTAMP),
                "missing": {"type": "array", "items": {"$ref": "#/components/schemas/SendingItem"}},
            }
        ),
    }


def _object(members: dict[str, Schema]) -> Schema:
    return {
        "type": "object",
        "properties": members,
        "required": list(members),
        "additionalProperties": False,
    }


def _one_of(kind: type[StrEnum]) -> Schema:
    return {"type": "string", "enum": [one.value for one in kind]}


def _nullable(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}
