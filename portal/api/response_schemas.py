"""The components of the OpenAPI document that describe responses."""

from __future__ import annotations

from ..bounces.meaning import Meaning
from ..events.models import EmailDecision
from ..events.types import EventType, Source
from ..money.models import CommissionState
from ..outbox.models import Outcome, Status
from .openapi_parts import DECIMAL, NUMBER, TEXT, TIMESTAMP, array_of, enum_of, nullable, object_of, ref
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
    EmailDecision.DUPLICATE: "it is queued already",
    EmailDecision.IN_DIGEST: "the recipient gets many emails at present, so this one leaves later, together with others",
    EmailDecision.SUSPENDED: "the affiliate is suspended",
    EmailDecision.NOT_APPROVED: "the account is not approved yet, and the affiliate has not confirmed the mailbox",
    EmailDecision.NO_ADDRESS: "the account has no postal address, which such an email needs",
    EmailDecision.NOT_ACTIVE: "the affiliate waits for approval, was declined, or was invited and has not joined",
    EmailDecision.UNRENDERABLE: "the owner’s text for it cannot be used",
    EmailDecision.NOTHING_TO_TELL: "there was nothing to report",
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
    Meaning.COMPLAINT: "its recipient reported it as spam",
}


def response_schemas() -> dict[str, Schema]:
    """Return the components that describe responses."""
    return {
        "Status": enum_of(_STATUS_MEANINGS),
        "Why": enum_of(_DECISION_MEANINGS),
        "Mail": _mail(),
        "Caused": object_of(id=NUMBER, event={"enum": list(SHAPES)}, mails=array_of("Mail")),
        "Results": object_of(results=array_of("Result")),
        "Result": {
            "oneOf": [
                object_of(status={"enum": [200, 201]}, result=ref("Caused")),
                object_of(status={"type": "integer", "minimum": 400}, problem=ref("Problem")),
            ]
        },
        "Event": _event(),
        "Balances": _balances(),
        "Commissions": object_of(commissions=array_of("Commission")),
        "Commission": _commission(),
        "Message": _message(),
        "Attempt": _attempt(),
    }


def _mail() -> Schema:
    return {
        "oneOf": [
            object_of(kind=TEXT, recipient=TEXT, message=NUMBER, status=nullable(ref("Status"))),
            object_of(kind=TEXT, recipient=TEXT, why=ref("Why")),
        ],
        "description": (
            "An email that was queued, with the id of its message (and no status once the log of it is cleared); "
            "or why there is none."
        ),
    }


def _event() -> Schema:
    return object_of(
        id=NUMBER,
        event={"type": "string", "enum": [one.value.replace("-", "_") for one in EventType]},
        source={"type": "string", "enum": [one.value for one in Source]},
        affiliate=nullable(object_of(code=TEXT, link=nullable(TEXT))),
        data={"type": "object", "additionalProperties": TEXT},
        created_at=TIMESTAMP,
        mails=array_of("Mail"),
    )


def _balances() -> Schema:
    one = object_of(
        currency=TEXT,
        pending=DECIMAL | {"description": "Waits for approval."},
        approved=DECIMAL | {"description": "Is approved and not paid yet, with corrections."},
        paid=DECIMAL | {"description": "Was paid out."},
    )
    return object_of(affiliate=object_of(code=TEXT), balances={"type": "array", "items": one})


def _commission() -> Schema:
    return object_of(
        order=TEXT,
        affiliate=object_of(code=TEXT),
        state={"type": "string", "enum": [one.value for one in CommissionState]},
        currency=TEXT,
        amount=DECIMAL,
        commission=DECIMAL,
        refunded=DECIMAL,
        left=DECIMAL | {"description": "What counts, after refunds and declines."},
        paid=DECIMAL | {"description": "By payouts that name the order."},
        reason=TEXT,
        occurred_at=TIMESTAMP,
        decided_at=nullable(TIMESTAMP),
    )


def _message() -> Schema:
    return object_of(
        id=NUMBER,
        event=nullable(NUMBER),
        kind=TEXT,
        recipient=TEXT,
        subject=TEXT,
        status=ref("Status"),
        outcome=nullable(enum_of(_OUTCOME_MEANINGS)),
        explanation=TEXT,
        created_at=TIMESTAMP,
        settled_at=nullable(TIMESTAMP),
        attempts=array_of("Attempt"),
    )


def _attempt() -> Schema:
    return object_of(
        number=NUMBER,
        outcome={"type": "string", "enum": [one.value for one in Outcome]},
        started_at=TIMESTAMP,
        ended_at=nullable(TIMESTAMP),
        server=TEXT,
        stage=TEXT,
        reply_code=nullable({"type": "integer"}),
        enhanced_code=TEXT,
        reply={"type": "string", "description": "The server’s own words."},
        queue_id=TEXT,
    )
