"""The pages Home and All settings."""

from __future__ import annotations

from flask import Blueprint, render_template, url_for
from flask_login import current_user

from ..accounts import standing
from ..clock import utcnow
from ..settings import providers
from ..state import current_config
from ..status.sending import status_of
from . import checklist, figures, waiting

blueprint = Blueprint("home", __name__)


@blueprint.get("/")
def show() -> str:
    account_id = current_user.account_id
    status = status_of(account_id)
    return render_template(
        "home/index.html",
        status=status,
        is_open=standing.may_send(account_id),
        steps=checklist.steps(account_id, status),
        tiles=providers.usual(),
        waiting=waiting.items(account_id),
        figures=figures.read(account_id, now=utcnow()),
        days=figures.DAYS,
        max_counted=figures.MAX_COUNTED,
        join_url=f"{current_config().base_url}{url_for('affiliates.join', slug=current_user.account.slug)}",
    )


@blueprint.get("/settings")
def all_settings() -> str:
    return render_template("home/settings.html")
