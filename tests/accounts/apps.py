"""An authenticator app, by RFC 6238 and without the library of the portal, and browsers that use one."""

from __future__ import annotations

import base64
import hmac
import html
import re
from dataclasses import dataclass
from datetime import timedelta

from portal.clock import utcnow
from tests.conftest import PASSWORD
from tests.pages import LintingClient, csrf_token

PAGE, STEP = "/account/second-factor", "/log-in/second"
NEW_APP = f"{PAGE}/app"
_CODE = re.compile(r"<li>([0-9a-z]{4}(?:-[0-9a-z]{4}){3})</li>")


@dataclass
class App:
    """The secret of one entry of an app, in base 32."""

    secret: str

    def code(self, *, steps: int = 0) -> str:
        """Return the code of now, or of some steps of 30 seconds later."""
        count = int((utcnow() + steps * timedelta(seconds=30)).timestamp()) // 30
        digest = hmac.digest(base64.b32decode(self.secret), count.to_bytes(8, "big"), "sha1")
        start = digest[-1] & 15
        number = int.from_bytes(digest[start : start + 4], "big") & 0x7FFFFFFF
        return f"{number % 1_000_000:06}"

    def wrong(self) -> str:
        """Return six digits that are no code of now."""
        near = {self.code(steps=steps) for steps in range(-2, 3)}
        return next(
            code for code in ("000000", "111111", "222222", "333333", "444444", "555555") if code not in near
        )


def begin(browser: LintingClient) -> tuple[App, str, str]:
    """Open the set-up; return the app that has scanned the key, the hidden field, and the CSRF token."""
    answer = browser.get(NEW_APP)
    text = answer.get_data(as_text=True)
    assert answer.status_code == 200, text
    shown = re.search(r'id="app-key">([A-Z2-7 ]+)<', text)[1]
    hidden = re.search(r'name="secret"[^>]*value="([^"]*)"', text)[1]
    return App(shown.replace(" ", "")), html.unescape(hidden), csrf_token(text)


def set_up(browser: LintingClient) -> tuple[App, list[str]]:
    """Set up an app; return it, and the recovery codes. The code of now has counted."""
    app, hidden, token = begin(browser)
    answer = browser.post(NEW_APP, data={"csrf_token": token, "secret": hidden, "code": app.code()})
    assert answer.status_code in {200, 303}, answer.get_data(as_text=True)
    return app, codes_in(answer.get_data(as_text=True))


def first_step(browser: LintingClient, mailbox: str, password: str = PASSWORD) -> str:
    """Enter the password; return where that leads."""
    answer = browser.submit("/log-in", {"mailbox": mailbox, "password": password})
    return answer.headers.get("Location", str(answer.status_code))


def second_step(browser: LintingClient, code: str, **more: object) -> int:
    return browser.submit(STEP, {"code": code}, **more).status_code


def codes_in(text: str) -> list[str]:
    return _CODE.findall(text)
