"""Authorization servers made by others: npm oidc-provider and npm oauth2-mock-server, on Node."""

from __future__ import annotations

import json
import shutil
import sys
import urllib.request
from html.parser import HTMLParser
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urljoin, urlsplit

from .servers import TIMEOUT_S, Started

CLIENT, SECRET = "11112222-3333-4444-5555-666677778888", "canary~Client-Secret.1234567890abcdef"
INTROSPECTION = "introspection-secret-1234567890"  # of the mail server's client
SCOPE = "https://outlook.office.com/SMTP.Send"
_HERE = Path(__file__).parent


def node_modules() -> Path:
    return Path(sys.prefix) / "interop" / "node_modules"


def oidc_provider_missing() -> str | None:
    return _missing("oidc-provider")


def oauth2_mock_server_missing() -> str | None:
    return _missing("oauth2-mock-server")


def _missing(package: str) -> str | None:
    if shutil.which("node") is None:
        return "node was not found"
    if not (node_modules() / package).is_dir():
        return f"{package} was not found; tests/interop.sh installs it beside the tests"
    return None


class OidcProvider(Started):
    """npm oidc-provider at Microsoft's paths: code with PKCE, rotation with detection of reuse, introspection."""

    def __init__(self, portal: str, lifetime_s: int = 3600, *, scope: str = SCOPE) -> None:
        super().__init__(1)
        self._portal = portal
        self._scope = scope
        self._lifetime_s = lifetime_s

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.ports[0]}"

    def configure(self) -> None:
        settings = {
            "issuer": self.url,
            "port": self.ports[0],
            "client": CLIENT,
            "secret": SECRET,
            "introspection": INTROSPECTION,
            "scope": self._scope,
            "redirects": [f"{self._portal}/oauth/callback/microsoft"],
            "lifetime": self._lifetime_s,
        }
        self.start(["node", _HERE / "oidc_provider.mjs", node_modules(), json.dumps(settings)])

    def counts(self) -> dict[str, int]:
        """Return how many codes and refresh tokens were accepted, and how many requests were refused."""
        with urllib.request.urlopen(f"{self.url}/counts", timeout=TIMEOUT_S) as answer:
            found: dict[str, int] = json.load(answer)
        return found

    def withdraw(self) -> None:
        """Withdraw every consent, as a person does at the account page of a provider."""
        urllib.request.urlopen(f"{self.url}/withdraw", timeout=TIMEOUT_S).close()


class MockServer(Started):
    """npm oauth2-mock-server; ``answer`` scripts what its token endpoint says from now on."""

    def __init__(self) -> None:
        super().__init__(1)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.ports[0]}"

    def configure(self) -> None:
        command = ["node", _HERE / "oauth_faults.mjs", node_modules(), str(self.ports[0])]
        self.start([*command, self.home / "answer.json"])

    def answer(self, status: int = 0, body: dict[str, Any] | None = None) -> None:
        """Answer every request with this; without arguments, as a correct server does."""
        path = self.home / "answer.json"
        if status:
            path.write_text(json.dumps({"status": status, "body": body or {}}))
        else:
            path.unlink(missing_ok=True)


class _Form(HTMLParser):
    """The first form of a page: its address and hidden fields."""

    def __init__(self) -> None:
        super().__init__()
        self.action = ""
        self.fields: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        if tag == "form" and not self.action:
            self.action = found.get("action", "")
        if tag == "input" and found.get("type") == "hidden":
            self.fields[found["name"]] = found.get("value", "")


class _Stop(urllib.request.HTTPRedirectHandler):
    """Follows redirects within the authorization server; the one to the portal is the result."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        if urlsplit(newurl).netloc != urlsplit(req.full_url).netloc:
            raise _Left(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class _Left(Exception):
    """The browser is sent to another server."""


def walk(url: str, mailbox: str) -> str:
    """Log in as a mailbox and consent on the pages of oidc-provider; return the address of the callback."""
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()), _Stop())
    data: bytes | None = None
    for _ in range(6):
        try:
            with browser.open(url, data, TIMEOUT_S) as answer:
                form, here = _Form(), answer.geturl()
                form.feed(answer.read().decode())
        except _Left as left:
            return str(left)
        assert form.action, "the page has a form"
        url = urljoin(here, form.action)
        data = urlencode({**form.fields, "login": mailbox, "password": "any"}).encode()
    raise AssertionError("the pages lead to no callback")
