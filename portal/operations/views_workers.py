"""The operator's page of the workers: heartbeats, and rows of the job store that were refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import render_template, request

from ..clock import utcnow
from ..web.pagination import key_argument
from . import workers as operations
from .views import blueprint

if TYPE_CHECKING:
    from flask.typing import ResponseReturnValue


@blueprint.get("/workers")
def workers() -> ResponseReturnValue:
    before, after = key_argument(request.args.get("before")), key_argument(request.args.get("after"))
    report = operations.build(before=before, after=after, now=utcnow())
    return render_template("operator/workers.html", report=report, page=report.refused)
