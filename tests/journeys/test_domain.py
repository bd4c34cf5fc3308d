"""An owner without the provider in the SPF record publishes the recommended record, and the domain check passes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.domains.sample_domains import good
from tests.domains.zones import Zones
from tests.journeys.conftest import log_in_as_owner
from tests.journeys.running import RunningPortal
from tests.page_report.rules import violations_on

DOMAIN = "brightleaf.example"


@pytest.fixture
def zones() -> Iterator[Zones]:
    with Zones(good(DOMAIN, spf="v=spf1 include:_spf.google.com -all")) as server:
        yield server


@pytest.fixture
def portal(tmp_path: Path, seeded: Path, zones: Zones) -> Iterator[RunningPortal]:
    running = RunningPortal(
        tmp_path / "instance",
        SIGNET_DNS_SERVERS=f"127.0.0.1:{zones.at.port}",
        SIGNET_REHEARSAL_PLAYS="smtp.mailgun.org",
    )
    with running.running_with(seeded):
        yield running


def go_live(page: Page) -> None:
    page.get_by_label("Provider", exact=True).select_option(value="mailgun")
    page.get_by_label("SMTP Server").fill("smtp.mailgun.org")
    page.get_by_label("SMTP Username").fill(f"postmaster@{DOMAIN}")
    page.locator("[name=password]").fill("rehearsal")
    page.get_by_role("button", name="Save SMTP Settings").click()
    page.locator("#check[data-live=off]").wait_for()


def test_publishing_the_recommended_record_changes_the_status(
    portal: RunningPortal, page: Page, zones: Zones
) -> None:
    log_in_as_owner(portal, page)
    go_live(page)
    page.get_by_role("link", name="Sending domain").click()
    check_now = page.get_by_role("button", name=re.compile("Check again|Check now"))
    if check_now.count():  # else the worker's sweep has started a check already
        check_now.click()
    page.locator("#spf").wait_for()
    expect(page.get_by_role("heading", name="At risk")).to_be_visible()
    spf = page.locator("#spf")
    expect(spf).to_contain_text("does not include Mailgun")
    expect(spf).to_contain_text("v=spf1 include:_spf.google.com -all")

    spf.get_by_text("How receivers read it").click()
    expect(spf.locator(".spf-tree")).to_contain_text("include:_spf.google.com")
    record = page.locator("#spf-value-1").inner_text()
    assert record == "v=spf1 include:_spf.google.com include:mailgun.org -all"
    spf.get_by_role("button", name=re.compile("Copy the value")).click()

    zones.put(DOMAIN, "TXT", record)
    page.get_by_role("button", name="Check again").click()
    expect(page.get_by_role("heading", name="No problems", exact=True)).to_be_visible()
    expect(page.locator("#spf")).to_contain_text("it includes mailgun.org")
    expect(page.locator("#spf .zone-wanted")).to_have_count(0)


def test_a_full_page_is_accessible_and_fits(portal: RunningPortal, browser: Browser) -> None:
    context = browser.new_context()
    page = context.new_page()
    log_in_as_owner(portal, page)
    go_live(page)
    address = f"{portal.base}/settings/sending-domain"
    page.goto(address)
    page.get_by_role("button", name=re.compile("Check again|Check now")).click()
    page.locator("#spf").wait_for()
    violations = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        for width in (1280, 390):
            page.set_viewport_size({"width": width, "height": 900})
            violations += [f"{scheme}: {one}" for one in violations_on(page, address, width)]
    assert not violations, "\n".join(violations)
    context.close()


def test_a_selector_is_added_without_script(portal: RunningPortal, browser: Browser, zones: Zones) -> None:
    del zones.zone[(f"pdk1._domainkey.{DOMAIN}", "TXT")]
    zones.put(
        f"mine._domainkey.{DOMAIN}",
        "TXT",
        "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=",
    )
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    log_in_as_owner(portal, page)
    page.get_by_label("Provider", exact=True).select_option(value="mailgun")
    page.get_by_label("SMTP Server").fill("smtp.mailgun.org")
    page.get_by_label("SMTP Username").fill(f"postmaster@{DOMAIN}")
    page.locator("[name=password]").fill("rehearsal")
    page.get_by_label("SMTP Port").fill("587")
    page.get_by_role("button", name="Save SMTP Settings").click()
    page.goto(f"{portal.base}/settings/sending-domain")
    page.get_by_role("textbox", name="DKIM selector").fill(f"mine._domainkey.{DOMAIN}")
    page.get_by_role("button", name="Check this selector").click()
    # Without script the page reloads itself until the check has ended.
    expect(page.locator("#dkim")).to_contain_text("A key is published under mine")
    context.close()
