"""A visitor comes through an affiliate's link to a shop on another origin and buys; the affiliate reads about it."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.journeys.example_shop import Shop, running_shop
from tests.journeys.running import RunningPortal
from tests.journeys.test_events import mail_about, make_token, sign_up, text_of
from tests.journeys.test_owner import fill_rehearsal, save


@pytest.fixture
def shop(portal: RunningPortal) -> Iterator[Shop]:
    with running_shop(portal.base) as running:
        yield running


def save_programme(page: Page, portal: RunningPortal, shop: Shop, form: str) -> None:
    """Save the shop's address and the form of the links, and copy the script's tag into the shop."""
    page.goto(f"{portal.base}/programme")
    page.locator("[name=shop_url]").fill(shop.address)
    page.get_by_label(form).check()
    page.get_by_role("button", name="Save settings").click()
    page.get_by_text("The programme settings are saved").wait_for()
    shop.tag = page.locator("#shop-script").inner_text()


def test_a_visit_a_purchase_an_email_and_the_dashboard(
    portal: RunningPortal, log_in: Page, shop: Shop, browser: Browser
) -> None:
    page = log_in
    fill_rehearsal(page)
    save(page)
    save_programme(page, portal, shop, "Short link of this portal")
    shop.token = make_token(page, portal)
    sign_up(page, portal)
    welcome = text_of(mail_about(portal, "carries your code"))
    shop.affiliate_link = re.search(rf"{portal.base}/r/[A-Z0-9]+", welcome).group()
    dashboard = re.search(rf"{portal.base}/affiliate/[\w-]+", welcome).group()
    code = shop.affiliate_link.rpartition("/")[2]

    visitor = browser.new_context()
    tab, faults = visitor.new_page(), []
    tab.on(
        "console",
        lambda message: faults.append(message.text) if message.type in {"error", "warning"} else None,
    )
    tab.on("pageerror", lambda error: faults.append(str(error)))

    # Without consent, addresses carry the code and nothing is stored.
    tab.goto(shop.blog)
    tab.locator("#buy").click()
    tab.wait_for_url(f"{shop.address}?ref={code}")
    tab.wait_for_function("window.signet && signet.code()")
    tab.locator("#tea").click()
    tab.wait_for_url(f"{shop.address}tea?ref={code}")
    tab.wait_for_function("window.signet && signet.code()")
    assert tab.evaluate("[localStorage.length, sessionStorage.length, document.cookie]") == [0, 0, ""]
    tab.get_by_role("button", name="Buy").click()
    tab.get_by_role("heading", name="Thank you for your order").wait_for()
    assert shop.orders == [("T-1", code)]

    # After consent the code is stored, and a visit without it in the address buys with it.
    tab.goto(f"{shop.address}?ref={code}")
    tab.wait_for_function("window.signet && signet.code()")
    tab.locator("#agree").click()
    tab.wait_for_function("localStorage.length === 1")
    tab.goto(f"{shop.address}tea")
    tab.wait_for_function("window.signet && signet.code()")
    tab.get_by_role("button", name="Buy").click()
    tab.get_by_role("heading", name="Thank you for your order").wait_for()
    assert shop.orders[1] == ("T-2", code)
    tab.goto(shop.address)
    tab.evaluate("signet.forget()")
    tab.goto(f"{shop.address}tea")
    tab.wait_for_function("window.signet")
    assert tab.evaluate("[signet.code(), localStorage.length]") == ["", 0]
    assert visitor.cookies(portal.base) == []
    assert not faults, faults

    assert "80.00" in text_of(mail_about(portal, "T-1"))
    mail_about(portal, "T-2")
    portal.wait_for(lambda: page.goto(dashboard) and "1 in the last 30 days, 1 in total" in page.content())
    expect(page.get_by_role("table").filter(has_text="T-1").first).to_be_visible()
    expect(page.locator("#link")).to_have_text(shop.affiliate_link)
    page.get_by_text("Show QR code").click()
    picture = page.get_by_alt_text("QR code of your link")
    assert picture.evaluate("image => image.complete && image.naturalWidth > 0")

    # With links straight to the shop, its script reports the visits.
    save_programme(page, portal, shop, "with ?ref=CODE")
    page.goto(dashboard)
    expect(page.locator("#link")).to_have_text(f"{shop.address}?ref={code}")
    assert "in the last 30 days" not in page.content()
    shop.affiliate_link = f"{shop.address}?ref={code}"
    tab.goto(shop.blog)
    tab.locator("#buy").click()
    tab.wait_for_url(shop.affiliate_link)
    portal.wait_for(lambda: page.goto(dashboard) and "2 in the last 30 days, 2 in total" in page.content())
    tab.goto(f"{portal.base}/r/{code}")
    tab.wait_for_url(f"{shop.address}?ref={code}&ref_counted=1")
    portal.wait_for(lambda: page.goto(dashboard) and "3 in the last 30 days, 3 in total" in page.content())
    assert not faults, faults
    visitor.close()
