"""The addresses to which providers post their events. No session, no cookie, no CSRF token: the address holds a secret."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, request
from werkzeug.exceptions import RequestEntityTooLarge

from ..clock import utcnow
from . import hooks, receiving
from .receiving import Answer, Post

PREFIX = "/hooks/"
blueprint = Blueprint("hooks", __name__)
_MAX_SECRET_CHARS = 100
_TEXTS = {
    Answer.OK: "Thank you.",
    Answer.REFUSED: "The signature is wrong.",
    Answer.TOO_LARGE: "This is too large.",
    Answer.BUSY: "Try again later.",
}


@blueprint.route(f"{PREFIX}<provider>/<secret>", methods=["GET", "POST"], provide_automatic_options=False)
def receive(provider: str, secret: str) -> Any:
    """Store the events of a call. Some providers probe the address with GET or HEAD before they post to it."""
    now = utcnow()
    hook = hooks.find_by_secret(provider[:_MAX_SECRET_CHARS], secret[:_MAX_SECRET_CHARS], now=now)
    if hook is None:
        return _answer(404, "There is no hook at this address.")
    if request.method != "POST":
        return _answer(200, "This hook takes events by POST.")
    request.max_content_length = receiving.MAX_BODY_BYTES
    try:
        body = request.get_data(cache=False)
    except RequestEntityTooLarge:
        return _answer(Answer.TOO_LARGE, _TEXTS[Answer.TOO_LARGE])
    headers = {name.lower(): value for name, value in request.headers.items()}
    answer = receiving.receive(hook, Post(body, headers), now=now)
    return _answer(answer, _TEXTS[answer])


def _answer(status: int, text: str) -> Response:
    return Response(f"{text}\n", int(status), content_type="text/plain; charset=utf-8")
