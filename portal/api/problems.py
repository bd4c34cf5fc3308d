"""The error responses of the API: problem details (RFC 9457)."""

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


class ProblemKind(StrEnum):
    """The kinds of problem. Their values are part of the published ``type`` URIs, so they must not change."""

    UNREADABLE = "unreadable"
    KEY_MISSING = "idempotency-key-missing"
    TOKEN = "token"
    SCOPE = "scope"
    NOT_FOUND = "not-found"
    UNKNOWN_AFFILIATE = "unknown-affiliate"
    METHOD = "method"
    CONFLICT = "conflict"
    NOT_CHECKED = "not-checked"
    TOO_LARGE = "too-large"
    CONTENT_TYPE = "content-type"
    INVALID = "invalid"
    KEY_REUSED = "idempotency-key-reused"
    TOO_MANY = "too-many-requests"
    FAILED = "failed"
    BUSY = "busy"


# kind -> (status, title, when it happens)
PROBLEM_KINDS: Mapping[ProblemKind, tuple[int, str, str]] = {
    ProblemKind.UNREADABLE: (
        400,
        "The request cannot be read",
        "The body is no JSON in UTF-8, or a name occurs twice in it.",
    ),
    ProblemKind.KEY_MISSING: (
        400,
        "The Idempotency-Key header is missing",
        "Each event and each new affiliate needs a key of its own.",
    ),
    ProblemKind.TOKEN: (
        401,
        "The token is missing or not valid",
        "It was mistyped or revoked, its end date is over, or none was sent.",
    ),
    ProblemKind.SCOPE: (
        403,
        "The token is for another purpose",
        "Make a token for this purpose on the page API.",
    ),
    ProblemKind.NOT_FOUND: (
        404,
        "There is nothing here",
        "The address or the id is not one of this account.",
    ),
    ProblemKind.UNKNOWN_AFFILIATE: (
        404,
        "No such affiliate",
        "No one in this programme has this code, external ID or email address.",
    ),
    ProblemKind.METHOD: (
        405,
        "This address does not take this method",
        "The header Allow lists what it takes.",
    ),
    ProblemKind.CONFLICT: (
        409,
        "The affiliate cannot be stored or changed so",
        "A value belongs to another affiliate, or the state does not allow it; each reason is listed in errors.",
    ),
    ProblemKind.NOT_CHECKED: (
        409,
        "This version is not checked now",
        "Another check has not ended, or the version is no draft of the API.",
    ),
    ProblemKind.TOO_LARGE: (413, "The body is too large", "A body has at most 64 KiB, a batch 256 KiB."),
    ProblemKind.CONTENT_TYPE: (415, "The body is not sent as JSON", "Send Content-Type: application/json."),
    ProblemKind.INVALID: (
        422,
        "A field is not as it should be",
        "Each field at fault is listed in errors.",
    ),
    ProblemKind.KEY_REUSED: (
        422,
        "The key was used for another request",
        "Use a new Idempotency-Key for each event and each new affiliate.",
    ),
    ProblemKind.TOO_MANY: (429, "Too many requests", "Wait for as many seconds as Retry-After says."),
    ProblemKind.FAILED: (
        500,
        "Something went wrong on our side",
        "Send the same request again, with the same key.",
    ),
    ProblemKind.BUSY: (
        503,
        "The portal is busy",
        "Send the same request again in a moment, with the same key.",
    ),
}


@dataclass(frozen=True)
class FieldError:
    """An error of one field. ``pointer`` is a JSON pointer as a URI fragment, such as #/data/amount."""

    pointer: str
    message: str


@dataclass(eq=False)
class Problem(Exception):
    """A rejected request. ``detail`` explains this occurrence to a developer."""

    kind: ProblemKind
    detail: str = ""
    errors: Sequence[FieldError] = ()
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def status(self) -> int:
        return PROBLEM_KINDS[self.kind][0]

    def as_json(self) -> dict[str, object]:
        """Return the members of the problem. ``type`` is the URL of its explanation."""
        status, title, when = PROBLEM_KINDS[self.kind]
        members: dict[str, object] = {
            "type": f"{current_config().base_url}/settings/api/reference#problem-{self.kind.value}",
            "title": title,
            "status": status,
            "detail": str(self.detail or when),
        }
        if self.errors:
            members["errors"] = [{"pointer": one.pointer, "message": str(one.message)} for one in self.errors]
        return members


def problem_response(problem: Problem) -> Response:
    """Return the response for a problem."""
    response = Response(json.dumps(problem.as_json()), problem.status, content_type=MEDIA_TYPE)
    response.headers.update(problem.headers)
    return response


def problem_for_status(code: int, detail: str = "", headers: Mapping[str, str] | None = None) -> Problem:
    """Return the problem for an HTTP status that was set outside the API."""
    first = {status: kind for kind, (status, _, _) in reversed(list(PROBLEM_KINDS.items()))}
    kind = first.get(code) or (
        ProblemKind.FAILED if code >= HTTPStatus.INTERNAL_SERVER_ERROR else ProblemKind.UNREADABLE
    )
    return Problem(kind, detail, headers=headers or {})
