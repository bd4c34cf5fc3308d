"""200 affiliates come from a spreadsheet; one sells, finds her lost page, is erased, and no import brings her back."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.journeys.example_shop import Shop, running_shop
from tests.journeys.running import RunningPortal
from tests.journeys.test_events import GRACE, mail_about, mails, make_token, text_of
from tests.journeys.test_owner import fill_rehearsal, save
from tests.journeys.test_shop import save_programme

HEADINGS = "Full name;E-Mail;Referral code;Consent date;Consent source;Unsubscribed"
GRACE_LINE = f"Grace Hopper;{GRACE};grace-tea;31.01.2026;Form of our former shop;no"
ASKED = "asked@visitors.example"  # gave no consent elsewhere
VALID = [
    GRACE_LINE,
    f"Asta Asked;{ASKED};;;;",
    *(
        f'"Visitor, {n}";visitor-{n}@visitors.example;code-{n};01.02.2026;Form of our former shop;no'
        for n in range(198)
    ),
]
FAULTY = {
    f"Grace Again;{GRACE.upper()};;;;": "The same address is in line 2.",
    "No Address;;;;;": "The email address is missing.",
    "Bad Address;bad at visitors.example;;;;": "This is not an email address: bad at visitors.example",
    "Same Code;same@visitors.example;GRACE-TEA;;;": "The same code is in line 2.",
    "Rounded;rounded@visitors.example;1.23E+15;;;": "The spreadsheet has rounded the code.",
    "=A1&B1;formula@visitors.example;;;;": "A cell contains a formula instead of its value.",
    "No Day;day@visitors.example;;31.02.2026;Form;no": "The date of the consent cannot be read: 31.02.2026",
}


@pytest.fixture
def portal(tmp_path: Path, seeded: Path) -> Iterator[RunningPortal]:
    """A portal with the usual leases: no process is killed here."""
    running = RunningPortal(tmp_path / "instance")
    with running.running_with(seeded):
        yield running


@pytest.fixture
def shop(portal: RunningPortal) -> Iterator[Shop]:
    with running_shop(portal.base) as running:
        yield running


def upload(page: Page, portal: RunningPortal, name: str, lines: list[str]) -> None:
    """Upload a file as a spreadsheet saves it, and ask for the welcome emails; the preview is shown."""
    page.goto(f"{portal.base}/affiliates/import")
    text = "\r\n".join([HEADINGS, *lines, ""])
    file = {"name": name, "mimeType": "text/csv", "buffer": text.encode("utf-8-sig")}
    page.get_by_label("CSV file").set_input_files(file)  # type: ignore[arg-type]
    page.get_by_role("button", name="Upload and preview").click()
    page.get_by_label("Send the email New Sign-up").check()
    page.get_by_role("button", name="Update preview").click()
    page.wait_for_url("**#preview")
    expect(page.get_by_label("Send the email New Sign-up")).to_be_checked()


def add_valid_lines(page: Page, affiliates: str) -> None:
    page.locator("#preview summary", has_text="Add the valid lines").click()
    page.get_by_role("button", name="Yes, add them").click()
    expect(page.locator("#order-title")).to_have_text(affiliates)  # the page updates itself


def test_affiliates_are_imported_sell_find_their_page_and_are_erased_for_good(
    portal: RunningPortal, log_in: Page, shop: Shop
) -> None:
    page = log_in
    fill_rehearsal(page)
    save(page)
    save_programme(page, portal, shop, "Short link of this portal")
    shop.token = make_token(page, portal)

    # The preview states every fault beside its line; the valid lines are added, and the first emails leave.
    upload(page, portal, "affiliates.csv", VALID + list(FAULTY))
    preview = page.locator("#preview")
    faults = preview.get_by_role("table", name="Invalid lines").locator("tbody tr")
    expect(faults).to_have_count(len(FAULTY))
    for number, (row, why) in enumerate(zip(faults.all(), FAULTY.values(), strict=True), len(VALID) + 2):
        expect(row).to_contain_text(why)
        expect(row.get_by_role("rowheader")).to_have_text(str(number))
    expect(preview).to_contain_text("200 emails leave within 8 hours")
    add_valid_lines(page, "200 affiliates are added.")
    welcome = text_of(mail_about(portal, "carries your code"))
    portal.wait_for(lambda: portal.arrived(ASKED))
    assert "/confirm-sign-up/" in portal.arrived(ASKED)[0].replace("=\n", "")
    shop.affiliate_link = f"{portal.base}/r/grace-tea"
    assert shop.affiliate_link in welcome
    [dashboard] = set(re.findall(rf"{portal.base}/affiliate/[\w-]+", welcome))

    # From the affiliate's page, through the short link, to a purchase in the shop.
    tab = page.context.new_page()
    tab.goto(shop.blog)
    tab.locator("#buy").click()
    tab.wait_for_url(f"{shop.address}?ref=grace-tea")
    tab.wait_for_function("window.signet && signet.code()")
    tab.locator("#tea").click()
    tab.wait_for_url(f"{shop.address}tea?ref=grace-tea")
    tab.wait_for_function("window.signet && signet.code()")
    tab.get_by_role("button", name="Buy").click()
    tab.get_by_role("heading", name="Thank you for your order").wait_for()
    assert shop.orders == [("T-1", "grace-tea")]
    assert "80.00" in text_of(mail_about(portal, "T-1"))
    portal.wait_for(lambda: tab.goto(dashboard) and "1 in the last 30 days, 1 in total" in tab.content())
    expect(tab.get_by_role("table", name="Your orders").locator("tr", has_text="T-1")).to_be_visible()

    # She has lost the address of the page. A stranger gets the same answer.
    tab.goto(f"{portal.base}/join/brightleaf")
    tab.get_by_role("link", name="Find your dashboard").click()
    for mailbox in ("stranger@visitors.example", GRACE):
        tab.get_by_label("Your email address").fill(mailbox)
        tab.get_by_role("button", name="Send me the address").click()
        tab.get_by_text(f"If {mailbox} belongs to an affiliate, an email is on its way.").wait_for()
    found = text_of(mail_about(portal, "You asked for the address of your page"))
    tab.goto(re.search(rf"{portal.base}/affiliate/[\w-]+", found).group())

    # She downloads what is stored, and asks to be erased; the owner does it.
    tab.get_by_role("link", name="Your data").click()
    with tab.expect_download() as download:
        tab.get_by_role("link", name="Download what is stored about you").click()
    stored = download.value.path().read_text("utf-8")
    assert json.loads(stored)
    assert GRACE in stored
    assert "T-1" in stored
    tab.locator("summary", has_text="Ask to erase my data").click()
    tab.get_by_role("button", name="Yes, ask to erase my data").click()
    tab.get_by_text("You asked Brightleaf to erase you").wait_for()
    page.goto(f"{portal.base}/affiliates")
    page.get_by_role("link", name="See requests").click()
    page.locator("#erase summary").click()
    page.get_by_role("button", name="Yes, erase Grace Hopper").click()
    page.get_by_text("The person is erased.").wait_for()
    assert page.request.get(dashboard).status == 404
    for path in ("affiliates?q=grace", "deliveries", "events"):  # a job removes what emails and reports hold
        portal.wait_for(
            lambda path=path: (
                page.goto(f"{portal.base}/{path}")
                and GRACE not in page.content()
                and "Grace" not in page.content()
            )
        )
    page.goto(f"{portal.base}/commissions")
    expect(page.locator("tr", has_text="T-1")).to_contain_text("12.00")  # sums stay

    # The same line comes again with another one: the other is written to, she is not.
    upload(page, portal, "again.csv", [GRACE_LINE, "Zoe New;zoe@visitors.example;;01.02.2026;Form;no"])
    expect(page.locator("#preview")).to_contain_text("This person was erased and gets no emails.")
    add_valid_lines(page, "One affiliate is added.")
    portal.wait_for(lambda: portal.arrived("zoe@visitors.example"))
    assert len(mails(portal)) == 3  # the welcome, the purchase, the lost page
    assert not portal.arrived("stranger@visitors.example")
