"""What is checked on a page that is open in a browser: the rules of WCAG 2.2 AA by axe, and the width."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page

WIDTHS = (320, 390, 768, 1024, 1280)
# Widths at which rows have one line.
IN_LINES = (1100, 1280)
# Widths at which no page scrolls sideways; tables fold below 1100.
FITTING = (320, 390, 640, 768, 1024, 1099, 1100, 1280)
_AXE = {
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"],
    "resultTypes": [
        "violations"
    ],  # of what passes, which is most of a page, one element instead of all is described
}
# Makes each text of the page longer by 40 %, in letters that are wide in many fonts, as the longest translation would be. The
# words stay words, as in every language that breaks lines between them.
LONGER = """
() => {
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const texts = [];
  while (walker.nextNode()) texts.push(walker.currentNode);
  for (const text of texts) {
    if (["SCRIPT", "STYLE", "CODE"].includes(text.parentElement.tagName)) continue;
    text.data = text.data.replace(/[A-Za-z’]+/g, word => word + "wö".repeat(Math.ceil(word.length * 0.2)));
  }
}
"""
# Label and text of a cell of each column that is cut off, and neither opens nor links to the whole text; nor has its row a page.
_CUT_OFF = """
() => {
  const found = new Map();
  const isCut = (part) => part.scrollWidth > part.clientWidth + 1 && getComputedStyle(part).overflowX === "hidden"
    && !part.closest(".visually-hidden");
  document.querySelectorAll(".table-lines tbody :is(th, td):not(:has(.cut, a:not(.button)))").forEach((cell) => {
    if (cell.parentElement.matches(":has(> th a)") && !cell.querySelector(".button")) return;
    if ([cell, ...cell.querySelectorAll("*")].some(isCut)) found.set(cell.dataset.label, cell.innerText.slice(0, 60));
  });
  return [...found];
}
"""
# The ways in which a page is seen, as options of a browser context. Zoomed to 200 %, a window of 1280 px has 640 px of CSS.
VIEWS: dict[str, dict[str, Any]] = {
    **{f"{width} px, light": {"viewport": {"width": width, "height": 900}} for width in WIDTHS},
    **{
        f"{width} px, dark": {"viewport": {"width": width, "height": 900}, "color_scheme": "dark"}
        for width in (390, 1280)
    },
    "200 % zoom": {"viewport": {"width": 640, "height": 450}, "device_scale_factor": 2},
    "forced colours": {"viewport": {"width": 1280, "height": 900}, "forced_colors": "active"},
    "reduced motion": {"viewport": {"width": 1280, "height": 900}, "reduced_motion": "reduce"},
}


@contextmanager
def new_page(browser: Browser, view: str, **options: Any) -> Iterator[Page]:
    """Open a page that is seen in one of `VIEWS`."""
    context: BrowserContext = browser.new_context(**{**VIEWS[view], **options})
    yield context.new_page()
    context.close()


def open_page(page: Page, url: str) -> None:
    """Open a page. Raises AssertionError where it is not there (the page of errors is answered with 404)."""
    answer = page.goto(url)
    is_expected = answer is not None and (answer.status == 200 or url.endswith("/no-such-page"))
    assert is_expected, f"{url} answers {answer and answer.status}"


def accessibility_violations(page: Page) -> list[str]:
    """Return one line for each rule of WCAG 2.2 AA that the open page violates."""
    return [
        f"{page.url}: {one['id']}: {one['nodes'][0]['html'][:200]} {one['nodes'][0]['failureSummary'][:300]}"
        for one in Axe().run(page, options=_AXE).response["violations"]
    ]


def too_wide(page: Page, widths: Iterable[int]) -> list[str]:
    """Return one line for each width, px, at which the open page scrolls sideways."""
    lines = []
    for width in widths:
        page.set_viewport_size({"width": width, "height": 900})
        shown = page.evaluate("document.documentElement.scrollWidth")
        if shown > width:
            lines.append(f"{page.url}: {shown} px wide at {width}")
    return lines


def cut_off(page: Page, widths: Iterable[int]) -> list[str]:
    """Return one line for each kind of cell, and width in px, that is cut off and leads nowhere where all of it can be read."""
    lines: dict[str, None] = {}
    for width in widths:
        page.set_viewport_size({"width": width, "height": 900})
        for label, text in page.evaluate(_CUT_OFF):
            lines[f"{page.url}: {label} is cut off at {width}: {text}"] = None
    return list(lines)


def violations_on(page: Page, url: str, width: int) -> list[str]:
    """Open a page at a width, px, and return what is wrong with it."""
    page.set_viewport_size({"width": width, "height": 900})
    open_page(page, url)
    return accessibility_violations(page) + too_wide(page, [width])
