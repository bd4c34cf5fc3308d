"""Common mistakes in the settings: one cause, one fix and the field at fault, and a verified fix where there is one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.journeys.conftest import log_in_as_owner
from tests.journeys.running import RunningPortal

DOMAIN = "brightleaf.example"
OFF, ON = "Off: STARTTLS", "On: SSL/TLS"
SPACED = "abcd efgh ijkl mnop"

MAILGUN = {"host": "smtp.mailgun.org", "username": f"postmaster@{DOMAIN}"}
GOOGLE = {"host": "smtp.gmail.com", "username": f"ada@{DOMAIN}", "password": SPACED.replace(" ", "")}
SENDGRID = {"host": "smtp.sendgrid.net", "username": "apikey"}


@dataclass(frozen=True)
class Mistake:
    """A mistake and its diagnosis. ``entered`` holds the differences from working settings.

    ``verified_fix`` holds the rows of the offered fix (label, before, after), ``server`` the server that sends after it.
    """

    name: str
    entered: dict[str, str]
    stage: str
    cause: str
    fix: str
    field: str  # the form's field
    question: str = ""
    verified_fix: list[tuple[str, str, str]] = field(default_factory=list)
    server: str = ""


MISTAKES = [
    Mistake(
        "a wrong password",
        MAILGUN | {"password": "not the word"},
        "Log in",
        "Mailgun did not accept the username and password at smtp.mailgun.org.",
        f"Enter the SMTP password of postmaster@{DOMAIN}",
        "password",
    ),
    Mistake(
        "the password of the Google account",
        GOOGLE | {"password": "Correct Horse 1"},
        "Log in",
        "Google requires an app password here; the normal password was used.",
        "Make an app password at myaccount.google.com/apppasswords",
        "password",
        question="Google (Gmail and Workspace) takes an app password of 16 letters here",
    ),
    Mistake(
        "an app password with its spaces",
        GOOGLE | {"password": SPACED},
        "Log in",
        "Google did not accept the address and password",
        "The app password works without its spaces.",
        "password",
        question="This app password was pasted with 3 spaces.",
        verified_fix=[("SMTP Password", "with spaces", "without spaces")],
        server="smtp.gmail.com:587",
    ),
    Mistake(
        "SSL on port 587",
        MAILGUN | {"security": ON},
        "TLS and certificate",
        "Port 587 starts unencrypted, but you chose SSL/TLS",
        "smtp.mailgun.org answers on port 587 with STARTTLS.",
        "security",
        verified_fix=[("Enable SSL", ON, OFF)],
        server="smtp.mailgun.org:587",
    ),
    Mistake(
        "STARTTLS on port 465",
        MAILGUN | {"port": "465"},
        "Greeting",
        "Port 465 needs SSL/TLS, but you chose STARTTLS",
        "smtp.mailgun.org answers on port 465 with SSL/TLS from the first byte.",
        "security",
        verified_fix=[("Enable SSL", OFF, ON)],
        server="smtp.mailgun.org:465",
    ),
    Mistake(
        "a typo in the server's name",
        # There is no such top-level domain, so the name does not resolve on any machine.
        MAILGUN | {"host": "smtp.mailgun.ogr"},
        "Find the server",
        "the name is similar to smtp.mailgun.org.",
        "Change SMTP Server to smtp.mailgun.org.",
        "host",
    ),
    Mistake(
        "a port without a listener",
        GOOGLE | {"port": "2525"},
        "Connect",
        "Google (Gmail and Workspace) does not answer on port 2525.",
        "smtp.gmail.com answers on port 587 with STARTTLS.",
        "port",
        verified_fix=[("SMTP Port", "2525", "587")],
        server="smtp.gmail.com:587",
    ),
    Mistake(
        "a sender the user may not use",
        {"host": "localhost", "username": f"sender-refused@{DOMAIN}", "port": "STARTTLS"},
        "Sender accepted",
        f"localhost does not allow this account to send as info@{DOMAIN}.",
        f"Send from the address of sender-refused@{DOMAIN}",
        "wrapped_user",
    ),
    Mistake(
        "apikey forgotten at SendGrid",
        SENDGRID | {"username": f"ada@{DOMAIN}"},
        "Log in",
        "SendGrid did not accept the log-in: the username has to be exactly the word apikey.",
        "The username has to be the word apikey.",
        "username",
        question="SendGrid requires the word apikey as username",
        verified_fix=[("SMTP Username", f"ada@{DOMAIN}", "apikey")],
        server="smtp.sendgrid.net:587",
    ),
    Mistake(
        "the wrong region of Mailgun",
        MAILGUN | {"username": f"postmaster@eu.{DOMAIN}", "domain": f"eu.{DOMAIN}"},
        "Log in",
        "Mailgun did not accept the username and password at smtp.mailgun.org.",
        "These credentials belong to smtp.eu.mailgun.org.",
        "host",
        verified_fix=[("SMTP Server", "smtp.mailgun.org", "smtp.eu.mailgun.org")],
        server="smtp.eu.mailgun.org:587",
    ),
    Mistake(
        "an expired certificate",
        {"host": "localhost", "username": f"ada@{DOMAIN}", "port": "EXPIRED"},
        "TLS and certificate",
        "The certificate of localhost has expired",
        "The owner of localhost has to renew its certificate.",
        "host",
    ),
]


@pytest.fixture(scope="module")
def portal(tmp_path_factory: pytest.TempPathFactory, seeded: Path) -> Iterator[RunningPortal]:
    """One portal for all mistakes. Each test starts with the settings that the one before activated."""
    running = RunningPortal(
        tmp_path_factory.mktemp("mistakes") / "instance",
        SIGNET_REHEARSAL_PLAYS="smtp.sendgrid.net smtp.mailgun.org smtp.eu.mailgun.org smtp.gmail.com",
        SIGNET_LEASE_SECONDS="30",
        SIGNET_SMTP_DEADLINE="2",
    )
    with running.running_with(seeded):
        yield running


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda one: one.name.replace(" ", "-"))
def test_a_mistake_has_one_cause_one_fix_and_one_field(
    portal: RunningPortal, page: Page, mistake: Mistake
) -> None:
    log_in_as_owner(portal, page)
    before, number = current_sender(page), versions(page) + 1
    fill_in(page, portal, mistake.entered)
    page.get_by_role("button", name="Save SMTP Settings").click()
    if mistake.question:
        questions = page.locator("#questions li")
        expect(questions).to_have_count(1)
        expect(questions).to_contain_text(mistake.question)
        page.get_by_role("button", name="Check as typed").click()
    wait_for_check(page, number)

    expect(page.locator(".diagnosis")).to_have_count(1)
    expect(page.locator(".check-step-failed")).to_have_count(1)
    expect(page.locator(".check-step-failed")).to_contain_text(mistake.stage)
    expect(page.locator("#diagnosis .diagnosis-cause")).to_have_count(1)
    expect(page.locator("#diagnosis .diagnosis-cause")).to_contain_text(mistake.cause)
    fix = page.locator("#diagnosis .diagnosis-try + *")
    expect(fix).to_have_count(1)
    expect(fix).to_contain_text(mistake.fix)
    expect(page.locator(".field.has-error")).to_have_count(1)
    field = page.locator(".field.has-error", has=page.locator(f"[name={mistake.field}]"))
    expect(field).to_contain_text(mistake.cause)
    expect(field).to_be_visible()
    expect(page.locator("#check")).to_contain_text("This check did not change how your emails are sent")
    assert current_sender(page) == before
    assert mistake.entered.get("password", "no secret") not in page.content()

    apply = page.get_by_role("button", name="Apply this fix and test again")
    expect(apply).to_have_count(1 if mistake.verified_fix else 0)
    if not mistake.verified_fix:
        return
    rows = page.locator("#fix tbody tr")
    assert [tuple(row.locator("th, td").all_inner_texts()) for row in rows.all()] == mistake.verified_fix
    apply.click()
    wait_for_check(page, number + 1)
    expect(page.locator("#check")).to_contain_text("All 9 steps passed")
    expect(page.locator(".has-error")).to_have_count(0)
    sender = f"info@{mistake.entered.get('domain', DOMAIN)}"
    assert current_sender(page) == (f"<{sender}>", mistake.server)


def fill_in(page: Page, portal: RunningPortal, entered: dict[str, str]) -> None:
    """Fill the form with settings that work except for the given values."""
    values = {"password": "rehearsal", "domain": DOMAIN, "port": "587", "security": OFF} | entered
    page.get_by_label("Provider", exact=True).select_option("")
    change = page.locator("#change-password > summary")
    if change.count():
        change.press("Enter")  # by key: loaded hints may move the line below a pointer
    for name in ("host", "username", "password", "domain"):
        page.locator(f"[name={name}]").fill(values[name])
    page.get_by_label(re.compile(re.escape(values["security"]))).check()
    port = values["port"]
    page.locator("[name=port]").fill(port if port.isdigit() else str(portal.ports[port]))


def wait_for_check(page: Page, number: int) -> None:
    """Wait until the check of this version has ended."""
    ended = page.locator("#check[data-live=off]")
    expect(ended).to_contain_text(f"Check of version {number}")


def current_sender(page: Page) -> tuple[str, str]:
    """Return the From address and the server shown at the top of the page."""
    card = page.locator("#sender")
    return card.locator(".sender-address").inner_text(), card.locator("dd").first.inner_text()


def versions(page: Page) -> int:
    """Return the number of saved versions."""
    return page.locator("#versions .version").count()
