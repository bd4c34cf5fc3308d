"""Every page at two widths, in light and dark, in English and German: accessible, and no wider than the window."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.journeys.conftest import log_in_as_owner
from tests.journeys.running import RunningPortal
from tests.page_report import lighthouse
from tests.page_report.portal import LOGGED_IN, PUBLIC, choose_language, run_filled_portal
from tests.page_report.rules import FITTING, LONGER, accessibility_violations, new_page, open_page, too_wide


@pytest.fixture(scope="module")
def portal(
    tmp_path_factory: pytest.TempPathFactory, seeded: Path, browser: Browser
) -> Iterator[RunningPortal]:
    """One portal for all tests, with failed settings and messages, so that pages have content."""
    with run_filled_portal(tmp_path_factory.mktemp("pages"), seeded, browser) as running:
        yield running


@pytest.mark.parametrize(
    ("view", "language"),
    [
        ("390 px, dark", "de"),  # the only one that make test runs, which takes the first and the last
        ("1280 px, light", "en"),
        # Colours depend little on the width, and the layout does not depend on colours.
        pytest.param("1280 px, dark", "en", marks=pytest.mark.thorough),
        pytest.param("390 px, light", "en", marks=pytest.mark.thorough),
    ],
)
def test_every_page_is_accessible_and_fits(
    portal: RunningPortal, browser: Browser, view: str, language: str
) -> None:
    violations = []
    with new_page(browser, view, locale=language) as page:
        size = page.viewport_size
        assert size is not None
        for number, path in enumerate([*PUBLIC, *LOGGED_IN]):
            if number == len(PUBLIC):
                log_in_as_owner(portal, page)
                choose_language(page, portal, language)
            page.set_viewport_size(size)
            open_page(page, portal.base + path)
            violations += accessibility_violations(page)
            violations += too_wide(page, FITTING)
            if language == "en":  # German is about as long as English with these words
                page.evaluate(LONGER)
                violations += [f"longer words: {line}" for line in too_wide(page, FITTING)]
    assert not violations, "\n".join(violations)


@pytest.mark.skipif(
    not lighthouse.is_installed() and not os.environ.get("SIGNET_REQUIRE_BROWSER"),
    reason="no Lighthouse found; tests/browser.sh installs it",
)
@pytest.mark.parametrize("path", ["/join/brightleaf", "/settings/email-preferences"])
def test_lighthouse_finds_nothing_to_fix(portal: RunningPortal, browser: Browser, path: str) -> None:
    """The score for performance depends on how busy the machine is: ``make pages`` reports it."""
    cookies = None
    if path not in PUBLIC:
        with browser.new_context() as context:
            log_in_as_owner(portal, context.new_page())
            cookies = {str(one.get("name")): str(one.get("value")) for one in context.cookies()}
    result = lighthouse.measure(portal.base + path, cookies)
    wanted = {"accessibility": 100, "best-practices": 100} | ({"seo": 100} if path in PUBLIC else {})
    assert {name: result.scores[name] for name in wanted} == wanted, result.lost
