"""The operator's page: the state of the outbox."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, render_template

from ..accounts.access import operator_required
from ..clock import utcnow
from ..web.labels import OUTCOME_TAGS, STATUS_LABELS
from . import report

blueprint = Blueprint("operator", __name__, url_prefix="/operator")

_MOST = 100  # accounts on the page; the command tells them all


@blueprint.get("/outbox")
@operator_required
def outbox() -> Any:
    told = report.gather(utcnow())
    return render_template(
        "operator/outbox.html",
        facts=told,
        seen=told.overview,
        most=_MOST,
        words=STATUS_LABELS,
        outcomes=OUTCOME_TAGS,
        cause=report.cause,
    )
