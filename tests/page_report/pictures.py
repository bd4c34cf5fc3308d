"""Takes the screenshots of README and docs: `make pictures`. Each shows a real portal with the demo account."""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from tests.journeys.conftest import find_browser, launch, log_in_as_owner
from tests.journeys.running import ROOT, RunningPortal
from tests.journeys.test_owner import confirm, fill_rehearsal, join, save

_WIDTH, _HEIGHT = 1280, 860  # px of the window
_COLOURS = 192  # of a picture: more make the file larger, and no difference that can be seen
_AFFILIATES = ("Mae Early", "Noor Second", "Ola Third")


def main() -> int:
    """Take all pictures anew."""
    if find_browser() is None:
        sys.exit("no Chromium or Chrome found; install one or set SIGNET_BROWSER to its path")
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        folder = Path(name)
        RunningPortal(folder / "seeded").set_up()
        (folder / "run").mkdir()
        browser = launch(playwright)
        portal = RunningPortal(folder / "run" / "instance")
        with portal.running_with(folder / "seeded"):
            page = browser.new_page(viewport={"width": _WIDTH, "height": _HEIGHT}, reduced_motion="reduce")
            log_in_as_owner(portal, page)
            page.goto(f"{portal.base}/settings/email-preferences")
            fill_rehearsal(page)
            save(page)
            page.goto(f"{portal.base}/settings/email-preferences")
            page.set_viewport_size({"width": _WIDTH, "height": 2 * _HEIGHT})
            take(page, "email-preferences")
            page.set_viewport_size({"width": _WIDTH, "height": _HEIGHT})
            for affiliate in _AFFILIATES:
                mailbox = f"{affiliate.split()[0].lower()}@visitors.example"
                join(page, portal, affiliate, mailbox)
                confirm(page, portal, mailbox)
            page.goto(portal.base)
            take(page, "home")
        browser.close()
    return 0


def take(page: Page, name: str) -> None:
    """Write the window as docs/NAME.png."""
    page.wait_for_load_state("networkidle")
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    path = ROOT / "docs" / f"{name}.png"
    picture.quantize(_COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"docs/{name}.png: {path.stat().st_size // 1000} kB")


if __name__ == "__main__":
    sys.exit(main())
