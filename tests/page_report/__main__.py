"""Print what is wrong with the pages; exit with 1 if anything is.

    python -m tests.page_report            everything: about 20 minutes
    python -m tests.page_report scores     Lighthouse on ten pages
    python -m tests.page_report rules      axe on every page, in each of the ways in which it can be seen
    python -m tests.page_report widths     whether a page scrolls sideways or cuts a text off: in German, and with longer texts

Lighthouse must give 100 for accessibility and best practices, for public pages 100 for search engines, and at least 98 for
performance. The pages of a person are not for search engines, so that score is not counted there.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from tests.journeys.conftest import find_browser, launch, log_in_as_owner
from tests.journeys.running import RunningPortal

from . import lighthouse
from .portal import LOGGED_IN, PUBLIC, choose_language, run_filled_portal
from .rules import (
    FITTING,
    IN_LINES,
    LONGER,
    VIEWS,
    accessibility_violations,
    cut_off,
    new_page,
    open_page,
    too_wide,
)

MEASURED_PUBLIC = ("/join/brightleaf", "/log-in", "/register")
MEASURED_LOGGED_IN = (
    "/",
    "/settings/email-preferences",
    "/settings/sending-domain",
    "/automated-emails/new-sign-up",
    "/deliveries",
    "/affiliates",
    "/operator/outbox",
)
LEAST = {"performance": 98, "accessibility": 100, "best-practices": 100, "seo": 100}


def main() -> int:
    """Run the chosen parts."""
    parts = {"scores": report_scores, "rules": report_rules, "widths": report_widths}
    parser = argparse.ArgumentParser(prog="python -m tests.page_report", description=__doc__)
    parser.add_argument("part", nargs="?", choices=[*parts, "all"], default="all")
    chosen = parser.parse_args().part
    if find_browser() is None:
        sys.exit("no Chromium or Chrome found; install one or set SIGNET_BROWSER to its path")
    faults: list[str] = []
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        folder = Path(name)
        RunningPortal(folder / "seeded").set_up()
        (folder / "run").mkdir()
        browser = launch(playwright)
        with run_filled_portal(folder / "run", folder / "seeded", browser) as portal:
            for part, report in parts.items():
                if chosen in (part, "all"):
                    found = list(report(portal, browser))
                    print(f"\n{part}: {len(found) or 'no'} faults", *found, sep="\n", flush=True)
                    faults += found
        browser.close()
    return 1 if faults else 0


def report_scores(portal: RunningPortal, browser: Browser) -> Iterator[str]:
    """Print Lighthouse's scores of ten pages; yield each that is too low, with what costs it."""
    if not lighthouse.is_installed():
        yield "Lighthouse is not installed: run tests/browser.sh with npm on the PATH"
        return
    with browser.new_context() as context:
        log_in_as_owner(portal, context.new_page())
        cookies = {str(one.get("name")): str(one.get("value")) for one in context.cookies()}
    print(f"\n| page | {' | '.join(lighthouse.CATEGORIES)} |\n|---|{'---:|' * len(lighthouse.CATEGORIES)}")
    for path in MEASURED_PUBLIC + MEASURED_LOGGED_IN:
        is_public = path in MEASURED_PUBLIC
        result = lighthouse.measure(portal.base + path, None if is_public else cookies)
        shown = [str(result.scores[name]) for name in lighthouse.CATEGORIES]
        print(f"| {path} | {' | '.join(shown)} |", flush=True)
        for name, score in result.scores.items():
            if score < LEAST[name] and (is_public or name != "seo"):
                lost = [one for one in result.lost if one.startswith(name)]
                yield f"{path}: {name} {score}, wanted {LEAST[name]} ({', '.join(lost)})"


def report_rules(portal: RunningPortal, browser: Browser) -> Iterator[str]:
    """Yield each rule of WCAG 2.2 AA that axe finds violated, and each page that scrolls sideways, in each view."""
    for view, options in VIEWS.items():
        with new_page(browser, view) as page:
            width = options["viewport"]["width"]
            for path in paths(portal, page):
                open_page(page, portal.base + path)
                for line in accessibility_violations(page) + too_wide(page, [width]):
                    yield f"{view}: {line}"
        print(f"axe: {view} done", flush=True)


def report_widths(portal: RunningPortal, browser: Browser) -> Iterator[str]:
    """Yield each page that scrolls sideways at a width, in German and with English texts that are 40 % longer.

    In German also each cell of a table that is cut off although nothing leads to the whole text.
    """
    for name, script in (("longer texts", LONGER), ("German", "")):
        with new_page(
            browser, "1280 px, light", bypass_csp=True, locale="de-DE" if name == "German" else "en-GB"
        ) as page:
            for number, path in enumerate(paths(portal, page)):
                if name == "German" and number == len(PUBLIC):
                    choose_language(page, portal, "de")
                open_page(page, portal.base + path)
                if script:
                    page.evaluate(script)
                for line in too_wide(page, FITTING) + ([] if script else cut_off(page, IN_LINES)):
                    yield f"{name}: {line}"
        print(f"widths: {name} done", flush=True)


def paths(portal: RunningPortal, page: Page) -> Iterator[str]:
    """Yield the paths of all pages; log in after the public ones."""
    yield from PUBLIC
    log_in_as_owner(portal, page)
    yield from LOGGED_IN


if __name__ == "__main__":
    sys.exit(main())
