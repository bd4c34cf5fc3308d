"""Redirect addresses that the providers do not register, and the page that says so before the owner leaves."""

from __future__ import annotations

from dataclasses import replace
from html import unescape

import pytest
from flask import Flask

from portal.oauth.issuers import GOOGLE, MICROSOFT
from portal.oauth.redirects import refuses
from portal.state import get_state
from tests.pages import LintingClient
from tests.settings.conftest import text_of

PAGE = "/settings/connect/by-consent/{}"


@pytest.mark.parametrize(
    ("base", "refusing"),
    [
        ("http://localhost:8000", set()),
        ("http://127.0.0.1:8000", {MICROSOFT}),
        ("http://[::1]:8000", {MICROSOFT}),
        ("https://signet.example.com", set()),
        ("https://signet.brightleaf.example", {GOOGLE}),
        ("https://192.0.2.7", {GOOGLE}),
        ("https://signet.lan:8443", {GOOGLE}),
        ("https://signet", {GOOGLE}),
    ],
)
def test_each_provider_has_its_rule(base: str, refusing: set[str]) -> None:
    assert {one for one in (MICROSOFT, GOOGLE) if refuses(one, base)} == refusing


@pytest.mark.parametrize(
    ("base", "way", "sentence"),
    [
        ("http://127.0.0.1:8000", "microsoft", "SIGNET_BASE_URL=http://localhost:8000"),
        ("http://127.0.0.1", "outlook-com", "SIGNET_BASE_URL=http://localhost,"),
        ("http://127.0.0.1:8000", "google", "would return to 127.0.0.1, where you are not logged in"),
        ("http://localhost:8000", "microsoft", ""),
        ("https://signet.lan", "google", "It needs a public host name"),
    ],
)
def test_the_page_warns_of_an_address_that_cannot_be_connected(
    app: Flask, owner: LintingClient, base: str, way: str, sentence: str
) -> None:
    state = get_state(app)
    state.config = replace(state.config, base_url=base)
    page = unescape(text_of(owner.get(PAGE.format(way))))
    assert ("You cannot connect at this address" in page) is bool(sentence)
    assert sentence in page
