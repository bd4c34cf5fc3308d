"""Fixtures of the browser tests: Chromium and a running portal. Without a browser the tests are skipped."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, expect, sync_playwright

from portal import demo
from tests.journeys.running import TIMEOUT_S, RunningPortal

expect.set_options(timeout=TIMEOUT_S * 1000)

# The headless shell takes a third of the processor time: it makes no window and no profile for each context.
_NAMES = (
    "chromium-headless-shell",
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
)


def find_browser() -> str | None:
    """Return the path of the browser: SIGNET_BROWSER, or Chromium or Chrome on the PATH, without windows if possible."""
    named = os.environ.get("SIGNET_BROWSER")
    return named or next((path for name in _NAMES if (path := shutil.which(name))), None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if find_browser() is None and os.environ.get("SIGNET_REQUIRE_BROWSER"):
        raise pytest.UsageError("no browser was found, and the journeys may not be skipped here")
    reason = "no Chromium or Chrome found; install one or set SIGNET_BROWSER to its path"
    for item in items:
        if "journeys" in str(item.path) and "browser" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.journey)
            if find_browser() is None:
                item.add_marker(pytest.mark.skip(reason=reason))


def launch(playwright: Playwright) -> Browser:
    """Start the browser without its own connections to the Internet."""
    arguments = [
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--no-first-run",
    ]
    chromium = playwright.chromium.launch(executable_path=find_browser(), args=arguments)
    chromium.new_context = partial(_new_patient_context, chromium.new_context)  # type: ignore[method-assign]
    return chromium


def _new_patient_context(new_context: Callable[..., BrowserContext], **options: Any) -> BrowserContext:
    """Open a context whose actions wait as long as the tests do, for a busy machine."""
    context = new_context(**options)
    context.set_default_timeout(TIMEOUT_S * 1000)
    return context


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = launch(playwright)
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An instance with the demo account, created once by the first process of a run; each portal starts with a copy."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "seeded"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "made").exists():
            RunningPortal(folder / "instance").set_up()
            (folder / "made").touch()
    return folder / "instance"


@pytest.fixture
def portal(tmp_path: Path, seeded: Path) -> Iterator[RunningPortal]:
    """A running portal for this test, with short leases."""
    running = RunningPortal(tmp_path / "instance", SIGNET_LEASE_SECONDS="10", SIGNET_SMTP_DEADLINE="8")
    with running.running_with(seeded):
        yield running


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """A page; an error or warning in its console fails the test."""
    page = context.new_page()
    messages: list[str] = []
    page.on(
        "console",
        lambda message: messages.append(message.text) if message.type in {"error", "warning"} else None,
    )
    page.on("pageerror", lambda error: messages.append(str(error)))
    yield page
    expected = ("status of 422", "status of 429", "status of 400", "status of 404")
    assert not [text for text in messages if not any(word in text for word in expected)], messages


@pytest.fixture
def log_in(portal: RunningPortal, page: Page) -> Page:
    """A page in which the demo owner is logged in, at Email Preferences."""
    return log_in_as_owner(portal, page)


def log_in_as_owner(portal: RunningPortal, page: Page) -> Page:
    page.goto(portal.base)
    page.locator("[name=mailbox]").fill(demo.MAILBOX)
    page.locator("[name=password]").fill(demo.PASSWORD)
    page.locator("[name=password]").press("Enter")
    page.wait_for_url(f"{portal.base}/")
    page.goto(f"{portal.base}/settings/email-preferences")
    return page
