"""The delivery log: the list, and one message's story."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, abort, render_template, request
from flask_login import current_user, login_required

from ..outbox.models import OutboxMessage, Status
from ..web.headers import mail_page
from ..web.pagination import key_argument
from . import log, story

blueprint = Blueprint("deliveries", __name__, url_prefix="/deliveries")

_IDENT = "<int(max=999999999999):ident>"


@blueprint.get("")
@login_required
def index() -> Any:
    asked = request.args.get("status")
    status = Status(asked) if asked in set(log.FILTERS) else None
    before, after = key_argument(request.args.get("before")), key_argument(request.args.get("after"))
    return render_template(
        "deliveries/index.html",
        log=log.read(current_user.account_id, status=status, before=before, after=after),
        chosen=status,
        filters=log.FILTERS,
        words=story.STATUS_WORDS,
        name_of=story.name_of,
        purpose_of=story.purpose_of,
        last_words=story.last_words,
        paged=before is not None or after is not None,
    )


@blueprint.get(f"/{_IDENT}")
@login_required
def show(ident: int) -> Any:
    message = _message(ident)
    told = story.tell(message, log.attempts_at(message), log.queue_row(current_user.account_id))
    return render_template("deliveries/show.html", story=told, message=message)


@blueprint.get(f"/{_IDENT}/html")
@login_required
def html(ident: int) -> Response:
    message = _message(ident)
    return mail_page(message.html) if message.html else abort(404)


def _message(ident: int) -> OutboxMessage:
    return log.message_of(current_user.account_id, ident) or abort(404)
