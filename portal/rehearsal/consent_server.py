"""The rehearsal's authorization server: a page of consent and a token endpoint, over HTTP on the loopback address.

It is an application of its own at another origin than the portal, as a provider is, so that the way there and back is the
real one. It keeps no session and asks for no password.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

from flask import Flask, redirect, render_template, request
from flask_babel import gettext as _
from werkzeug.serving import WSGIRequestHandler, make_server

from ..about import ROOT
from ..clock import utcnow
from ..oauth import issuers
from ..smtp.mailbox import MailboxError, parse_mailbox
from ..web import static_files, translations
from .consents import ConsentFault, Consents
from .serving import serve_in_thread

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from werkzeug.wrappers import Response as AnyResponse

    from ..config import Config

_PERMISSIONS = (issuers.REHEARSAL_SCOPE, issuers.REHEARSAL_READ_SCOPE)
_ASKED = ("redirect_uri", "scope", "state", "nonce", "code_challenge")  # without them nothing can be given
_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'; "
    "form-action 'self' {portal}"
)
_MAX_FORM_BYTES = 64 * 1024
_LOCAL_NAMES = ["localhost", "127.0.0.1"]


class _QuietHandler(WSGIRequestHandler):
    """Logs no request: an address holds a code."""

    def log(self, type: str, message: str, *args: Any) -> None:
        """Do nothing."""


def serve(config: Config, sock: socket.socket) -> Callable[[], None]:
    """Serve on a bound socket in daemon threads; return a function that stops it."""
    host, port = sock.getsockname()[:2]
    app = make_app(config)
    server = make_server(host, port, app, threaded=True, request_handler=_QuietHandler, fd=sock.fileno())
    return serve_in_thread(server, "rehearsal-consent")


def make_app(config: Config) -> Flask:
    """Return the application of the authorization server."""
    app = Flask(
        "portal.rehearsal.consent",
        template_folder=str(ROOT / "templates"),
        static_folder=str(ROOT / "static"),
    )
    app.config.update(TRUSTED_HOSTS=_LOCAL_NAMES, MAX_CONTENT_LENGTH=_MAX_FORM_BYTES)
    static_files.install(app)
    translations.install(app)
    consents = Consents(config)

    @app.get("/authorize")
    def ask() -> Any:
        problem = _problem(config)
        if problem:
            return render_template("rehearsal/consent.html", problem=problem), 400
        return _page(request.args.get("login_hint", ""))

    @app.post("/authorize")
    def decide() -> Any:
        if _problem(config):
            return render_template("rehearsal/consent.html", problem=_problem(config)), 400
        if request.form.get("decision") != "allow":
            return _return({"error": "access_denied"}, config)
        try:
            mailbox = str(parse_mailbox(request.form.get("mailbox", "").strip()))
        except MailboxError:
            return _page(request.form.get("mailbox", ""), error=_("Enter a whole email address.")), 422
        known = {fault.value: fault for fault in ConsentFault}
        fault = known.get(request.form.get("fault", ""), ConsentFault.NONE)
        asked = {name: request.args[name] for name in _ASKED}
        if "may_send" not in request.form:
            kept = [one for one in asked["scope"].split() if one not in _PERMISSIONS]
            asked["scope"] = " ".join(kept)
        return _return({"code": consents.code(asked, mailbox, fault, utcnow())}, config)

    @app.post("/token")
    def token() -> Any:
        status, answer = consents.answer(request.form, utcnow())
        return answer, status, {"Cache-Control": "no-store"}

    @app.after_request
    def _headers(response: AnyResponse) -> AnyResponse:
        response.headers["Content-Security-Policy"] = _POLICY.format(portal=config.base_url)
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "no-referrer"
        return response

    return app


def _problem(config: Config) -> str:
    """Return why a request for a consent cannot be answered; empty if it can.

    A browser is sent to the portal's own redirect address only.
    """
    if request.args.get("client_id") != issuers.rehearsal_client(config).id:
        return str(_("This client is not known here."))
    if request.args.get("redirect_uri") != f"{config.base_url}/oauth/callback/{issuers.REHEARSAL}":
        return str(_("This redirect address is not registered for the client."))
    if any(not request.args.get(name) for name in _ASKED):
        return str(_("The request is incomplete. Connect again in Signet."))
    if request.args.get("code_challenge_method") != "S256":
        return str(_("The request has no PKCE challenge (S256)."))
    return ""


def _return(answer: dict[str, str], config: Config) -> AnyResponse:
    """Send the browser back with an answer (RFC 6749 section 4.1.2, RFC 9207)."""
    query = {**answer, "state": request.args["state"], "iss": issuers.rehearsal_url(config)}
    return redirect(f"{request.args['redirect_uri']}?{urlencode(query)}", 303)


def _page(mailbox: str, error: str = "") -> str:
    choices = [
        (ConsentFault.NONE, _("Everything works.")),
        (ConsentFault.LAPSED, _("The check passes. The consent expires half a minute later.")),
        (ConsentFault.SECRET_EXPIRED, _("The secret of the client has expired.")),
        (ConsentFault.REFUSED, _("The mail server refuses the permission, although it is new (535).")),
        (
            ConsentFault.THROTTLED,
            _("For a minute, the provider gives no permission: too many requests (429)."),
        ),
    ]
    action = f"{urlsplit(request.url).path}?{request.query_string.decode('ascii', 'replace')}"
    return render_template(
        "rehearsal/consent.html",
        mailbox=mailbox,
        error=error,
        choices=choices,
        action=action,
        reads=issuers.REHEARSAL_READ_SCOPE in request.args.get("scope", "").split(),
    )
