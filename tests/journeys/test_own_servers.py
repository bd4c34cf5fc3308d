"""Settings for servers with their own ways: a relay without a log-in, LOGIN only, a late greeting, a second domain.

The servers are those of tests/smtp in the process of the test; smtp.gmail.com is played by the rehearsal server.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.journeys.conftest import log_in_as_owner
from tests.journeys.running import RunningPortal
from tests.smtp.badserver import GREETING, PASSWORD, BadServer, Peer, ca_file, serve_correctly

DOMAIN = "brightleaf.example"
LATE_S = 25  # the default of SIGNET_SMTP_GREETING is 30


def greet_late(peer: Peer, _line: bytes) -> None:
    peer.pause(LATE_S)
    peer.send(GREETING)


@dataclass
class Servers:
    relay: BadServer
    login_only: BadServer
    late: BadServer

    @property
    def targets(self) -> str:
        ports = [one.port for one in (self.relay, self.login_only, self.late)]
        networks = ("127.0.0.0/8", "[::1/128]")
        return " ".join(f"{network}:{port}:ca={ca_file()}" for port in ports for network in networks)


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    scripts = (
        partial(serve_correctly, offers=(b"SIZE 100000", b"8BITMIME")),
        partial(serve_correctly, offers=(b"SIZE 100000", b"AUTH LOGIN")),
        partial(serve_correctly, answers={"GREETING": greet_late}),
    )
    with ExitStack() as stack:
        yield Servers(*[stack.enter_context(BadServer(script)) for script in scripts])


@pytest.fixture(scope="module")
def portal(
    tmp_path_factory: pytest.TempPathFactory, seeded: Path, servers: Servers
) -> Iterator[RunningPortal]:
    """One portal for all tests: each saves settings of its own, which go live."""
    running = RunningPortal(
        tmp_path_factory.mktemp("own-servers") / "instance",
        SIGNET_SMTP_PRIVATE=servers.targets,
        SIGNET_DOMAIN_PROOF="shared",
        SIGNET_REHEARSAL_PLAYS="smtp.gmail.com",
        SIGNET_LEASE_SECONDS="600",
        SIGNET_SMTP_DEADLINE="400",
    )
    with running.running_with(seeded):
        yield running


def fill_in(
    page: Page, host: str, port: str, username: str, password: str = PASSWORD, domain: str = DOMAIN
) -> None:
    """Fill the form; without a username there is no log-in."""
    page.get_by_label("Provider", exact=True).select_option("")
    page.get_by_label("SMTP Authentication").select_option("automatic" if username else "none")
    entered = {"host": host, "domain": domain, "port": port}
    if username:
        change = page.locator("#change-password > summary")
        if change.count():
            change.press("Enter")  # by key: loaded hints may move the line below a pointer
        entered |= {"username": username, "password": password}
    for name, value in entered.items():
        page.locator(f"[name={name}]").fill(value)
    page.get_by_label(re.compile("Off: STARTTLS")).check()


def save_and_wait(page: Page) -> None:
    number = page.locator("#versions .version").count() + 1
    page.get_by_role("button", name="Save SMTP Settings").click()
    ended = page.locator("#check[data-live=off]")
    expect(ended).to_contain_text(f"Check of version {number}")
    expect(ended).to_contain_text("steps passed. The server accepted the test email.")


def test_a_relay_without_a_log_in(portal: RunningPortal, page: Page, servers: Servers) -> None:
    log_in_as_owner(portal, page)
    fill_in(page, "localhost", str(servers.relay.port), "")
    save_and_wait(page)
    expect(page.locator("#check")).to_contain_text(f"lets us send as info@{DOMAIN} without a log-in.")
    expect(page.locator("#sender")).to_contain_text(f"localhost:{servers.relay.port}")
    assert b"AUTH " not in bytes(servers.relay.received)
    # With a log-in again, the password is asked for, and nothing typed is lost.
    page.get_by_label("SMTP Authentication").select_option("automatic")
    page.get_by_label("SMTP Username").fill(f"ada@{DOMAIN}")
    page.get_by_role("button", name="Save SMTP Settings").click()
    expect(page.locator("[data-error-summary]")).to_contain_text("Enter the SMTP password.")
    expect(page.get_by_label("SMTP Username")).to_have_value(f"ada@{DOMAIN}")


def test_a_server_that_offers_login_only(portal: RunningPortal, page: Page, servers: Servers) -> None:
    log_in_as_owner(portal, page)
    fill_in(page, "localhost", str(servers.login_only.port), f"ada@{DOMAIN}")
    save_and_wait(page)
    expect(page.locator("#sender")).to_contain_text(f"localhost:{servers.login_only.port}")
    assert b"AUTH LOGIN" in bytes(servers.login_only.received)


def test_a_greeting_after_25_seconds(portal: RunningPortal, page: Page, servers: Servers) -> None:
    log_in_as_owner(portal, page)
    fill_in(page, "localhost", str(servers.late.port), f"ada@{DOMAIN}")
    page.get_by_role("button", name="Save SMTP Settings").click()
    waiting = page.locator(".check-wait")
    expect(waiting).to_contain_text("up to 400 seconds")
    expect(page.locator("#check .check-step", has_text="Greeting")).to_contain_text("In progress")
    expect(page.locator("#check[data-live=off]")).to_contain_text(
        "steps passed. The server accepted the test email."
    )
    expect(page.locator("#sender")).to_contain_text(f"localhost:{servers.late.port}")


def test_gmail_with_a_second_domain(portal: RunningPortal, page: Page) -> None:
    log_in_as_owner(portal, page)
    fill_in(page, "smtp.gmail.com", "587", f"ada+send-as@{DOMAIN}", "abcdefghijklmnop", "second.example")
    before = page.locator("[data-hint-for=sender-rule]")
    page.locator("[name=port]").focus()
    expect(before).to_contain_text(f"sends as ada+send-as@{DOMAIN} unless info@second.example is one of")
    save_and_wait(page)
    expect(page.locator("#sender")).to_contain_text("info@second.example")
    after = page.locator("#check")
    expect(after).to_contain_text("Look at the From address of the email in your inbox.")
    after.get_by_role("button", name=f"Send as ada+send-as@{DOMAIN} instead").click()
    expect(page.locator("#sender")).to_contain_text(f"ada+send-as@{DOMAIN}")
    expect(page.locator("#check[data-live=off]")).not_to_contain_text("Look at the From address")


def test_what_was_typed_survives_finding_the_settings(portal: RunningPortal, page: Page) -> None:
    log_in_as_owner(portal, page)
    fill_in(page, "", "", f"bo@{DOMAIN}", "typed before")
    page.get_by_text("I only know my email address").click()
    page.get_by_label("Your email address or domain").fill("ada@gmail.com")
    page.get_by_role("button", name="Find my settings").click()
    expect(page.get_by_label("SMTP Server")).to_have_value("smtp.gmail.com")
    expect(page.get_by_label("SMTP Username")).to_have_value(f"bo@{DOMAIN}")
    expect(page.locator("#part-password")).to_contain_text("Your password is kept, but not saved yet")
    assert "typed before" not in page.content()
    page.get_by_role("button", name="Save SMTP Settings").click()
    expect(page.locator("[data-error-summary]")).to_have_count(0)
