"""The operator's page: the state of the outbox."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, render_template

from ..clock import utcnow
from ..web.labels import OUTCOME_TAGS, STATUS_LABELS
from . import report

blueprint = Blueprint("operator", __name__, url_prefix="/operator")

_MAX_ACCOUNTS = 100  # on the page; ``flask outbox status`` lists all


@blueprint.get("/outbox")
def outbox() -> Any:
    outbox_report = report.build_report(utcnow())
    return render_template(
        "operator/outbox.html",
        report=outbox_report,
        overview=outbox_report.overview,
        max_accounts=_MAX_ACCOUNTS,
        status_labels=STATUS_LABELS,
        outcome_tags=OUTCOME_TAGS,
        hold_cause=report.hold_cause,
    )
