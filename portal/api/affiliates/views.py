"""The endpoints of affiliates."""

from __future__ import annotations

from typing import Any

from flask import Response, current_app, request

from ...affiliates.models import AffiliateState
from ...affiliates.search_text import LIMIT_CHARS
from ...clock import utcnow
from ...programme import short_links
from ..access import bearer
from ..openapi import LARGEST_ID
from ..problems import FieldError
from ..validation import invalid
from ..views import (
    ID,
    NO_OPTIONS,
    blueprint,
    idempotency_key,
    json_body,
    json_response,
    not_found,
)
from . import erasure, operations
from .document import DEFAULT_PAGE, MAX_PAGE, READABLE_STATUSES

_PATH = "/affiliates"


@blueprint.get(_PATH, **NO_OPTIONS)
def list_affiliates() -> Response:
    return json_response(operations.list_page(bearer().account_id, _query(), now=utcnow()))


@blueprint.post(_PATH, **NO_OPTIONS)
def add_affiliate() -> Response:
    body = json_body()
    found, replayed = operations.add(bearer().account_id, body, key=idempotency_key(), now=utcnow())
    if replayed:
        return json_response(found, 200, {"Idempotent-Replayed": "true"})
    return json_response(found, 201, {"Location": f"/api/v1{_PATH}/{found['id']}"})


@blueprint.get(f"{_PATH}/{ID}", **NO_OPTIONS)
def show_affiliate(id_: int) -> Response:
    return json_response(operations.find(bearer().account_id, id_, now=utcnow()) or not_found())


@blueprint.patch(f"{_PATH}/{ID}", **NO_OPTIONS)
def change_affiliate(id_: int) -> Response:
    changed = operations.change(bearer().account_id, id_, json_body(), now=utcnow()) or not_found()
    short_links.forget_targets(current_app._get_current_object())  # type: ignore[attr-defined]
    return json_response(changed)


@blueprint.delete(f"{_PATH}/{ID}", **NO_OPTIONS)
def erase_affiliate(id_: int) -> Response:
    """Erase the person, as the owner's page does."""
    if not erasure.erase(bearer().account_id, id_, now=utcnow()):
        not_found()
    short_links.forget_targets(current_app._get_current_object())  # type: ignore[attr-defined]
    return Response(status=204, content_type="application/json")


def _query() -> operations.ListQuery:
    """Return the query of the list. Raises Problem."""
    texts = {
        name: _text(name, limit) for name, limit in (("q", LIMIT_CHARS), ("external_id", 100), ("code", 32))
    }
    status = request.args.get("status", "")
    if status and status not in READABLE_STATUSES:
        raise invalid([FieldError("#/status", f"One of {', '.join(READABLE_STATUSES)}.")])
    return operations.ListQuery(
        search=texts["q"],
        status=AffiliateState(status) if status else None,
        external_id=texts["external_id"],
        code=texts["code"],
        email=_text("email", 254),
        cursor=_number("cursor", LARGEST_ID),
        limit=_number("limit", MAX_PAGE) or DEFAULT_PAGE,
    )


def _text(name: str, limit: int) -> str:
    text = request.args.get(name, "")
    if len(text) > limit:
        raise invalid([FieldError(f"#/{name}", f"At most {limit} characters.")])
    return text.replace("\0", " ").strip()


def _number(name: str, highest: int) -> Any:
    text = request.args.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 13 and 1 <= int(text) <= highest):
        raise invalid([FieldError(f"#/{name}", f"A whole number from 1 to {highest}.")])
    return int(text)
