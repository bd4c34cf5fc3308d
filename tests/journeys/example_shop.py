"""A small shop on an origin of its own, as docs/shop.md describes one: with Signet's script, and orders reported by the API.

``http://localhost:PORT/`` is the shop; the same server at ``127.0.0.1`` is the page of an affiliate that links to it.
"""

from __future__ import annotations

import json
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

from tests.journeys.running import TIMEOUT_S

CONSENT = """
document.addEventListener("click", function (event) {
  if (event.target.id !== "agree") return;
  window.signetConsent = true;
  if (window.signet) signet.consent();
});
"""


@dataclass
class Shop:
    """What the shop knows: Signet's address, its script's tag, the API token, and the orders with their codes."""

    portal: str
    port: int = 0
    tag: str = ""
    token: str = ""
    affiliate_link: str = ""
    orders: list[tuple[str, str]] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"http://localhost:{self.port}/"

    @property
    def blog(self) -> str:
        """The affiliate's page, on another origin."""
        return f"http://127.0.0.1:{self.port}/blog"

    def page(self, path: str) -> str:
        link = f'<a id="buy" href="{self.affiliate_link}">Buy tea</a>'
        bodies = {
            "/": '<h1>Shop</h1><a id="tea" href="/tea">Tea</a> <button id="agree">I agree to cookies</button>',
            "/tea": '<h1>Tea</h1><form method="post" action="/checkout" data-signet><button>Buy</button></form>',
            "/blog": f"<h1>My blog</h1>{link}",
        }
        head = "" if path == "/blog" else f'{self.tag}<script src="/consent.js" defer></script>'
        return f'<!doctype html><html lang="en"><head><title>Shop</title>{head}</head><body>{bodies[path]}</body></html>'

    def check_out(self, code: str) -> None:
        """Take an order, and report it to Signet if it came with a code."""
        order = f"T-{len(self.orders) + 1}"
        self.orders.append((order, code))
        if not code:
            return
        data = {"order": order, "amount": "80.00", "currency": "EUR", "commission": "12.00"}
        request = urllib.request.Request(
            f"{self.portal}/api/v1/events",
            json.dumps({"event": "purchase", "affiliate": {"code": code}, "data": data}).encode(),
            {
                "Authorization": f"Bearer {self.token}",
                "Content-Type": "application/json",
                "Idempotency-Key": f'"purchase-{order}"',
            },
        )
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
            assert response.status == 201


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, shop: Shop, *args: object) -> None:
        self.shop = shop
        super().__init__(*args)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/consent.js":
            self.answer(200, CONSENT, "text/javascript")
        elif path in {"/", "/tea", "/blog"}:
            self.answer(200, self.shop.page(path))
        else:
            self.answer(404 if path != "/favicon.ico" else 204, "")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.shop.check_out(parse_qs(body).get("ref", [""])[0])
        self.answer(200, "<!doctype html><title>Thanks</title><h1>Thank you for your order</h1>")

    def answer(self, status: int, text: str, media_type: str = "text/html") -> None:
        body, portal = text.encode(), self.shop.portal
        self.send_response(status)
        self.send_header("Content-Type", f"{media_type}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        policy = f"default-src 'self'; script-src 'self' {portal}; connect-src {portal}; form-action 'self'"
        self.send_header("Content-Security-Policy", policy)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args: object) -> None:
        """Log nothing."""


@contextmanager
def running_shop(portal: str) -> Iterator[Shop]:
    """Run the shop for the duration of the block."""
    shop = Shop(portal)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, shop)) as server:
        shop.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield shop
        finally:
            server.shutdown()
            thread.join()
