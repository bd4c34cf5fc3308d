"""The endpoints of the SMTP settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...clock import utcnow
from ..access import bearer
from ..views import NO_OPTIONS, blueprint, json_body, json_response, not_found
from . import operations
from .document import LARGEST_NUMBER

if TYPE_CHECKING:
    from flask import Response

_VERSION = f"/settings/versions/<int(max={LARGEST_NUMBER}):number>"
_ADDRESS = "/api/v1/settings/versions/{}"


@blueprint.post("/settings/drafts", **NO_OPTIONS)
def save_draft() -> Response:
    saved = operations.save(bearer(), json_body(), now=utcnow())
    return json_response(saved, 201, _location(saved))


@blueprint.get(_VERSION, **NO_OPTIONS)
def show_version(number: int) -> Response:
    return json_response(operations.find(bearer().account_id, number) or not_found())


@blueprint.post(f"{_VERSION}/check", **NO_OPTIONS)
def check_draft(number: int) -> Response:
    """Start a check of a draft; its result is read at the version."""
    found = operations.check(bearer().account_id, number, now=utcnow()) or not_found()
    return json_response(found, 202, _location(found))


def _location(version: dict[str, Any]) -> dict[str, str]:
    return {"Location": _ADDRESS.format(version["number"])}
