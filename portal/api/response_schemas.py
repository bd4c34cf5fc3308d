"""The components of the OpenAPI document that describe responses."""

from __future__ import annotations

from typing import Any

from ..bounces.meaning import Meaning
from ..events.models import EmailDecision
from ..events.types import EventType, Source
from ..money.models import CommissionState
from ..outbox.models import Outcome, Status
from .schemas import SHAPES, Schema

_STATUS_MEANINGS = {
    Status.QUEUED: "waits to be sent",
    Status.SENDING: "is being handed over",
    Status.SENT: "was accepted by the submission server; what becomes of it there is out of sight",
    Status.FAILED: "was refused for good, or given up",
    Status.HELD: "waits until the owner’s settings work again",
    Status.SUPPRESSED: "is not sent to this mailbox",
    Status.CANCELLED: "was called off",
}
_DECISION_MEANINGS = {
    EmailDecision.OFF: "the owner switched this email off",
    EmailDecision.OPTED_OUT: "the affiliate does not want this kind",
    EmailDecision.SUPPRESSED: "this mailbox is not written to",
    EmailDecision.NOT_CONFIRMED: "the affiliate has not confirmed the mailbox",
    EmailDecision.DUPLICATE: "it is owed already",
    EmailDecision.IN_DIGEST: "the recipient gets many emails at present, so this one leaves later, together with others",
    EmailDecision.SUSPENDED: "the affiliate is suspended",
    EmailDecision.NOT_APPROVED: "the account is not approved yet, and the affiliate has not confirmed the mailbox",
    EmailDecision.NO_ADDRESS: "the account has no postal address, which such an email needs",
    EmailDecision.NOT_ACTIVE: "the affiliate waits for approval, was declined, or was invited and has not joined",
    EmailDecision.UNRENDERABLE: "the owner’s text for it cannot be used",
    EmailDecision.NOTHING_TO_TELL: "there was nothing to tell",
    EmailDecision.SAME_ORDER: "the order was reported before, or for another affiliate; it counts once until the owner decides",
    EmailDecision.NO_CHANGE: "it changed nothing, as a second approval of one commission",
    EmailDecision.TOO_OLD: "it happened more than 30 days ago, and the request does not set `notify`",
}
# What was reported of a message after a server had accepted it; null until then.
_OUTCOME_MEANINGS = {
    Meaning.DELIVERED: "the receiver's server accepted it",
    Meaning.DELAYED: "it is tried again",
    Meaning.SOFT: "given up, such as for a full mailbox",
    Meaning.BLOCKED: "refused by policy, reputation or content",
    Meaning.HARD: "there is no such mailbox",
    Meaning.COMPLAINT: "its recipient called it spam",
}


def ref(name: str, kind: str = "schemas") -> Schema:
    """Return the reference to a component."""
    return {"$ref": f"#/components/{kind}/{name}"}


def object_of(*optional: str, **members: Schema) -> Schema:
    """Return the schema of an object with these members, all required but the ``optional`` ones."""
    return {
        "type": "object",
        "properties": members,
        "required": [name for name in members if name not in optional],
        "additionalProperties": False,
    }


_TEXT: Schema = {"type": "string"}
_DECIMAL: Schema = {"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]+)?$"}
_NUMBER: Schema = {"type": "integer", "minimum": 1}
_TIMESTAMP: Schema = {"type": "string", "format": "date-time"}


def _nullable(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _enum(meanings: dict[Any, str]) -> Schema:
    return {
        "type": "string",
        "enum": [member.value for member in meanings],
        "description": "; ".join(f"`{member.value}`: {meaning}" for member, meaning in meanings.items())
        + ".",
    }


def response_schemas() -> dict[str, Schema]:
    """Return the components that describe responses."""
    return {
        "Status": _enum(_STATUS_MEANINGS),
        "Why": _enum(_DECISION_MEANINGS),
        "Mail": _mail(),
        "Caused": object_of(id=_NUMBER, event={"enum": list(SHAPES)}, mails=_array("Mail")),
        "Event": _event(),
        "Balances": _balances(),
        "Commissions": object_of(commissions=_array("Commission")),
        "Commission": _commission(),
        "Message": _message(),
        "Attempt": _attempt(),
    }


def _array(schema: str) -> Schema:
    return {"type": "array", "items": ref(schema)}


def _mail() -> Schema:
    return {
        "oneOf": [
            object_of(kind=_TEXT, recipient=_TEXT, message=_NUMBER, status=_nullable(ref("Status"))),
            object_of(kind=_TEXT, recipient=_TEXT, why=ref("Why")),
        ],
        "description": (
            "An email that is owed, with the id of its message (and no status once the log of it is cleared); "
            "or why there is none."
        ),
    }


def _event() -> Schema:
    return object_of(
        id=_NUMBER,
        event={"type": "string", "enum": [one.value.replace("-", "_") for one in EventType]},
        source={"type": "string", "enum": [one.value for one in Source]},
        affiliate=_nullable(object_of(code=_TEXT, link=_nullable(_TEXT))),
        data={"type": "object", "additionalProperties": _TEXT},
        created_at=_TIMESTAMP,
        mails=_array("Mail"),
    )


def _balances() -> Schema:
    one = object_of(
        currency=_TEXT,
        pending=_DECIMAL | {"description": "Waits for approval."},
        approved=_DECIMAL | {"description": "Is approved and not paid yet, with corrections."},
        paid=_DECIMAL | {"description": "Was paid out."},
    )
    return object_of(affiliate=object_of(code=_TEXT), balances={"type": "array", "items": one})


def _commission() -> Schema:
    return object_of(
        order=_TEXT,
        affiliate=object_of(code=_TEXT),
        state={"type": "string", "enum": [one.value for one in CommissionState]},
        currency=_TEXT,
        amount=_DECIMAL,
        commission=_DECIMAL,
        refunded=_DECIMAL,
        left=_DECIMAL | {"description": "What counts, after refunds and declines."},
        paid=_DECIMAL | {"description": "By payouts that name the order."},
        reason=_TEXT,
        occurred_at=_TIMESTAMP,
        decided_at=_nullable(_TIMESTAMP),
    )


def _message() -> Schema:
    return object_of(
        id=_NUMBER,
        event=_nullable(_NUMBER),
        kind=_TEXT,
        recipient=_TEXT,
        subject=_TEXT,
        status=ref("Status"),
        outcome=_nullable(_enum(_OUTCOME_MEANINGS)),
        explanation=_TEXT,
        created_at=_TIMESTAMP,
        settled_at=_nullable(_TIMESTAMP),
        attempts=_array("Attempt"),
    )


def _attempt() -> Schema:
    return object_of(
        number=_NUMBER,
        outcome={"type": "string", "enum": [one.value for one in Outcome]},
        started_at=_TIMESTAMP,
        ended_at=_nullable(_TIMESTAMP),
        server=_TEXT,
        stage=_TEXT,
        reply_code=_nullable({"type": "integer"}),
        enhanced_code=_TEXT,
        reply={"type": "string", "description": "The server’s own words."},
        queue_id=_TEXT,
    )
