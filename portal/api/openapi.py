"""The OpenAPI document of the API. Requests are validated by the same schemas that it contains."""

from __future__ import annotations

from functools import cache
from typing import Any

from ..about import VERSION
from ..bounces.meaning import Meaning
from ..events.models import EmailDecision
from ..events.types import EventType, Source
from ..money.models import CommissionState
from ..outbox.models import Outcome, Status
from .problems import MEDIA_TYPE, PROBLEM_KINDS, ProblemKind
from .schemas import ORDER_PATTERN, SHAPES, Schema, schemas
from .sending_schema import sending_schemas

KEY_PATTERN = r'^(?:[A-Za-z0-9._:~+/=-]{1,100}|"[ !#-\[\]-~]{1,100}")$'
LARGEST_ID = 999_999_999_999
_DESCRIPTION = """
The shop tells Signet what happened; Signet sends the automated emails that the owner has switched on. Signet computes no
commission: it adds up what is reported, and subtracts refunds and declines.

Every request carries a token of the account, made on the page API: `Authorization: Bearer sig_…`. Cookies are ignored.
A token has one scope: `events` for events and messages, `sending` for the sending status.
Problems are `application/problem+json` (RFC 9457).
"""
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


@cache
def document(base_url: str) -> dict[str, Any]:
    """Return the document for the portal at this URL. It is cached: do not modify it."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "Signet", "version": VERSION, "description": _DESCRIPTION.strip()},
        "servers": [{"url": base_url}],
        "security": [{"token": []}],
        "paths": {
            "/api/v1/events": {"post": _post_event()},
            "/api/v1/events/{id}": {"get": _get("getEvent", "What an event caused", "Event")},
            "/api/v1/affiliates/{code}/balance": {
                "get": _get("getBalance", "What an affiliate gets", "Balances", "Code")
            },
            "/api/v1/commissions": {"get": _get_commissions()},
            "/api/v1/messages/{id}": {"get": _get("getMessage", "Where an email stands", "Message")},
            "/api/v1/sending": {"get": _get_sending()},
        },
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "parameters": {"Id": _ID, "Code": _CODE, "Order": _ORDER, "IdempotencyKey": _KEY},
            "schemas": schemas() | response_schemas() | sending_schemas() | {"Problem": _problem()},
        },
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


def _ref(name: str, kind: str = "schemas") -> Schema:
    return {"$ref": f"#/components/{kind}/{name}"}


_ID: dict[str, Any] = {
    "name": "id",
    "in": "path",
    "required": True,
    "schema": {"type": "integer", "minimum": 1, "maximum": LARGEST_ID},
}
_CODE: dict[str, Any] = {
    "name": "code",
    "in": "path",
    "required": True,
    "description": "The code in the affiliate’s link.",
    "schema": {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,32}$"},
}
_ORDER: dict[str, Any] = {
    "name": "order",
    "in": "query",
    "required": True,
    "schema": {"type": "string", "minLength": 1, "maxLength": 64, "pattern": ORDER_PATTERN},
    "example": "A-1042",
}
_KEY: dict[str, Any] = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": True,
    "description": (
        "Names this event, once in the account: whoever repeats a request with its key causes nothing twice and gets the "
        "first answer again. 1 to 100 characters, in quotes as draft-ietf-httpapi-idempotency-key-header has it, or without."
    ),
    "schema": {"type": "string", "pattern": KEY_PATTERN},
    "example": '"order-A-1042-paid"',
}


def _post_event() -> dict[str, Any]:
    mapping = {shape.event: f"#/components/schemas/{shape.component}" for shape in SHAPES.values()}
    body = {
        "oneOf": [_ref(shape.component) for shape in SHAPES.values()],
        "discriminator": {"propertyName": "event", "mapping": mapping},
    }
    problems = (
        ProblemKind.UNREADABLE,
        ProblemKind.TOKEN,
        ProblemKind.SCOPE,
        ProblemKind.NOT_FOUND,
        ProblemKind.TOO_LARGE,
        ProblemKind.CONTENT_TYPE,
        ProblemKind.INVALID,
        ProblemKind.TOO_MANY,
        ProblemKind.BUSY,
    )
    return {
        "operationId": "sendEvent",
        "summary": "Tell what happened",
        "parameters": [_ref("IdempotencyKey", "parameters")],
        "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
        "responses": {
            "201": _response("The event is written down, and its emails are owed.", "Caused")
            | {"links": _links()},
            "200": _response(
                "The same request came before; this is the answer it got.", "Caused", replayed=True
            ),
            **_problems(*problems),
        },
    }


def _links() -> dict[str, Any]:
    return {
        "event": {"operationId": "getEvent", "parameters": {"id": "$response.body#/id"}},
        "message": {"operationId": "getMessage", "parameters": {"id": "$response.body#/mails/0/message"}},
    }


def _get_commissions() -> dict[str, Any]:
    found = _get("listCommissions", "What an order earns", "Commissions", "Order")
    return found | {"responses": found["responses"] | _problems(ProblemKind.INVALID)}


def _get(operation: str, summary: str, schema: str, parameter: str = "Id") -> dict[str, Any]:
    return {
        "operationId": operation,
        "summary": summary,
        "parameters": [_ref(parameter, "parameters")],
        "responses": {
            "200": _response(f"{summary}.", schema),
            **_problems(
                ProblemKind.TOKEN,
                ProblemKind.SCOPE,
                ProblemKind.NOT_FOUND,
                ProblemKind.TOO_MANY,
                ProblemKind.BUSY,
            ),
        },
    }


def _get_sending() -> dict[str, Any]:
    summary = "Whether emails leave from the own domain"
    problems = (ProblemKind.TOKEN, ProblemKind.SCOPE, ProblemKind.TOO_MANY, ProblemKind.BUSY)
    return {
        "operationId": "getSending",
        "summary": summary,
        "responses": {"200": _response(f"{summary}.", "Sending"), **_problems(*problems)},
    }


def _response(description: str, schema: str, *, replayed: bool = False) -> dict[str, Any]:
    found: dict[str, Any] = {
        "description": description,
        "content": {"application/json": {"schema": _ref(schema)}},
    }
    if replayed:
        header = {"required": True, "schema": {"type": "string", "const": "true"}}
        found["headers"] = {"Idempotent-Replayed": header}
    return found


def _problems(*kinds: ProblemKind) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for kind in kinds:
        status, title, when = PROBLEM_KINDS[kind]
        found[str(status)] = {
            "description": f"{title}. {when}",
            "content": {MEDIA_TYPE: {"schema": _ref("Problem")}},
        }
        if status in {401, 403, 429}:
            name = "Retry-After" if status == 429 else "WWW-Authenticate"
            found[str(status)]["headers"] = {name: {"required": True, "schema": {"type": "string"}}}
    return found


def _problem() -> Schema:
    error = _object(pointer={"type": "string"}, message={"type": "string"})
    return {
        "type": "object",
        "description": "A refusal, as RFC 9457 has it.",
        "properties": {
            "type": {"type": "string", "format": "uri"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string"},
            "errors": {
                "type": "array",
                "items": error,
                "description": "Each field at fault, by its JSON pointer.",
            },
        },
        "required": ["type", "title", "status", "detail"],
        "additionalProperties": False,
    }


def _object(*optional: str, **members: Schema) -> Schema:
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
        "Caused": _object(id=_NUMBER, event={"enum": list(SHAPES)}, mails=_array("Mail")),
        "Event": _event(),
        "Balances": _balances(),
        "Commissions": _object(commissions=_array("Commission")),
        "Commission": _commission(),
        "Message": _message(),
        "Attempt": _attempt(),
    }


def _array(schema: str) -> Schema:
    return {"type": "array", "items": _ref(schema)}


def _mail() -> Schema:
    return {
        "oneOf": [
            _object(kind=_TEXT, recipient=_TEXT, message=_NUMBER, status=_nullable(_ref("Status"))),
            _object(kind=_TEXT, recipient=_TEXT, why=_ref("Why")),
        ],
        "description": (
            "An email that is owed, with the id of its message (and no status once the log of it is cleared); "
            "or why there is none."
        ),
    }


def _event() -> Schema:
    return _object(
        id=_NUMBER,
        event={"type": "string", "enum": [one.value.replace("-", "_") for one in EventType]},
        source={"type": "string", "enum": [one.value for one in Source]},
        affiliate=_nullable(_object(code=_TEXT, link=_nullable(_TEXT))),
        data={"type": "object", "additionalProperties": _TEXT},
        created_at=_TIMESTAMP,
        mails=_array("Mail"),
    )


def _balances() -> Schema:
    one = _object(
        currency=_TEXT,
        pending=_DECIMAL | {"description": "Waits for approval."},
        approved=_DECIMAL | {"description": "Is approved and not paid yet, with corrections."},
        paid=_DECIMAL | {"description": "Was paid out."},
    )
    return _object(affiliate=_object(code=_TEXT), balances={"type": "array", "items": one})


def _commission() -> Schema:
    return _object(
        order=_TEXT,
        affiliate=_object(code=_TEXT),
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
    return _object(
        id=_NUMBER,
        event=_nullable(_NUMBER),
        kind=_TEXT,
        recipient=_TEXT,
        subject=_TEXT,
        status=_ref("Status"),
        outcome=_nullable(_enum(_OUTCOME_MEANINGS)),
        explanation=_TEXT,
        created_at=_TIMESTAMP,
        settled_at=_nullable(_TIMESTAMP),
        attempts=_array("Attempt"),
    )


def _attempt() -> Schema:
    return _object(
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
