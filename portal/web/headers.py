"""Security headers: those of every page, and the stricter content security policy of an email preview."""

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
# An email is untrusted HTML: styles are allowed; scripts, forms and external requests are not.
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
    """Return the policy of an email preview. It allows images from the portal only, which serves the owner's logo.

    A sandboxed page has an opaque origin that 'self' does not match, so the portal's origin is named.
    """
    parts = urlsplit(base_url)
    return _MAIL_POLICY.format(portal=f"{parts.scheme}://{parts.netloc}")


def mail_page(html: str) -> Response:
    """Return the response with the HTML of an email, for a sandboxed frame."""
    response = Response(html, mimetype="text/html")
    response.headers["Content-Security-Policy"] = mail_policy(current_config().base_url)
    response.headers["X-Frame-Options"] = "SAMEORIGIN"
    return response


def install(app: Flask, *, secure: bool) -> None:
    """Add the headers to every response, except those that the view has set itself."""
    defaults = {
        "Content-Security-Policy": PAGE_POLICY,
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",  # for browsers that do not know frame-ancestors
        # A stricter policy breaks the CSRF check, which reads the Referer; a page without such a form may set its own.
        "Referrer-Policy": "same-origin",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=()",
    }
    if secure:
        defaults["Strict-Transport-Security"] = "max-age=31536000; includeSubDomains"

    @app.after_request
    def _headers(response: Response) -> Response:
        present = {name.lower() for name, _ in response.headers}
        for name, value in defaults.items():
            if name.lower() not in present:
                response.headers.add(name, value)
        if "cache-control" not in present and request.endpoint != "static":
            response.headers.add("Cache-Control", "no-store")
        return response
