"""The interface for shops: JSON in, JSON out, a token in place of a log-in."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response, request
from werkzeug.exceptions import RequestEntityTooLarge

from ..clock import utcnow
from ..state import current_config
from . import ingest, serializers, strict_json, tokens
from .openapi import KEY_PATTERN, document
from .problems import Kind, Problem, answer

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX = "/api/"
blueprint = Blueprint("api", __name__, url_prefix="/api/v1")

_LARGEST = 64 * 1024  # octets of a body
_IDENT = "<int(max=999999999999):ident>"
# Nor do we answer OPTIONS: no other site may ask for anything, so there is nothing to tell it beforehand.
_QUIET: dict[str, Any] = {"provide_automatic_options": False}
_KEY = re.compile(KEY_PATTERN[:-1] + r"\Z")


@blueprint.errorhandler(Problem)
def _refused(problem: Problem) -> Response:
    return answer(problem)


@blueprint.get("/openapi.json", **_QUIET)
def openapi() -> Response:
    return _json(document(current_config().base_url))


@blueprint.post("/events", **_QUIET)
def send_event() -> Response:
    bearer = _admitted()
    body = _body()
    taken = ingest.receive(bearer.account_id, body, key=_key(), now=utcnow())
    if taken.replayed:
        return _json(taken.answer, 200, {"Idempotent-Replayed": "true"})
    return _json(taken.answer, 201, {"Location": f"/api/v1/events/{taken.answer['id']}"})


@blueprint.get(f"/events/{_IDENT}", **_QUIET)
def show_event(ident: int) -> Response:
    bearer = _admitted()
    return _json(serializers.event(bearer.account_id, ident) or _nothing())


@blueprint.get(f"/messages/{_IDENT}", **_QUIET)
def show_message(ident: int) -> Response:
    bearer = _admitted()
    return _json(serializers.message(bearer.account_id, ident) or _nothing())


def _admitted() -> tokens.Bearer:
    """Return who is asking; the cookie of somebody's log-in counts for nothing here."""
    header = request.headers.get("Authorization", "")
    try:
        bearer = tokens.admit(header, now=utcnow())
    except tokens.SlowDown as spent:
        raise Problem(Kind.TOO_MANY, headers={"Retry-After": str(spent.seconds)}) from None
    if bearer is None:
        # RFC 6750 section 3.1: no error code where no token was sent.
        error = ', error="invalid_token"' if header else ""
        raise Problem(Kind.TOKEN, headers={"WWW-Authenticate": f'Bearer realm="Signet"{error}'})
    return bearer


def _body() -> Any:
    if request.mimetype != "application/json":
        raise Problem(Kind.CONTENT_TYPE)
    if request.content_encoding not in {None, "", "identity"}:
        raise Problem(Kind.CONTENT_TYPE, "Send the body as it is, without Content-Encoding.")
    request.max_content_length = _LARGEST
    try:
        octets = request.get_data()
    except RequestEntityTooLarge:
        raise Problem(Kind.TOO_LARGE) from None
    return strict_json.read(octets)


def _key() -> str:
    """Return the Idempotency-Key without its quotes, which are part of how the draft writes it, not of the key."""
    written = request.headers.get("Idempotency-Key", "")
    if not _KEY.match(written):
        told = "Its value is no key: use 1 to 100 letters, digits and signs." if written else ""
        raise Problem(Kind.KEY_MISSING, told)
    return written.strip('"')


def _nothing() -> Any:
    raise Problem(Kind.NOT_FOUND)


def _json(told: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    response = Response(json.dumps(told), status, content_type="application/json")
    response.headers.update(headers or {})
    return response
