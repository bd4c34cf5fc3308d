"""Every page, at two widths, in light and dark: accessible, nothing cut off, nothing complained about."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser

from tests.journeys.conftest import log_in_as_owner
from tests.journeys.running import RunningPortal
from tests.journeys.test_owner import fill_rehearsal, join, save

LOGGED_IN = [
    "/settings/email-preferences",
    "/settings/email-preferences?provider=zoho",
    "/settings/explain",
    "/settings/sending-domain",
    "/automated-emails",
    "/automated-emails/new-sign-up",
    "/deliveries",
    "/deliveries?status=failed",
    "/deliveries/1",
    "/deliveries/2",
    "/affiliates",
    "/settings/api",
    "/settings/api/play",
    "/settings/api/play?event=payout",
    "/settings/api/reference",
    "/account",
    "/operator/outbox",
    "/rehearsal/inbox",
    "/rehearsal/faults",
    "/no-such-page",
]
PUBLIC = ["/log-in", "/register", "/forgot-password", "/join/brightleaf", "/join/brightleaf/thanks"]


@pytest.fixture(scope="module")
def portal(
    tmp_path_factory: pytest.TempPathFactory, seeded: Path, browser: Browser
) -> Iterator[RunningPortal]:
    """One portal for all looks, in which something went wrong, so that there is something to see."""
    running = RunningPortal(tmp_path_factory.mktemp("pages") / "instance")
    with running.beginning_with(seeded):
        with browser.new_context() as context:
            page = log_in_as_owner(running, context.new_page())
            join(page, running, "Pia Proper", "recipient-refused@visitors.example")
            page.goto(f"{running.base}/settings/email-preferences")
            fill_rehearsal(page, password="wrong")
            save(page)
        yield running


@pytest.mark.parametrize(
    ("width", "scheme"),
    [
        (1280, "light"),
        (390, "dark"),
        # Colours hardly depend on the width, nor the layout on the colours.
        pytest.param(1280, "dark", marks=pytest.mark.thorough),
        pytest.param(390, "light", marks=pytest.mark.thorough),
    ],
)
def test_every_page_is_accessible_and_fits(
    portal: RunningPortal, browser: Browser, width: int, scheme: str
) -> None:
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)  # type: ignore[arg-type]
    page = context.new_page()
    faults = [fault for path in PUBLIC for fault in judge(page, portal.base + path, width)]
    log_in_as_owner(portal, page)
    faults += [fault for path in LOGGED_IN for fault in judge(page, portal.base + path, width)]
    assert not faults, "\n".join(faults)
    context.close()


def judge(page, url: str, width: int) -> list[str]:  # type: ignore[no-untyped-def]
    """The faults of one page."""
    page.goto(url)
    result = Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]})
    faults = [
        f"{url}: {one['id']}: {one['nodes'][0]['html'][:200]} {one['nodes'][0]['failureSummary'][:300]}"
        for one in result.response["violations"]
    ]
    wide = page.evaluate("document.documentElement.scrollWidth")
    return faults + ([f"{url}: {wide} px wide at {width}"] if wide > width else [])
