"""Connecting without a password, in a browser: the rehearsal's page of consent, and the pages of an issuer made by others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.interop.conftest import real_or_skip
from tests.interop.dovecot import Dovecot, dovecot_missing
from tests.interop.oidc import CLIENT, SECRET, OidcProvider, oidc_provider_missing
from tests.interop.test_consent import HOST, dovecot_settings, folder, take_mail
from tests.journeys.conftest import log_in_as_owner
from tests.journeys.running import RunningPortal, free_port
from tests.journeys.test_owner import join
from tests.smtp import badserver
from tests.smtp.badserver import BadServer

__all__ = ["folder", "real_or_skip"]
MAILBOX = "affiliates@brightleaf.example"
STAGES = (
    "Consent",
    "Find the server",
    "TLS and certificate",
    "Log in",
    "Sender accepted",
    "Message accepted",
)


def all_passed(page: Page) -> None:
    """Wait until the check has ended, and expect that each stage has passed."""
    page.locator("#check[data-live=off]").wait_for()
    for stage in STAGES:
        expect(page.locator(".check-step-passed .check-step-label", has_text=stage)).to_have_count(1)


def test_a_newcomer_walks_the_whole_way_offline(portal: RunningPortal, log_in: Page) -> None:
    page = log_in
    page.get_by_label("Provider", exact=True).select_option(label="Rehearsal with consent (this machine)")
    page.get_by_role("link", name="Connect Rehearsal without a password").click()
    page.get_by_role("textbox", name="Mailbox").fill(MAILBOX)
    page.get_by_role("button", name="Continue to Rehearsal").click()
    page.get_by_role("heading", name="Rehearsal: allow sending").wait_for()
    expect(page.get_by_label("Sign in as")).to_have_value(MAILBOX)

    page.get_by_label("Sign in as").fill("ada@elsewhere.example")
    page.get_by_role("button", name="Allow").click()
    expect(page.get_by_role("alert")).to_contain_text("You signed in as ada@elsewhere.example")
    expect(page.get_by_role("textbox", name="Mailbox")).to_have_value(MAILBOX)

    page.get_by_role("button", name="Continue to Rehearsal").click()
    page.get_by_label("The consent expires half a minute later").check()
    page.get_by_role("button", name="Allow").click()
    all_passed(page)
    expect(page.locator("#connection")).to_contain_text("Connected without a password")
    expect(page.locator("#sender")).to_contain_text(MAILBOX)

    # Half a minute later the kept permission is over, and the consent has lapsed: the email waits.
    page.wait_for_timeout(31_000)
    join(page, portal, "Noor Second", "noor@visitors.example")
    incident_opens(page, portal, "expired at Rehearsal")
    assert not portal.arrived("noor@visitors.example")
    connect_again(page, portal)
    page.get_by_role("button", name="Continue to Rehearsal").click()
    page.get_by_role("button", name="Allow").click()
    all_passed(page)
    portal.wait_for(lambda: portal.arrived("noor@visitors.example"))
    incident_ends(page, portal)


def incident_opens(page: Page, portal: RunningPortal, words: str) -> None:
    page.goto(f"{portal.base}/incidents")
    until(page, lambda: page.locator(".incident-card", has_text=words).count() == 1)


def incident_ends(page: Page, portal: RunningPortal) -> None:
    page.goto(f"{portal.base}/incidents")
    until(page, lambda: page.get_by_text("No open incident").count() == 1)


def connect_again(page: Page, portal: RunningPortal) -> None:
    page.goto(f"{portal.base}/settings/email-preferences")
    page.locator("#connection").get_by_role("link", name="Connect again").click()


def until(page: Page, condition: Callable[[], bool]) -> None:
    """Reload the page until a condition is true."""
    for _ in range(180):
        if condition():
            return
        page.wait_for_timeout(1000)
        page.reload()
    raise AssertionError("the condition is still false")


@dataclass
class World:
    """A portal whose servers of Microsoft are oidc-provider and Dovecot, which relays to ``relay``."""

    portal: RunningPortal
    issuer: OidcProvider
    relay: BadServer

    def relayed(self, mailbox: str) -> int:
        """Return how many messages for a mailbox left through Dovecot."""
        return sum(f"<{mailbox}>".encode() in one or mailbox.encode() in one for one in self.relay.messages)


@pytest.fixture
def world(real_or_skip, folder: Path, seeded: Path) -> Iterator[World]:
    real_or_skip(oidc_provider_missing())
    real_or_skip(dovecot_missing())
    with ExitStack() as stack:
        relay = stack.enter_context(BadServer(take_mail))
        portal = RunningPortal(folder / "instance", SIGNET_LEASE_SECONDS="10", SIGNET_SMTP_DEADLINE="8")
        issuer = stack.enter_context(OidcProvider(portal.base))
        dovecot = stack.enter_context(Dovecot(extra=dovecot_settings(folder, issuer, relay.port)))
        # The name of Microsoft's server leads to Dovecot, in the place of the rehearsal server, which does not run.
        portal.env |= {
            "SIGNET_REHEARSAL_PLAYS": HOST,
            "SIGNET_REHEARSAL_STARTTLS_PORT": str(dovecot.ports[0]),
            "SIGNET_SMTP_CA_FILE": badserver.ca_file(),
            "SIGNET_MICROSOFT_LOGIN_URL": issuer.url,
            "SIGNET_HOOK_PRIVATE": f"127.0.0.1/32:{issuer.ports[0]}:plaintext",
            "MAIL_PORT": str(free_port()),  # the platform's own mail, such as alerts, finds no server
        }
        portal.parts = ("worker", "web")
        stack.enter_context(portal.running_with(seeded))
        yield World(portal, issuer, relay)


def consent_at_the_issuer(page: Page, world: World) -> None:
    """Log in and consent on the issuer's own pages, as far as it asks, until it sends the browser back."""
    page.wait_for_url(f"{world.issuer.url}/**")
    while urlsplit(page.url).netloc == urlsplit(world.issuer.url).netloc:
        if page.locator("[name=login]").count():
            page.locator("[name=login]").fill(MAILBOX)
            page.locator("[name=password]").fill("any")
        with page.expect_navigation():
            page.locator("button[type=submit]").first.click()


def connect(page: Page, world: World) -> None:
    page.get_by_role("textbox", name="Mailbox").fill(MAILBOX)
    page.locator("[name=client_id]").fill(CLIENT)
    page.locator("[name=client_secret]").fill(SECRET)
    page.get_by_role("button", name="Continue to Microsoft").click()
    consent_at_the_issuer(page, world)
    all_passed(page)


def test_a_consent_is_given_withdrawn_and_given_again_at_an_issuer_made_by_others(
    world: World, context: BrowserContext
) -> None:
    portal, page = world.portal, context.new_page()
    violations: list[str] = []
    page.on("console", lambda one: violations.append(one.text) if "Content Security" in one.text else None)
    log_in_as_owner(portal, page)
    page.goto(f"{portal.base}/settings/connect/by-consent/microsoft")
    connect(page, world)
    expect(page.locator("#connection")).to_contain_text(MAILBOX)
    expect(page.locator("#sender")).to_contain_text(HOST)

    join(page, portal, "Noor Second", "noor@visitors.example")
    portal.wait_for(lambda: world.relayed("noor@visitors.example"))

    page.goto(f"{world.issuer.url}/withdraw")
    page.get_by_role("heading", name="Every permission is withdrawn").wait_for()
    join(page, portal, "Ola Third", "ola@visitors.example")
    incident_opens(page, portal, "no longer accepts the permission")
    assert not world.relayed("ola@visitors.example")

    connect_again(page, portal)
    connect(page, world)
    portal.wait_for(lambda: world.relayed("ola@visitors.example"))
    incident_ends(page, portal)
    assert not [text for text in violations if urlsplit(portal.base).netloc in text]
