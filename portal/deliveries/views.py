"""The delivery log: the list, and one message's story."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, abort, render_template, request
from flask_login import current_user, login_required

from ..outbox.models import Status
from ..web.headers import mail_page
from ..web.pagination import key_argument
from . import log

blueprint = Blueprint("deliveries", __name__, url_prefix="/deliveries")


@blueprint.get("")
@login_required
def index() -> Any:
    status = request.args.get("status")
    chosen = Status(status) if status in set(log.FILTERS) else None
    page = log.page(
        current_user.account_id,
        status=chosen,
        before=key_argument(request.args.get("before")),
        after=key_argument(request.args.get("after")),
    )
    counts = log.counts(current_user.account_id)
    return render_template("deliveries/index.html", page=page, chosen=chosen, counts=counts, filters=log.FILTERS)


@blueprint.get("/<int(max=999999999999):ident>")
@login_required
def show(ident: int) -> Any:
    story = log.story(current_user.account_id, ident) or abort(404)
    queue = log.held_queue(current_user.account_id)
    return render_template("deliveries/show.html", story=story, message=story.message, queue=queue)


@blueprint.get("/<int(max=999999999999):ident>/html")
@login_required
def html(ident: int) -> Response:
    story = log.story(current_user.account_id, ident) or abort(404)
    return mail_page(story.message.html)
