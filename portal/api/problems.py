"""What goes wrong at the API, as RFC 9457 writes it down."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from enum import StrEnum
from http import HTTPStatus
from typing import TYPE_CHECKING

from flask import Response

from ..state import current_config

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MEDIA_TYPE = "application/problem+json"


class Kind(StrEnum):
    """The kinds of problem. Their names stand in ``type``, so they stay."""

    UNREADABLE = "unreadable"
    KEY_MISSING = "idempotency-key-missing"
    TOKEN = "token"
    NOT_FOUND = "not-found"
    UNKNOWN_AFFILIATE = "unknown-affiliate"
    METHOD = "method"
    TOO_LARGE = "too-large"
    CONTENT_TYPE = "content-type"
    INVALID = "invalid"
    KEY_REUSED = "idempotency-key-reused"
    TOO_MANY = "too-many-requests"
    FAILED = "failed"
    BUSY = "busy"


# kind -> (status, title, when it happens)
KINDS: Mapping[Kind, tuple[int, str, str]] = {
    Kind.UNREADABLE: (
        400,
        "The request cannot be read",
        "The body is no JSON in UTF-8, or a name occurs twice in it.",
    ),
    Kind.KEY_MISSING: (400, "The Idempotency-Key header is missing", "Each event needs a key of its own."),
    Kind.TOKEN: (401, "The token is missing or not valid", "It was mistyped or revoked, or none was sent."),
    Kind.NOT_FOUND: (404, "There is nothing here", "The address or the id is not one of this account."),
    Kind.UNKNOWN_AFFILIATE: (
        404,
        "No such affiliate",
        "Nobody in this programme has this code or email address.",
    ),
    Kind.METHOD: (405, "This address does not take this method", "The header Allow lists what it takes."),
    Kind.TOO_LARGE: (413, "The body is too large", "A body has at most 64 KiB."),
    Kind.CONTENT_TYPE: (415, "The body is not sent as JSON", "Send Content-Type: application/json."),
    Kind.INVALID: (422, "The event is not as it should be", "Each field at fault is listed in errors."),
    Kind.KEY_REUSED: (422, "The key was used for another event", "Use a new Idempotency-Key for each event."),
    Kind.TOO_MANY: (429, "Too many requests", "Wait for as many seconds as Retry-After says."),
    Kind.FAILED: (500, "Something went wrong on our side", "Send the same request again, with the same key."),
    Kind.BUSY: (503, "The portal is busy", "Send the same request again in a moment, with the same key."),
}


@dataclass(frozen=True)
class FieldError:
    """What is wrong with one field. ``pointer`` is a JSON pointer as a URI fragment, such as #/data/amount."""

    pointer: str
    message: str


@dataclass(eq=False)
class Problem(Exception):
    """A request that is refused. ``detail`` says what exactly is wrong, for a developer."""

    kind: Kind
    detail: str = ""
    errors: Sequence[FieldError] = ()
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def status(self) -> int:
        return KINDS[self.kind][0]

    def as_json(self) -> dict[str, object]:
        """Return the members of the problem. ``type`` is where the page explains it."""
        status, title, when = KINDS[self.kind]
        told: dict[str, object] = {
            "type": f"{current_config().base_url}/settings/api/reference#problem-{self.kind.value}",
            "title": title,
            "status": status,
            "detail": self.detail or when,
        }
        if self.errors:
            told["errors"] = [{"pointer": one.pointer, "message": one.message} for one in self.errors]
        return told


def answer(problem: Problem) -> Response:
    """Return the response that tells a problem."""
    response = Response(json.dumps(problem.as_json()), problem.status, content_type=MEDIA_TYPE)
    response.headers.update(problem.headers)
    return response


def of_status(code: int, detail: str = "", headers: Mapping[str, str] | None = None) -> Problem:
    """Return the problem that goes with a status which was decided elsewhere."""
    first = {status: kind for kind, (status, _, _) in reversed(list(KINDS.items()))}
    kind = first.get(code) or (Kind.FAILED if code >= HTTPStatus.INTERNAL_SERVER_ERROR else Kind.UNREADABLE)
    return Problem(kind, detail, headers=headers or {})
