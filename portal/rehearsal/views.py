"""Pages of the rehearsal: the inbox of received mail, and how to select each fault."""

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
from flask_babel import gettext as _
from flask_babel import ngettext
from flask_login import current_user

from ..bounces.providers.catalogue import ADAPTERS
from ..clock import utcnow
from ..state import current_config
from ..web.banners import Banner, add_banner_source
from ..web.headers import mail_page
from . import inbox, played_mails, played_reports, provider_events, provider_replies, store
from .faults import FAULTS
from .listeners import LISTENERS, PASSWORD

if TYPE_CHECKING:
    from pathlib import Path

    from werkzeug.wrappers import Response as AnyResponse

    from ..config import Config
    from .inbox import InboxMessage

blueprint = Blueprint("rehearsal", __name__, url_prefix="/rehearsal")


def install(app: Flask) -> None:
    """Register the pages and the banner; without SIGNET_REHEARSAL every page is 404."""
    app.register_blueprint(blueprint)
    add_banner_source(app, _banners)


def _folder() -> Path:
    return store.inbox_folder(current_config())


def _banners(_account: int) -> list[Banner]:
    config = current_config()
    if not config.rehearsal:
        return []
    title = _("Rehearsal: emails to the rehearsal server stay on this machine")
    inbox_url = url_for("rehearsal.inbox")
    return [
        Banner("info", title, _banner_text(config), _("Open the rehearsal inbox"), inbox_url, is_folded=True)
    ]


def _banner_text(config: Config) -> str:
    parts = [
        _(
            "The rehearsal server is localhost, port %(starttls)d with STARTTLS and port %(tls)d with SSL/TLS.",
            starttls=config.rehearsal_starttls_port,
            tls=config.rehearsal_tls_port,
        )
    ]
    if config.rehearsed_hosts:
        parts.append(_("It also simulates %(hosts)s.", hosts=", ".join(config.rehearsed_hosts)))
    parts.append(_("Any other SMTP Server sends real emails."))
    return " ".join(map(str, parts))


@blueprint.before_request
def _only_in_rehearsal() -> None:
    if not current_config().rehearsal:
        abort(404)


@blueprint.get("/inbox", endpoint="inbox")
def show_inbox() -> str:
    """List received messages, newest first; the first page refreshes itself."""
    before = request.args.get("before", type=str) or None
    page = inbox.list_messages(_folder(), before)
    return render_template("rehearsal/inbox.html", page=page, before=before, **_page_context())


@blueprint.get("/inbox/<message_id>", endpoint="message")
def show_message(message_id: str) -> str:
    """Show one message: envelope, headers, text and HTML."""
    return render_template(
        "rehearsal/message.html",
        message=_message_or_404(message_id),
        providers=[one for one in ADAPTERS.values() if provider_events.is_played(one.id)],
        **_page_context(),
    )


@blueprint.post("/inbox/<message_id>/report", endpoint="report")
def play_report(message_id: str) -> AnyResponse:
    """Play what a provider reports of a message, at the hook of the owner who is logged in."""
    message = _message_or_404(message_id)
    provider, what = request.form.get("provider", ""), request.form.get("what", "")
    is_mail = provider == played_mails.PROVIDER
    if not (is_mail or provider_events.is_played(provider)) or what not in set(played_reports.Play):
        abort(400)
    try:
        if is_mail:
            flash(
                played_mails.play(current_user.account_id, played_reports.Play(what), message, now=utcnow()),
                "success",
            )
            return redirect(url_for("rehearsal.message", message_id=message_id, _anchor="report-title"), 303)
        played = played_reports.play(
            current_user.account_id, provider, played_reports.Play(what), message, now=utcnow()
        )
    except played_reports.CannotPlay as refused:
        flash(str(refused), "danger")
    else:
        forged = what == played_reports.Play.WRONG_SIGNATURE
        flash(_text_of(ADAPTERS[provider].name, played, forged=forged), "success")
    return redirect(url_for("rehearsal.message", message_id=message_id, _anchor="report-title"), 303)


def _text_of(name: str, played: played_reports.Played, *, forged: bool) -> str:
    if forged and played.how_refused is played_reports.HowRefused.BY_ADDRESS:
        return str(
            _(
                "%(name)s does not sign its calls. A call to an address with a wrong secret was refused, and nothing changed.",
                name=name,
            )
        )
    if forged and played.how_refused is played_reports.HowRefused.BY_SIGNATURE_LATER:
        return str(
            _(
                "%(name)s was simulated. The worker verifies its signatures. See the refused call under Bounces.",
                name=name,
            )
        )
    text = _(
        "%(name)s was simulated. Reports: %(calls)d, refused: %(refused)d. See the result under Deliveries.",
        name=name,
        calls=played.calls,
        refused=played.refused,
    )
    return str(text)


@blueprint.get("/inbox/<message_id>/html", endpoint="html")
def show_html(message_id: str) -> Response:
    """Return the HTML part, for the sandboxed frame of the message page."""
    html = _message_or_404(message_id).view.html
    return mail_page(html) if html is not None else abort(404)


@blueprint.get("/inbox/<message_id>/raw", endpoint="raw")
def show_raw(message_id: str) -> Response:
    """Return the message as received; with ``?download=1`` as a file."""
    content = inbox.read_raw(_folder(), message_id)
    if content is None:
        abort(404)
    response = Response(content, mimetype="text/plain")
    disposition = "attachment" if request.args.get("download") else "inline"
    response.headers["Content-Disposition"] = f'{disposition}; filename="{message_id}.eml"'
    return response


@blueprint.post("/inbox/clear", endpoint="clear")
def clear_inbox() -> AnyResponse:
    """Delete every received message."""
    count = inbox.delete_all(_folder())
    flash(
        ngettext("%(num)s message removed.", "%(num)s messages removed.", count),
        "success",
    )
    return redirect(url_for("rehearsal.inbox"), 303)


@blueprint.get("/faults", endpoint="faults")
def show_faults() -> str:
    """Explain the listeners, the simulated providers and the faults."""
    config = current_config()
    listeners = [(listener, listener.port(config)) for listener in LISTENERS]
    provider_hosts = provider_replies.describe_hosts(config.rehearsed_hosts)
    return render_template(
        "rehearsal/faults.html",
        faults=FAULTS,
        listeners=listeners,
        provider_hosts=provider_hosts,
        **_page_context(),
    )


def _message_or_404(message_id: str) -> InboxMessage:
    return inbox.get_message(_folder(), message_id) or abort(404)


def _page_context() -> dict[str, object]:
    return {
        "active": "rehearsal",
        "password": PASSWORD,
        "starttls_port": current_config().rehearsal_starttls_port,
    }
