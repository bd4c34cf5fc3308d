"""From a passed check to the seal: the button of the test email, its pasted headers, and the records of the domain."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.arrival import receivers
from tests.domains.sample_domains import good
from tests.domains.zones import Zones
from tests.journeys.conftest import log_in_as_owner
from tests.journeys.running import RunningPortal
from tests.journeys.test_domain import DOMAIN, go_live
from tests.page_report.rules import violations_on

SETTINGS = "/settings/email-preferences"


@pytest.fixture
def portal(tmp_path: Path, seeded: Path) -> Iterator[RunningPortal]:
    with Zones(good(DOMAIN)) as zones:
        running = RunningPortal(
            tmp_path / "instance",
            SIGNET_DNS_SERVERS=f"127.0.0.1:{zones.at.port}",
            SIGNET_REHEARSAL_PLAYS="smtp.mailgun.org",
        )
        with running.running_with(seeded):
            yield running


def test_the_seal_needs_connection_from_and_domain(
    portal: RunningPortal, page: Page, browser: Browser
) -> None:
    log_in_as_owner(portal, page)
    go_live(page)
    seal = page.locator(".seal-words")
    expect(seal).to_have_text("Not complete")
    page.goto(f"{portal.base}/rehearsal/inbox")
    page.get_by_role("link", name=re.compile("Welcome to Brightleaf")).first.click()
    message = unescape(page.content())
    link = re.search(r"/arrived/[A-Za-z0-9_-]{43}", message)
    header_id = re.search(rf"<[0-9a-f]{{24}}@{DOMAIN}>", message)
    assert link
    assert header_id

    reader = browser.new_context().new_page()
    reader.goto(portal.base + link[0])
    reader.get_by_role("button", name="It arrived").click()
    expect(reader.get_by_role("heading", name="It arrived")).to_be_visible()
    reader.context.close()
    page.goto(portal.base + SETTINGS)
    expect(page.locator("#versions")).to_contain_text("Received")

    page.get_by_role("link", name="Arrival", exact=True).click()
    page.get_by_label("Headers of the test email").fill("Subject: no headers")
    page.get_by_role("button", name="Compare").click()
    expect(page.locator(".has-error")).to_contain_text("These headers are incomplete")
    page.get_by_label("Headers of the test email").fill(receivers.received(receivers.GMAIL, header_id[0]))
    page.get_by_role("button", name="Compare").click()
    expect(page.get_by_text("The From address arrived unchanged.")).to_be_visible()
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        for width in (1280, 390):
            page.set_viewport_size({"width": width, "height": 900})
            assert not violations_on(page, f"{portal.base}/settings/arrival", width)

    page.goto(f"{portal.base}/settings/sending-domain")
    look = page.get_by_role("button", name=re.compile("Check again|Check now"))
    if look.count():
        look.click()
    expect(page.get_by_role("heading", name="No problems", exact=True)).to_be_visible()
    page.goto(portal.base + SETTINGS)
    expect(seal).to_have_text("Your own domain")
    expect(page.locator("#sender-status")).to_have_attribute("data-code", "own-domain")
