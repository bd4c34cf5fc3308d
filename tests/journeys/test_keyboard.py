"""An owner who has only a keyboard: from the log-in to a proven server and a test email."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from portal import demo
from tests.journeys.running import RunningPortal

_STOPS = 120  # no page has as many places that the Tab key reaches
_FOCUSED = """
() => {
  const one = document.activeElement;
  const labels = [...(one.labels || [])].map(label => label.innerText);
  return (one.getAttribute("aria-label") || labels.join(" ") || one.innerText || "").replace(/\\s+/g, " ").trim();
}
"""
_OUTLINED = """
() => {
  const style = getComputedStyle(document.activeElement);
  return style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2 || style.boxShadow !== "none";
}
"""


def reach(page: Page, name: str) -> None:
    """Press Tab until the focus is on what has this name. Each stop on the way shows that it has the focus."""
    passed = []
    for _ in range(_STOPS):
        page.keyboard.press("Tab")
        focused = page.evaluate(_FOCUSED)
        assert page.evaluate(f"document.activeElement === document.body || ({_OUTLINED})()"), focused
        if focused == name or focused.startswith(f"{name} "):
            return
        passed.append(focused[:40])
    raise AssertionError(f"Tab does not reach {name!r}: {passed}")


def choose(page: Page, option: str) -> None:
    """Choose an option of the list that has the focus by its first letter, which goes on to the next with that letter."""
    for _ in range(_STOPS):
        page.keyboard.press(option[0])
        if page.evaluate("document.activeElement.selectedOptions[0].label") == option:
            return
    raise AssertionError(f"the letter {option[0]!r} does not reach {option!r}")


def test_settings_are_saved_and_proven_by_keyboard(portal: RunningPortal, page: Page) -> None:
    page.goto(portal.base)
    reach(page, "Email address")
    page.keyboard.type(demo.MAILBOX)
    reach(page, "Password")
    page.keyboard.type(demo.PASSWORD)
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Home", exact=True).wait_for()

    reach(page, "Settings")
    page.keyboard.press("Enter")
    page.get_by_role("heading", level=1).wait_for()
    reach(page, "Skip to the main content")
    page.keyboard.press("Enter")
    reach(page, "SMTP settings")
    page.keyboard.press("Enter")
    page.wait_for_url("**/settings/email-preferences")

    reach(page, "Provider")
    choose(page, "Rehearsal server (this machine)")
    expect(page.get_by_label("SMTP Server")).to_have_value("localhost")
    reach(page, "SMTP Username")
    page.keyboard.type("postmaster@brightleaf.example")
    reach(page, "SMTP Password")
    page.keyboard.type("rehearsal")
    reach(page, "Save SMTP Settings")
    page.keyboard.press("Enter")
    page.locator("#check[data-live=off]").wait_for()
    expect(page.locator("#sender")).to_contain_text("info@brightleaf.example")

    reach(page, "Send test email")
    page.keyboard.press("Enter")
    page.locator("#test[data-live=off]").wait_for()
    expect(page.locator("#test")).to_contain_text("Accepted by localhost:")
