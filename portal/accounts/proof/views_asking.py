"""The page *Is it you?*, as it interrupts a request. Nothing of the request is done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from flask import current_app, redirect, render_template, request, url_for
from flask_login import current_user

from ...web.errors import submitted_values
from ...web.requests import endpoint_of, path_of, same_site_path
from . import kept
from .forms import ProveForm

if TYPE_CHECKING:
    from werkzeug.wrappers import Response

PAGE = "accounts/prove.html"


def ask_first() -> Response:
    """Lead from a page that needs a proof to the question, and from there back."""
    return redirect(url_for("accounts.prove", next=same_site_path(path_of(request))), 303)


def ask_again(page: str) -> Any:
    """Answer a form that came too late with the question. Its harmless fields are kept for the page of the form."""
    packed = kept.pack(request.endpoint or "", submitted_values())
    data = {"to": _path_of(page), "kept": packed}
    return question(ProveForm(has_factor=current_user.has_factor, formdata=None, data=data)), 403


def question(form: ProveForm, **more: Any) -> str:
    """Render the page."""
    return render_template(PAGE, form=form, **context(form), **more)


def context(form: ProveForm) -> dict[str, Any]:
    """Return what the page shows: whether a form was sent, of which nothing is done, and where *Cancel* leads."""
    interrupted = kept.unpack(form.kept.data or "")
    back = same_site_path(form.to.data) or url_for("accounts.profile")
    return {"is_interrupted": interrupted is not None, "back": back}


def _path_of(page: str) -> str:
    """Return the path of the page that has the form, with its query where the form was sent from there."""
    try:
        came_from = urlsplit(request.referrer or "")
    except ValueError:  # no address
        came_from = urlsplit("")
    path = f"{came_from.path}?{came_from.query}" if came_from.query else came_from.path
    if (
        came_from.netloc == request.host
        and same_site_path(path)
        and endpoint_of(came_from.path, "GET") == page
    ):
        return path
    arguments = next(current_app.url_map.iter_rules(page)).arguments
    known = {name: value for name, value in (request.view_args or {}).items() if name in arguments}
    return url_for(page, **known)
