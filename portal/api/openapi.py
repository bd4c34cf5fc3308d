"""The OpenAPI document of the API. Requests are validated by the same schemas that it contains."""

from __future__ import annotations

from functools import cache
from typing import Any

from ..about import VERSION
from .affiliates.document import (
    affiliate_parameters,
    affiliate_paths,
    affiliate_request_schemas,
    affiliate_response_schemas,
)
from .event_batches import MAX_EVENTS
from .openapi_parts import KEY_PATTERN, object_of, problem_responses, ref, response
from .problems import ProblemKind
from .response_schemas import response_schemas
from .schemas import ORDER_PATTERN, SHAPES, Schema, schemas
from .sending_schema import sending_schemas
from .settings.document import (
    settings_parameters,
    settings_paths,
    settings_request_schemas,
    settings_response_schemas,
)

LARGEST_ID = 999_999_999_999
_DESCRIPTION = """
The shop reports events; Signet sends the automated emails that the owner has switched on. Signet computes no
commission: it adds up what is reported, and subtracts refunds and declines.

Every request carries a token of the account, made on the page API: `Authorization: Bearer sig_…`. Cookies are ignored.
A token has one scope: `events` for events and messages, `sending` for the sending status, `affiliates` for affiliates,
`settings` for drafts of the SMTP settings and the sending status.
Problems are `application/problem+json` (RFC 9457).
"""


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
            "/api/v1/events/batch": {"post": _post_batch()},
            **affiliate_paths(),
            **settings_paths(),
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
            "parameters": {"Id": _ID, "Code": _CODE, "Order": _ORDER, "IdempotencyKey": _KEY}
            | affiliate_parameters()
            | settings_parameters(),
            "schemas": schemas()
            | affiliate_request_schemas()
            | affiliate_response_schemas()
            | settings_request_schemas()
            | settings_response_schemas()
            | response_schemas()
            | sending_schemas()
            | {"Problem": _problem()},
        },
    }


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
        "Names this event, once in the account: a repeated request with the same key causes nothing twice and gets the "
        "first answer again. 1 to 100 characters, in quotes as draft-ietf-httpapi-idempotency-key-header has it, or without."
    ),
    "schema": {"type": "string", "pattern": KEY_PATTERN},
    "example": '"order-A-1042-paid"',
}


def _post_event() -> dict[str, Any]:
    mapping = {shape.event: f"#/components/schemas/{shape.component}" for shape in SHAPES.values()}
    body = {
        "oneOf": [ref(shape.component) for shape in SHAPES.values()],
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
        "summary": "Record an event",
        "parameters": [ref("IdempotencyKey", "parameters")],
        "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
        "responses": {
            "201": response("The event is recorded, and its emails are queued.", "Caused")
            | {"links": _links()},
            "200": response(
                "The same request was sent before; this is the answer to it.", "Caused", replayed=True
            ),
            **problem_responses(*problems),
        },
    }


def _post_batch() -> dict[str, Any]:
    body = object_of(
        events={
            "type": "array",
            "minItems": 1,
            "maxItems": MAX_EVENTS,
            "items": {"description": "An event as for `POST /api/v1/events`, with its `idempotency_key`."},
        }
    )
    problems = (
        ProblemKind.UNREADABLE,
        ProblemKind.TOKEN,
        ProblemKind.SCOPE,
        ProblemKind.TOO_LARGE,
        ProblemKind.CONTENT_TYPE,
        ProblemKind.INVALID,
        ProblemKind.TOO_MANY,
        ProblemKind.BUSY,
    )
    return {
        "operationId": "sendEvents",
        "summary": "Record many events",
        "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
        "responses": {
            "200": response("A result for each event, in their order.", "Results"),
            **problem_responses(*problems),
        },
    }


def _links() -> dict[str, Any]:
    return {
        "event": {"operationId": "getEvent", "parameters": {"id": "$response.body#/id"}},
        "message": {"operationId": "getMessage", "parameters": {"id": "$response.body#/mails/0/message"}},
    }


def _get_commissions() -> dict[str, Any]:
    found = _get("listCommissions", "What an order earns", "Commissions", "Order")
    return found | {"responses": found["responses"] | problem_responses(ProblemKind.INVALID)}


def _get(operation: str, summary: str, schema: str, parameter: str = "Id") -> dict[str, Any]:
    return {
        "operationId": operation,
        "summary": summary,
        "parameters": [ref(parameter, "parameters")],
        "responses": {
            "200": response(f"{summary}.", schema),
            **problem_responses(
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
        "responses": {"200": response(f"{summary}.", "Sending"), **problem_responses(*problems)},
    }


def _problem() -> Schema:
    error = object_of(pointer={"type": "string"}, message={"type": "string"})
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
