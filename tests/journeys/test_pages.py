"""Every page in light and dark: accessible, and no wider than the window at any width, also with longer words."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from tests.journeys.conftest import log_in_as_owner
from tests.journeys.running import RunningPortal
from tests.journeys.test_owner import fill_rehearsal, join, save
from tests.journeys.test_pseudo_languages import LONGER

LOGGED_IN = [
    "/",
    "/settings",
    "/settings/email-preferences",
    "/settings/email-preferences?provider=zoho",
    "/settings/set-up",
    "/settings/set-up/mailgun",
    "/settings/set-up/ses",
    "/settings/set-up/rehearsal",
    "/settings/explain",
    "/settings/connect",
    "/settings/connect/microsoft-365",
    "/settings/connect/google-workspace",
    "/settings/connect/by-consent/microsoft",
    "/settings/connect/by-consent/outlook-com",
    "/settings/connect/by-consent/google",
    "/settings/sending-domain",
    "/settings/arrival",
    "/settings/bounces",
    "/settings/bounces/events",
    "/settings/bounces/mailbox",
    "/settings/bounces/mailbox/connect/app",
    "/settings/bounces/mailbox/connect/service-account",
    "/settings/bounces/mailbox/connect/microsoft",
    "/automated-emails",
    "/automated-emails/new-sign-up",
    "/deliveries",
    "/deliveries?status=failed",
    "/deliveries?q=pia",
    "/deliveries/1",
    "/deliveries/2",
    "/deliveries/keep",
    "/incidents",
    "/incidents/waiting",
    "/incidents/alerts",
    "/incidents/limits",
    "/incidents/when-sending-fails",
    "/events",
    "/affiliates",
    "/affiliates?q=pia",
    "/affiliates/1",
    "/affiliates/1/edit",
    "/affiliates/decide?decision=decline&all=1",
    "/affiliates/import",
    "/affiliates/import/1",
    "/affiliates/invite",
    "/affiliates/rules",
    "/affiliates/not-written-to",
    "/affiliates/not-written-to/erased",
    "/commissions",
    "/commissions?state=repeated",
    "/programme",
    "/settings/api",
    "/settings/api/play",
    "/settings/api/play?event=payout",
    "/settings/api/reference",
    "/account",
    "/account/is-it-you",
    "/account/email-address",
    "/account/second-factor",
    "/account/second-factor/app",
    "/team",
    "/activity",
    "/operator/accounts",
    "/operator/outbox",
    "/rehearsal/inbox",
    "/rehearsal/faults",
    "/no-such-page",
]
PUBLIC = [
    "/log-in",
    "/register",
    "/forgot-password",
    "/join/brightleaf",
    "/join/brightleaf/thanks",
    "/join/brightleaf/my-page",
    "/affiliate",
]

# Beside those at which the pages are checked: the narrowest, tablets, and both sides of the width at which tables fold.
WIDTHS = (320, 768, 1024, 1099, 1100)
_AXE = {
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"],
    "resultTypes": [
        "violations"
    ],  # of what passes, which is most of a page, one element instead of all is described
}


@pytest.fixture(scope="module")
def portal(
    tmp_path_factory: pytest.TempPathFactory, seeded: Path, browser: Browser
) -> Iterator[RunningPortal]:
    """One portal for all tests, with failed settings and messages, so that pages have content."""
    running = RunningPortal(tmp_path_factory.mktemp("pages") / "instance")
    with running.running_with(seeded):
        with browser.new_context() as context:
            page = log_in_as_owner(running, context.new_page())
            join(page, running, "Pia Proper", "recipient-refused@visitors.example")
            upload_affiliates(page, running)
            page.goto(f"{running.base}/settings/email-preferences")
            fill_rehearsal(page, password="wrong")
            save(page)
        yield running


def upload_affiliates(page: Page, portal: RunningPortal) -> None:
    """Upload a file of affiliates, with a line that is not valid, and leave it at its preview."""
    page.goto(f"{portal.base}/affiliates/import")
    rows = b"Name,Email,Code\nAda Long-Named Lovelace,ada@import.example,ADA-1\nBo,bo@,B\n"
    page.locator('input[type="file"]').set_input_files(
        {"name": "people.csv", "mimeType": "text/csv", "buffer": rows}
    )
    page.locator('main form button[type="submit"]').click()
    page.wait_for_url("**/affiliates/import/1*")


@pytest.mark.parametrize(
    ("width", "scheme"),
    [
        (1280, "light"),
        (390, "dark"),
        # Colours depend little on the width, and the layout does not depend on colours.
        pytest.param(1280, "dark", marks=pytest.mark.thorough),
        pytest.param(390, "light", marks=pytest.mark.thorough),
    ],
)
def test_every_page_is_accessible_and_fits(
    portal: RunningPortal, browser: Browser, width: int, scheme: str
) -> None:
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)  # type: ignore[arg-type]
    page = context.new_page()
    violations = [one for path in PUBLIC for one in violations_on(page, portal.base + path, width)]
    log_in_as_owner(portal, page)
    violations += [one for path in LOGGED_IN for one in violations_on(page, portal.base + path, width)]
    assert not violations, "\n".join(violations)
    context.close()


def violations_on(page, url: str, width: int) -> list[str]:  # type: ignore[no-untyped-def]
    """Return the accessibility violations of one page, and whether it is too page_width."""
    answer = page.goto(url)
    is_expected = answer is not None and (answer.status == 200 or url.endswith("/no-such-page"))
    assert is_expected, f"{url} answers {answer and answer.status}"
    result = Axe().run(page, options=_AXE)
    violations = [
        f"{url}: {one['id']}: {one['nodes'][0]['html'][:200]} {one['nodes'][0]['failureSummary'][:300]}"
        for one in result.response["violations"]
    ]
    return violations + list(too_wide(page, width))


def too_wide(page: Page, width: int) -> Iterator[str]:
    """Yield a sentence for each width of the window at which the page scrolls sideways, also with longer words."""
    for words in ("as written", "longer"):
        for each in (width, *WIDTHS):
            page.set_viewport_size({"width": each, "height": 900})
            page_width = page.evaluate("document.documentElement.scrollWidth")
            if page_width > each:
                yield f"{page.url}: {page_width} px wide at {each}, words {words}"
        page.evaluate(LONGER)
    page.set_viewport_size({"width": width, "height": 900})
