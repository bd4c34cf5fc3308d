"""The endpoints /healthz (the process responds), /readyz (the portal is ready), /metrics (with a token) and security.txt."""

from __future__ import annotations

import hmac
from typing import Any

from flask import Blueprint, Response, abort, jsonify, request

from ..clock import utcnow
from ..state import current_config
from ..status.sending import sending_of
from . import health, prometheus, security_txt

blueprint = Blueprint("monitoring", __name__)


@blueprint.get("/healthz")
def healthz() -> Response:
    return Response("ok\n", mimetype="text/plain")


@blueprint.get("/readyz")
def readyz() -> Any:
    """Return whether the portal is ready; with the operator's token and an account's name, also its sending status."""
    problems = health.find_problems(utcnow())
    answer: dict[str, Any] = {"ready": not problems, "reasons": problems}
    slug = request.args.get("account", "")
    if slug and _has_token() and not problems.keys() & {"database", "migrations"}:
        status = sending_of(slug)
        answer["sending"] = status.as_dict() if status else None
    return jsonify(answer), 503 if problems else 200


@blueprint.get(security_txt.PATH)
def security_contact() -> Response:
    """Return security.txt; 404 unless the operator has configured a contact."""
    text = security_txt.render(current_config(), utcnow()) or abort(404)
    return Response(text, content_type="text/plain; charset=utf-8")


@blueprint.get("/metrics")
def metrics() -> Response:
    """Return the metrics. Without a configured token this is a 404: behind a proxy every client address is local."""
    if not current_config().metrics_token:
        abort(404)
    if not _has_token():
        return Response("A bearer token is asked for.\n", 401, {"WWW-Authenticate": "Bearer"}, "text/plain")
    return Response(prometheus.render(utcnow()), content_type=prometheus.CONTENT_TYPE)


def _has_token() -> bool:
    """Return whether the request carries the operator's token. Without a configured token, none is right."""
    token = current_config().metrics_token
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    is_correct = hmac.compare_digest(given.strip().encode("utf-8", "replace"), (token or "").encode())
    return bool(token) and scheme.lower() == "bearer" and is_correct
