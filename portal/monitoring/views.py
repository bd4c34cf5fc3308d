"""The endpoints /healthz (the process responds), /readyz (the portal is ready), /metrics (with a token) and security.txt."""

from __future__ import annotations

import hmac
from typing import Any

from flask import Blueprint, Response, abort, jsonify, request

from ..clock import utcnow
from ..state import current_config
from . import health, prometheus, security_txt

blueprint = Blueprint("monitoring", __name__)


@blueprint.get("/healthz")
def healthz() -> Response:
    return Response("ok\n", mimetype="text/plain")


@blueprint.get("/readyz")
def readyz() -> Any:
    problems = health.find_problems(utcnow())
    response = jsonify({"ready": not problems, "reasons": problems})
    return response, 503 if problems else 200


@blueprint.get(security_txt.PATH)
def security_contact() -> Response:
    """Return security.txt; 404 unless the operator has configured a contact."""
    text = security_txt.render(current_config(), utcnow()) or abort(404)
    return Response(text, content_type="text/plain; charset=utf-8")


@blueprint.get("/metrics")
def metrics() -> Response:
    """Return the metrics. Without a configured token this is a 404: behind a proxy every client address is local."""
    token = current_config().metrics_token
    if not token:
        abort(404)
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    is_correct = hmac.compare_digest(given.strip().encode("utf-8", "replace"), token.encode())
    if scheme.lower() != "bearer" or not is_correct:
        return Response("A bearer token is asked for.\n", 401, {"WWW-Authenticate": "Bearer"}, "text/plain")
    return Response(prometheus.render(utcnow()), content_type=prometheus.CONTENT_TYPE)
