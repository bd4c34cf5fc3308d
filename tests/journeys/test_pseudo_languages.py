"""Pseudo-languages on the affiliate's side: sentences 40 % longer, and written from right to left, scroll no page sideways."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from tests.journeys.running import RunningPortal
from tests.journeys.test_events import text_of
from tests.journeys.test_languages import _mails
from tests.page_report.rules import LONGER

WIDTHS = (320, 390)
_RIGHT_TO_LEFT = "() => { document.documentElement.dir = 'rtl'; document.documentElement.lang = 'ar'; }"


@pytest.fixture
def portal(tmp_path: Path, seeded: Path) -> Iterator[RunningPortal]:
    running = RunningPortal(tmp_path / "instance")
    with running.running_with(seeded):
        yield running


def _addresses(page: Page, portal: RunningPortal) -> list[str]:
    """Sign up, confirm, and return every page that the affiliate reaches."""
    page.goto(f"{portal.base}/join/brightleaf")
    page.locator("[name=name]").fill("Noa Levi")
    page.locator("[name=mailbox]").fill("noa@levi.example")
    page.locator("main input[type=checkbox]").check()
    page.locator("main button[type=submit]").click()
    page.wait_for_url("**/thanks")
    portal.wait_for(lambda: _mails(portal))
    confirm = re.search(r"http://\S+/confirm-sign-up/[A-Za-z0-9_-]+", text_of(_mails(portal)[0]))
    assert confirm is not None
    page.goto(confirm.group())
    page.locator("main button[type=submit]").first.click()
    dashboard = page.locator("a[href*='/affiliate/']").first.get_attribute("href") or ""
    page.goto(dashboard)
    found = {
        link.get_attribute("href") or ""
        for link in page.locator("main a[href*='/preferences/'], main a[href*='/erasure']").all()
    }
    inner = [one if one.startswith("http") else portal.base + one for one in sorted(found)]
    assert len(inner) >= 2
    outer = [
        "/join/brightleaf",
        "/join/brightleaf/thanks",
        "/join/brightleaf/my-page",
        "/affiliate",
        "/r/UNKNOWN",
        "/nothing",
    ]
    return [confirm.group(), dashboard, *inner, *(portal.base + one for one in outer)]


def test_long_sentences_and_those_from_right_to_left_fit_a_phone(
    portal: RunningPortal, browser: Browser
) -> None:
    with browser.new_context(bypass_csp=True) as context:
        page = context.new_page()
        too_wide = []
        for address in _addresses(page, portal):
            for width in WIDTHS:
                page.set_viewport_size({"width": width, "height": 800})
                page.goto(address)
                page.evaluate(LONGER)
                for change in ("() => {}", _RIGHT_TO_LEFT):
                    page.evaluate(change)
                    shown = page.evaluate("document.documentElement.scrollWidth")
                    if shown > width:
                        too_wide.append(f"{address} {width}: {shown} {change[:8]}")
        assert too_wide == []
