"""The security headers of every page, and the stricter ones of a mail preview."""

from __future__ import annotations

from urllib.parse import urlsplit

from flask import Flask, Response, request

from ..state import current_config

PAGE_POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "font-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "frame-src 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
        "require-trusted-types-for 'script'",
    ]
)
# A mail is somebody else's HTML: it may be styled, but it may not act, send, or fetch anything.
_MAIL_POLICY = "; ".join(
    [
        "sandbox",
        "default-src 'none'",
        "style-src 'unsafe-inline'",
        "img-src data: {portal}",
        "form-action 'none'",
        "base-uri 'none'",
        "frame-ancestors 'self'",
    ]
)


def mail_policy(base_url: str) -> str:
    """Return the policy of a mail preview. Pictures come from the portal alone, which keeps the owner's logo.

    A sandboxed page has no origin, so that 'self' would fit nothing: the portal is named.
    """
    parts = urlsplit(base_url)
    return _MAIL_POLICY.format(portal=f"{parts.scheme}://{parts.netloc}")


def mail_page(html: str) -> Response:
    """Answer with the HTML of a mail, for a sandboxed frame."""
    response = Response(html, mimetype="text/html")
    response.headers["Content-Security-Policy"] = mail_policy(current_config().base_url)
    return response


def install(app: Flask, *, secure: bool) -> None:
    """Put the headers on every answer that does not bring its own policy."""

    usual = {
        "Content-Security-Policy": PAGE_POLICY,
        "X-Content-Type-Options": "nosniff",
        # Stricter ones break the CSRF check, which reads the Referer; a page without such a form may bring its own.
        "Referrer-Policy": "same-origin",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=()",
    }
    if secure:
        usual["Strict-Transport-Security"] = "max-age=31536000; includeSubDomains"

    @app.after_request
    def _headers(response: Response) -> Response:
        brought = {name.lower() for name, _ in response.headers}
        for name, value in usual.items():
            if name.lower() not in brought:
                response.headers.add(name, value)
        if "cache-control" not in brought and request.endpoint != "static":
            response.headers.add("Cache-Control", "no-store")
        return response
