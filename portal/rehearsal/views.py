"""The pages of the rehearsal: what was received, and how to play each fault."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import (
    Blueprint,
    Flask,
    Response,
    abort,
    flash,
    redirect,
    render_template,
    request,
    url_for,
)
from flask_login import login_required

from ..state import current_config
from ..web.banners import Banner, add_source
from ..web.headers import mail_page
from . import inbox, provider_replies, store
from .faults import FAULTS
from .listeners import LISTENERS, PASSWORD

if TYPE_CHECKING:
    from pathlib import Path

    from werkzeug.wrappers import Response as AnyResponse

    from .inbox import Entry

blueprint = Blueprint("rehearsal", __name__, url_prefix="/rehearsal")


def install(app: Flask) -> None:
    """Introduce the room; without SIGNET_REHEARSAL its pages do not exist."""
    app.register_blueprint(blueprint)
    add_source(app, _banners)


def _folder() -> Path:
    return store.folder(current_config())


def _banners(_account: int) -> list[Banner]:
    if not current_config().rehearsal:
        return []
    return [
        Banner(
            "info",
            "Rehearsal: mail does not leave this machine",
            _banner_text(current_config().rehearsal_plays),
            "Open the inbox",
            url_for("rehearsal.inbox"),
        )
    ]


def _banner_text(plays: tuple[str, ...]) -> str:
    really = "Another SMTP Server you enter really sends."
    if not plays:
        return f"This holds for what the rehearsal server receives. {really}"
    return f"This holds for what the rehearsal server receives, which also plays {', '.join(plays)}. {really}"


@blueprint.before_request
def _only_in_rehearsal() -> None:
    if not current_config().rehearsal:
        abort(404)


@blueprint.get("/inbox", endpoint="inbox")
@login_required
def show_inbox() -> str:
    """List what was received, newest first; the first page follows what arrives."""
    before = request.args.get("before", type=str) or None
    page = inbox.listing(_folder(), before)
    return render_template("rehearsal/inbox.html", page=page, before=before, **_room())


@blueprint.get("/inbox/<ident>", endpoint="message")
@login_required
def show_message(ident: str) -> str:
    """Show one message with its envelope, headers, text and HTML."""
    return render_template("rehearsal/message.html", entry=_entry_or_404(ident), **_room())


@blueprint.get("/inbox/<ident>/html", endpoint="html")
@login_required
def show_html(ident: str) -> Response:
    """Answer with the HTML part, for the sandboxed frame of the message page."""
    html = _entry_or_404(ident).letter.html
    return mail_page(html) if html is not None else abort(404)


@blueprint.get("/inbox/<ident>/raw", endpoint="raw")
@login_required
def show_raw(ident: str) -> Response:
    """Answer with the message as it was received; with ``?download=1`` as a file."""
    content = inbox.raw(_folder(), ident)
    if content is None:
        abort(404)
    response = Response(content, mimetype="text/plain")
    how = "attachment" if request.args.get("download") else "inline"
    response.headers["Content-Disposition"] = f'{how}; filename="{ident}.eml"'
    return response


@blueprint.post("/inbox/clear", endpoint="clear")
@login_required
def clear_inbox() -> AnyResponse:
    """Remove every received message."""
    count = inbox.clear(_folder())
    flash(f"{count} {'message' if count == 1 else 'messages'} removed.", "success")
    return redirect(url_for("rehearsal.inbox"), 303)


@blueprint.get("/faults", endpoint="faults")
@login_required
def show_faults() -> str:
    """Explain how to play each fault."""
    config = current_config()
    doors = [(listener, listener.port(config)) for listener in LISTENERS]
    plays = provider_replies.played(config.rehearsal_plays)
    return render_template("rehearsal/faults.html", faults=FAULTS, doors=doors, plays=plays, **_room())


def _entry_or_404(ident: str) -> Entry:
    return inbox.message(_folder(), ident) or abort(404)


def _room() -> dict[str, object]:
    return {
        "active": "rehearsal",
        "password": PASSWORD,
        "starttls_port": current_config().rehearsal_starttls_port,
    }
