"""The endpoints of the API for shops: JSON requests and responses, authenticated by a bearer token."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response, request
from werkzeug.exceptions import RequestEntityTooLarge

from ..clock import utcnow
from ..state import current_config
from ..status.sending import status_of
from . import event_batches, ingest, serializers, strict_json, tokens
from .access import bearer, check_scope, too_many
from .openapi import document
from .openapi_parts import KEY_PATTERN
from .problems import FieldError, Problem, ProblemKind, problem_response
from .schemas import ORDER_PATTERN

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX = "/api/"
blueprint = Blueprint("api", __name__, url_prefix="/api/v1")

_MAX_BODY_BYTES = 64 * 1024
_ORDER_MAX_CHARS = 64
ID = "<int(max=999999999999):id_>"
# No CORS: other sites may not use the API from a browser, so OPTIONS is not answered.
NO_OPTIONS: dict[str, Any] = {"provide_automatic_options": False}
_KEY_PATTERN = re.compile(KEY_PATTERN[:-1] + r"\Z")
_ORDER_PATTERN = re.compile(ORDER_PATTERN[:-1] + r"\Z")

blueprint.before_request(check_scope)


@blueprint.errorhandler(Problem)
def _render_problem(problem: Problem) -> Response:
    return problem_response(problem)


@blueprint.get("/openapi.json", **NO_OPTIONS)
def openapi() -> Response:
    """Return the OpenAPI document."""
    return json_response(document(current_config().base_url))


@blueprint.post("/events", **NO_OPTIONS)
def send_event() -> Response:
    body = json_body()
    result = ingest.ingest_event(bearer().account_id, body, key=idempotency_key(), now=utcnow())
    if result.replayed:
        return json_response(result.response, 200, {"Idempotent-Replayed": "true"})
    return json_response(result.response, 201, {"Location": f"/api/v1/events/{result.response['id']}"})


@blueprint.post("/events/batch", **NO_OPTIONS)
def send_events() -> Response:
    try:
        tokens.count_batch(bearer(), event_batches.REQUEST_LIMIT, now=utcnow())
    except tokens.RateLimited as limited:
        raise too_many(limited) from None
    body = json_body(event_batches.MAX_BODY_BYTES)
    return json_response(event_batches.ingest_batch(bearer().account_id, body, now=utcnow()))


@blueprint.get(f"/events/{ID}", **NO_OPTIONS)
def show_event(id_: int) -> Response:
    return json_response(serializers.event_json(bearer().account_id, id_) or not_found())


@blueprint.get(f"/messages/{ID}", **NO_OPTIONS)
def show_message(id_: int) -> Response:
    return json_response(serializers.message_json(bearer().account_id, id_) or not_found())


@blueprint.get("/affiliates/<code>/balance", **NO_OPTIONS)
def show_balance(code: str) -> Response:
    return json_response(serializers.balance_json(bearer().account_id, code) or not_found())


@blueprint.get("/commissions", **NO_OPTIONS)
def list_commissions() -> Response:
    """Return the commissions of the order that the query names."""
    order = request.args.get("order", "")
    if len(order) > _ORDER_MAX_CHARS or not _ORDER_PATTERN.match(order):
        message = f"Name the order: ?order=, with 1 to {_ORDER_MAX_CHARS} visible characters."
        raise Problem(ProblemKind.INVALID, message, [FieldError("#/order", message)])
    return json_response(serializers.commissions_json(bearer().account_id, order))


@blueprint.get("/sending", **NO_OPTIONS)
def show_sending() -> Response:
    """Return the sending status of the token's account."""
    return json_response(status_of(bearer().account_id).as_dict())


def json_body(max_bytes: int = _MAX_BODY_BYTES) -> Any:
    """Return the JSON body of the request. Raises Problem."""
    if request.mimetype != "application/json":
        raise Problem(ProblemKind.CONTENT_TYPE)
    if request.content_encoding not in {None, "", "identity"}:
        raise Problem(ProblemKind.CONTENT_TYPE, "Send the body as it is, without Content-Encoding.")
    request.max_content_length = max_bytes
    try:
        body = request.get_data()
    except RequestEntityTooLarge:
        raise Problem(ProblemKind.TOO_LARGE, f"At most {max_bytes // 1024} KiB.") from None
    return strict_json.parse(body)


def idempotency_key() -> str:
    """Return the Idempotency-Key without quotes, which are part of the header's syntax, not of the key. Raises Problem."""
    header = request.headers.get("Idempotency-Key", "")
    if not _KEY_PATTERN.match(header):
        detail = "Its value is no key: use 1 to 100 letters, digits and signs." if header else ""
        raise Problem(ProblemKind.KEY_MISSING, detail)
    return header.strip('"')


def not_found() -> Any:
    """Raise the problem of an id that the account does not have."""
    raise Problem(ProblemKind.NOT_FOUND)


def json_response(
    body: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Return a JSON response."""
    response = Response(json.dumps(body), status, content_type="application/json")
    response.headers.update(headers or {})
    return response
