"""The paths and schemas of affiliates in the OpenAPI document. Requests are validated by the same schemas.

The ``description`` of each leaf is also the error message of a field that violates it.
"""

from __future__ import annotations

from typing import Any

from ...affiliates import codes
from ...affiliates.models import AffiliateState
from ...affiliates.names import LIMIT_CHARS as NAME_LIMIT_CHARS
from ...affiliates.search_text import LIMIT_CHARS as SEARCH_LIMIT_CHARS
from ...enrolment.changing.editing import EXTERNAL_ID_LIMIT_CHARS, NOTES_LIMIT_CHARS
from ...shop_links import LIMIT_CHARS as WEBSITE_LIMIT_CHARS
from ..openapi_parts import (
    NUMBER,
    TEXT,
    TIMESTAMP,
    array_of,
    nullable,
    object_of,
    problem_responses,
    ref,
    response,
)
from ..problems import ProblemKind
from ..schemas import MAILBOX_PATTERN, ORDER_PATTERN, Schema

MAX_PAGE, DEFAULT_PAGE = 100, 50
STATUSES = ("active", "declined", "suspended")  # that a request may set
# An erased person is a blank row, which no request finds.
READABLE_STATUSES = tuple(one.value for one in AffiliateState if one is not AffiliateState.ERASED)
_LINES = r"^[^\u0000-\u0008\u000b-\u001f\u007f-\u009f\u2028\u2029]*$"
_NAME: Schema = {
    "type": "string",
    "minLength": 1,
    "maxLength": NAME_LIMIT_CHARS,
    "pattern": ORDER_PATTERN,
    "description": f"The person’s or the shop’s name, of 1 to {NAME_LIMIT_CHARS} characters, without links.",
    "examples": ["Grace Hopper"],
}
_EMAIL: Schema = {
    "type": "string",
    "maxLength": 254,
    "pattern": MAILBOX_PATTERN,
    "description": "One email address, such as grace@hopper.example.",
    "examples": ["grace@hopper.example"],
}
_CODE: Schema = {
    "type": "string",
    "pattern": codes.PATTERN,
    "description": "The code in the link: 2 to 32 letters, digits, - and _.",
    "examples": ["GRACE42K"],
}
EXTERNAL_ID: Schema = {
    "type": "string",
    "minLength": 1,
    "maxLength": EXTERNAL_ID_LIMIT_CHARS,
    "pattern": ORDER_PATTERN,
    "description": f"Your own id of the person: one line of 1 to {EXTERNAL_ID_LIMIT_CHARS} characters.",
    "examples": ["crm-7"],
}
_NOTES: Schema = {
    "type": "string",
    "maxLength": NOTES_LIMIT_CHARS,
    "pattern": _LINES,
    "description": f"Notes that only owners see, of at most {NOTES_LIMIT_CHARS} characters.",
    "examples": ["Met in Bern"],
}
_WEBSITE: Schema = {
    "type": "string",
    "maxLength": WEBSITE_LIMIT_CHARS,
    "pattern": _LINES,
    "description": f"The person’s website, which only owners see: at most {WEBSITE_LIMIT_CHARS} characters.",
    "examples": ["https://tea-blog.example"],
}


def affiliate_request_schemas() -> dict[str, Schema]:
    """Return the components that describe requests about affiliates."""
    source = _NAME | {
        "maxLength": 200,
        "description": "Where they agreed: one line of 1 to 200 characters.",
        "examples": ["Sign-up form of the shop"],
    }
    consent = object_of(at=ref("OccurredAt"), source=source) | {
        "description": "When and where the person agreed to emails. Without it, an email asks for confirmation."
    }
    fields = {
        "name": _NAME, "email": _EMAIL, "code": _CODE, "external_id": EXTERNAL_ID, "notes": _NOTES,
        "website": _WEBSITE,
    }  # fmt: skip
    changes = object_of(
        *fields, "status",
        **fields | {"external_id": EXTERNAL_ID | {"type": ["string", "null"]}},
        status={"type": "string", "enum": list(STATUSES), "description": f"One of {', '.join(STATUSES)}."},
    )  # fmt: skip
    return {
        "NewAffiliate": object_of(
            "code", "external_id", "notes", "website", "consent", **fields, consent=consent
        ),
        "AffiliateChanges": changes
        | {"minProperties": 1, "description": "Name at least one field to change."},
    }


def affiliate_response_schemas() -> dict[str, Schema]:
    """Return the components that describe responses about affiliates."""
    one = object_of(
        id=NUMBER,
        name=TEXT,
        email=TEXT,
        pending_email=nullable(TEXT) | {"description": "A new address that waits for its confirmation."},
        code=TEXT,
        link=nullable(TEXT) | {"description": "Null while there is no shop address."},
        external_id=nullable(TEXT),
        status={"type": "string", "enum": list(READABLE_STATUSES)},
        notes=TEXT,
        website=TEXT,
        created_at=TIMESTAMP,
        consented_at=nullable(TIMESTAMP),
        confirmed_at=nullable(TIMESTAMP),
    )
    page = object_of(
        affiliates=array_of("Affiliate"),
        next_cursor=nullable(NUMBER)
        | {"description": "For the next page, as `cursor`; null on the last one."},
    )
    return {"Affiliate": one, "AffiliatePage": page}


def affiliate_parameters() -> dict[str, Any]:
    """Return the parameters of the list."""
    return {
        "Limit": _query(
            "limit", {"type": "integer", "minimum": 1, "maximum": MAX_PAGE, "default": DEFAULT_PAGE}
        ),
        "Cursor": _query("cursor", {"type": "integer", "minimum": 1, "maximum": 999_999_999_999}),
        "Status": _query("status", {"type": "string", "enum": ["", *READABLE_STATUSES]}),
        "Search": _query("q", {"type": "string", "maxLength": SEARCH_LIMIT_CHARS}),
        "ExternalId": _query("external_id", {"type": "string", "maxLength": EXTERNAL_ID_LIMIT_CHARS}),
        "OfCode": _query("code", {"type": "string", "maxLength": 32}),
        "OfEmail": _query("email", {"type": "string", "maxLength": 254}),
    }


def affiliate_paths() -> dict[str, Any]:
    """Return the paths."""
    known = (ProblemKind.TOKEN, ProblemKind.SCOPE, ProblemKind.TOO_MANY, ProblemKind.BUSY)
    written = (
        *known, ProblemKind.UNREADABLE, ProblemKind.CONFLICT, ProblemKind.TOO_LARGE, ProblemKind.CONTENT_TYPE,
        ProblemKind.INVALID,
    )  # fmt: skip
    one = {"parameters": [ref("Id", "parameters")]}
    return {
        "/api/v1/affiliates": {
            "get": {
                "operationId": "listAffiliates",
                "summary": "Affiliates, newest first",
                "parameters": [ref(name, "parameters") for name in affiliate_parameters()],
                "responses": {
                    "200": response("One page.", "AffiliatePage"),
                    **problem_responses(*known, ProblemKind.INVALID),
                },
            },
            "post": {
                "operationId": "addAffiliate",
                "summary": "Add an affiliate",
                "parameters": [ref("IdempotencyKey", "parameters")],
                "requestBody": _body("NewAffiliate"),
                "responses": {
                    "201": response("The affiliate is stored.", "Affiliate"),
                    "200": response("The same request came before.", "Affiliate", replayed=True),
                    **problem_responses(*written, ProblemKind.NOT_FOUND),
                },
            },
        },
        "/api/v1/affiliates/{id}": {
            "get": one | {
                "operationId": "getAffiliate",
                "summary": "One affiliate",
                "responses": {
                    "200": response("The affiliate.", "Affiliate"),
                    **problem_responses(*known, ProblemKind.NOT_FOUND),
                },
            },
            "delete": one
            | {
                "operationId": "eraseAffiliate",
                "summary": "Erase a person",
                "responses": {
                    "204": {"description": "The person is erased; a job removes what other tables hold."},
                    **problem_responses(*known, ProblemKind.NOT_FOUND, ProblemKind.METHOD),
                },
            },
            "patch": one | {
                "operationId": "changeAffiliate",
                "summary": "Change an affiliate",
                "requestBody": _body("AffiliateChanges"),
                "responses": {
                    "200": response("The affiliate as it is now.", "Affiliate"),
                    **problem_responses(*written, ProblemKind.NOT_FOUND, ProblemKind.METHOD),
                },
            },
        },
    }  # fmt: skip


def _query(name: str, schema: Schema) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "schema": schema}


def _body(component: str) -> dict[str, Any]:
    return {"required": True, "content": {"application/json": {"schema": ref(component)}}}
