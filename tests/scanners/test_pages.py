"""Hostile texts on the pages that save, preview and send them, and on the public forms: the work grows linearly."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from portal.db import db
from tests.pages import csrf_token
from tests.scanners.entries import HOSTILE
from tests.scanners.measure import growth_of

EDITOR = "/automated-emails/new-purchase"
BOMBS = (
    "{{",
    "{%",
    "<a ",
    "$A$",
    "<!--",
    "formatting across paragraphs",
    "many variables",
    "\u0301\u0323",
    " ",
)
LENGTHS = (10_000, 90_000)  # within the limit of a text, and beyond it: a form may hold 512 KiB
PUBLIC = ("\u0301\u0323", "a@", "@", ".", " ", "\u202e", "&", "a")
numbers = count(
    1
)  # of clients: one of its own for each request, so that no limit answers instead of the form


def _measure(
    browser: FlaskClient, page: str, text: tuple[str, int], expected: set[int], /, **fields: str
) -> None:
    """Post texts of such a hostile kind and of two lengths in the place of ``{}``, and compare their processor time."""
    token = csrf_token(browser.get(page).get_data(as_text=True))
    url = fields.pop("url", page)

    def post(text: str) -> None:
        sent = {name: value.replace("{}", text) for name, value in fields.items()}
        number = next(numbers)
        answer = browser.post(
            url,
            data={"csrf_token": token, **sent},
            content_type="multipart/form-data",  # which does not make three characters of each
            environ_base={"REMOTE_ADDR": f"192.0.{2 + number // 250}.{number % 250 + 1}"},
        )
        assert answer.status_code in expected, (answer.status_code, answer.get_data(as_text=True)[:500])

    bomb, octets = text
    assert growth_of(post, _of_octets(bomb), octets) is None


def _of_octets(bomb: str) -> Callable[[int], str]:
    per_character = len(HOSTILE[bomb](100).encode()) / 100
    return lambda octets: HOSTILE[bomb](int(octets / per_character))


class Browser(FlaskClient):
    """A browser that does not validate each page, which would be most of the work."""

    def open(self, *args: Any, **kwargs: Any) -> TestResponse:
        db.session.commit()
        with self.application.app_context():
            return super().open(*args, **kwargs)


@pytest.fixture
def plain(app: Flask, owner: FlaskClient) -> Browser:
    """The browser of the owner."""
    browser = Browser(app, app.response_class, use_cookies=True)
    browser._cookies = owner._cookies  # type: ignore[attr-defined]
    return browser


@pytest.mark.parametrize("bomb", BOMBS)
def test_previewing_saving_and_testing_a_text(plain, bomb):
    for length in LENGTHS:
        texts = (bomb, length)
        form = {"subject": "x", "html": "{}", "text": "", "based_on": "0"}
        _measure(plain, EDITOR, texts, {200}, url=f"{EDITOR}/live-preview", **form)
        for operation in ("preview", "test", "save"):
            _measure(plain, EDITOR, texts, {303, 409, 422}, operation=operation, **form)


@pytest.mark.parametrize("bomb", PUBLIC)
def test_signing_up_registering_and_logging_in(app, owner, bomb):
    stranger = Browser(app, app.response_class, use_cookies=True)
    texts = (bomb, 60_000)  # in four fields, within 512 KiB
    _measure(stranger, "/join/brightleaf", texts, {422}, name="{}", mailbox="a@b.example", consent="y")
    _measure(stranger, "/join/brightleaf", texts, {422}, name="Ada", mailbox="{}@b.example", consent="y")
    _measure(stranger, "/log-in", texts, {422}, mailbox="{}", password="{}")
    fields = {"programme": "{}", "name": "{}", "mailbox": "{}", "password": "{}"}
    if stranger.get("/register").status_code == 200:
        _measure(stranger, "/register", texts, {422}, **fields)
