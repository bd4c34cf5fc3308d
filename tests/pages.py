"""A test client that validates the HTML of every page, and helpers that submit forms."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import html5lib
from flask import has_app_context
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from portal.db import db
from tests import passed_pages

# Texts and values of letters, digits, harmless signs and character references. No rule of the lint depends on them: they
# end no tag, comment or attribute, and hold nothing that is invalid in a page.
_HARMLESS = r"[\w.,:;()?%@+\u00a1-\u00ff\u2010-\u2027-]|&(?:amp|lt|gt|quot|#34|#39);"
_TEXT = re.compile(rf"(?<=>)([ \n]*+)(?:{_HARMLESS})(?:{_HARMLESS}|[ \n])*+(?=<)")
_NAMES = "action|alt|aria-label|content|data-[a-z-]+|datetime|href|placeholder|src|title|value"
_VALUE = re.compile(rf'(\s(?:{_NAMES})=")(?:{_HARMLESS}|[ =]|/(?!/))++(?=")')
_RULES = Path(__file__).read_bytes() + html5lib.__version__.encode()
_STARTED = re.compile(r'<input type="hidden" name="(started)" value="([^"]*)"')
_NS = "{http://www.w3.org/1999/xhtml}"


class LintingClient(FlaskClient):
    """A client that checks every HTML page it receives for validity, security and accessibility."""

    def open(self, *args: Any, **kwargs: Any) -> TestResponse:
        if has_app_context():
            db.session.commit()  # the request sees the rows of the test and does not wait for its locks
        with (
            self.application.app_context()
        ):  # each request has a session and a `g` of its own, as in a server
            response = super().open(*args, **kwargs)
        policy = response.headers.get("Content-Security-Policy", "")
        if (
            response.mimetype == "text/html"
            and response.request.method != "HEAD"
            and response.status_code not in {301, 302, 303}
            and "sandbox" not in policy
        ):
            lint(response.get_data(as_text=True), policy)
        return response

    def submit(
        self, url: str, fields: dict[str, Any], *, page: str | None = None, **more: Any
    ) -> TestResponse:
        """Fetch the page with the form, then submit it as a browser would, with its CSRF token."""
        form_page = self.get(page or url)
        html = form_page.get_data(as_text=True)
        started = dict(_STARTED.findall(html))  # the form's timestamp (bot check), which a browser sends back
        return self.post(url, data={"csrf_token": csrf_token(html), **started, **fields}, **more)


def downloaded(browser: LintingClient, url: str) -> TestResponse:
    """Press a button that downloads a file, which needs a proof of person and a CSRF token, but no field."""
    return browser.submit(url, {}, page="/account")


def csrf_token(html: str) -> str:
    """Return the CSRF token of a page."""
    found = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', html)
    assert found, "the page has no form with a CSRF token"
    return found.group(1)


def lint(html: str, policy: str) -> None:
    """Fail with the rule that the page violates. Pages that differ only in texts and values are checked once."""
    digest = passed_pages.digest_of(_RULES, f"{policy}\n{form_of(html)}")
    if not passed_pages.has_passed(digest):
        _lint(html, policy)
        passed_pages.add(digest)


def form_of(html: str) -> str:
    """Return a page with the same sign in the place of each plain text and value."""
    return _VALUE.sub(r"\1x", _TEXT.sub(r"\1x", html))


def _lint(html: str, policy: str) -> None:
    parser = html5lib.HTMLParser(tree=html5lib.getTreeBuilder("etree"), strict=False)
    tree = parser.parse(html)
    errors = [error for error in parser.errors if error[1] not in {"unexpected-char-in-entity"}]
    assert not errors, f"the page is not valid HTML: {errors[:3]}"
    elements = [e for e in tree.iter() if isinstance(e.tag, str)]
    named = lambda tag: [e for e in elements if e.tag == _NS + tag]  # noqa: E731

    assert "unsafe" not in policy, "no page relaxes its content security policy"
    fragment = not any(e.text and e.text.strip() for e in named("title"))
    if not fragment:
        assert len(named("h1")) == 1, "a page has one h1"
        assert named("html")[0].get("lang"), "a page names its language"
    ids = [e.get("id") for e in elements if e.get("id")]
    assert len(ids) == len(set(ids)), f"ids are unique: {sorted({i for i in ids if ids.count(i) > 1})}"
    for e in elements:
        assert e.get("style") is None, "no inline style"
        assert not [a for a in e.attrib if a.startswith("on")], "no inline script"
    for script in named("script"):
        assert script.get("src"), "no inline script"
    assert not named("style"), "no inline style"
    for form in named("form"):
        if form.get("method", "get").lower() == "post":
            tokens = [e for e in form.iter(_NS + "input") if e.get("name") == "csrf_token"]
            assert tokens, f"a form that posts to {form.get('action')} carries a CSRF token"
    _lint_labels(elements, ids)
    for image in named("img"):
        assert image.get("alt") is not None, "an image has an alt text"
    for link in named("link") + named("script") + named("img"):
        target = link.get("href") or link.get("src") or ""
        assert not urlsplit(target).netloc, f"no asset from elsewhere: {target}"
    for field in named("input"):
        assert not (field.get("type") == "password" and field.get("value")), "a password is never sent back"


def _lint_labels(elements: list[Any], ids: list[str]) -> None:
    labelled = {e.get("for") for e in elements if e.tag == _NS + "label"}
    for e in elements:
        if e.tag not in {_NS + t for t in ("input", "select", "textarea")}:
            continue
        if e.get("type") in {"hidden", "submit", "button"}:
            continue
        assert e.get("id") in labelled or e.get("aria-label"), f"the field {e.get('name')} has a label"
        for id_ in (e.get("aria-describedby") or "").split():
            assert id_ in ids, f"aria-describedby names {id_}, which is not on the page"
