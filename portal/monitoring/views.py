"""/healthz (the process answers), /readyz (it can do its work) and /metrics (for Prometheus, with a token)."""

from __future__ import annotations

import hmac
from typing import Any

from flask import Blueprint, Response, abort, jsonify, request

from ..clock import utcnow
from ..state import current_config
from . import health, prometheus

blueprint = Blueprint("watching", __name__)


@blueprint.get("/healthz")
def healthz() -> Response:
    return Response("ok\n", mimetype="text/plain")


@blueprint.get("/readyz")
def readyz() -> Any:
    wrong = health.look(utcnow())
    answer = jsonify({"ready": not wrong, "reasons": wrong})
    return answer, 503 if wrong else 200


@blueprint.get("/metrics")
def metrics() -> Response:
    """Without a token set there is no such page: behind a proxy every caller looks like one of this machine."""
    token = current_config().metrics_token
    if not token:
        abort(404)
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    right = hmac.compare_digest(given.strip().encode("utf-8", "replace"), token.encode())
    if scheme.lower() != "bearer" or not right:
        return Response("A bearer token is asked for.\n", 401, {"WWW-Authenticate": "Bearer"}, "text/plain")
    return Response(prometheus.text(utcnow()), content_type=prometheus.CONTENT_TYPE)
