"""Comfort of lists: keys, the box that ticks all, and times in the person's zone that stay right."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from tests.journeys.running import RunningPortal
from tests.journeys.test_owner import fill_rehearsal, join, save


def test_keys_boxes_and_times(portal: RunningPortal, log_in: Page) -> None:
    page = log_in
    fill_rehearsal(page)
    save(page)
    page.goto(portal.base)
    page.keyboard.press("g")
    page.keyboard.press("d")
    page.wait_for_url("**/deliveries")
    page.keyboard.press("/")
    field = page.locator("#filter-q")
    expect(field).to_be_focused()
    page.keyboard.type("g a?")
    expect(field).to_have_value("g a?")
    page.wait_for_url("**/deliveries?q=g+a%3F")
    download = page.locator("form[data-follows-search]")
    expect(download).to_have_attribute("action", "/deliveries/export.csv?q=g+a%3F")
    page.get_by_role("heading", name="Deliveries", exact=True).click()
    page.keyboard.press("?")
    dialog = page.get_by_role("dialog", name="Keyboard shortcuts")
    expect(dialog).to_contain_text("All affiliates")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)

    page.goto(f"{portal.base}/deliveries")  # without what was typed, which the list follows
    page.get_by_label("Select all on this page").check()
    chosen = page.locator(".tick input:checked").count()
    assert chosen == page.locator("#log tbody tr").count() > 0
    expect(page.locator("[data-ticked]")).to_have_text(f"{chosen} selected")

    page.goto(f"{portal.base}/account")
    page.get_by_label("Time zone of the pages").select_option("Asia/Tokyo")
    page.get_by_role("button", name="Save your time zone").click()
    expect(page.locator(".colophon")).to_contain_text("Times are those of Asia/Tokyo.")
    page.goto(f"{portal.base}/deliveries/1")
    expect(page.locator("main")).to_contain_text("JST")  # of an attempt, whose exact times count
    time = page.locator("time[data-ago]").first
    time.evaluate("one => { one.dateTime = new Date(Date.now() - 120 * 60000).toISOString(); }")
    expect(time).to_have_text("2 hours ago")

    page.goto(f"{portal.base}/account")
    page.get_by_label("Keyboard shortcuts").uncheck()
    page.get_by_role("button", name="Save keyboard").click()
    expect(page.locator(".flashes")).to_contain_text("Keyboard shortcuts are off.")
    assert page.evaluate("document.body.dataset.shortcuts") is None
    page.locator("h1").click()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_lists_follow_what_is_typed(portal: RunningPortal, log_in: Page) -> None:
    page = log_in
    join(page, portal, "Pia Proper", "pia@visitors.example")
    join(page, portal, "Bo Belated", "bo@visitors.example")
    for path in ("/activity", "/operator/accounts", "/operator/workers"):
        page.goto(portal.base + path)
        heights = page.locator("table tbody tr").evaluate_all("rows => rows.map(row => row.offsetHeight)")
        assert heights, path
        assert max(heights) < 56, path  # one line
    page.goto(f"{portal.base}/activity")
    details = page.locator("td .cut").first
    details.locator("summary").press("Enter")
    expect(details).to_have_attribute("open", "")
    kind = page.locator("#filter-kind")
    kind.select_option(label="Log-ins and passwords")
    page.wait_for_url("**/activity?kind=*")
    expect(page.locator("#activity th", has_text="Logged in").first).to_be_visible()
    page.go_back()
    expect(kind).to_have_value("")
    page.goto(f"{portal.base}/operator/accounts")
    page.get_by_label("Account or person").press_sequentially("nothing like it")
    expect(page.get_by_text("No account found")).to_be_visible()
    page.goto(f"{portal.base}/affiliates")
    rows = page.locator("#affiliates tbody tr")
    expect(rows).to_have_count(2)
    field = page.get_by_label("Name, email address, code or order number")
    field.press_sequentially("pia")
    expect(rows).to_have_count(1)
    expect(page.locator("#announcer")).to_have_text("1 affiliate")
    expect(field).to_be_focused()
    page.wait_for_url("**/affiliates?q=pia")
    page.go_back()
    expect(rows).to_have_count(2)
    expect(field).to_have_value("")

    page.route("**/affiliates?q=*", lambda route: route.fulfill(status=429, body="too many"))
    field.press_sequentially("b")
    problem = page.locator(".search-problem")
    expect(problem).to_contain_text("Too many searches in a minute.")
    expect(page.locator("#announcer")).to_contain_text("Too many searches in a minute.")
    expect(field).to_have_accessible_description(re.compile("wait a minute"))
    page.unroute("**/affiliates?q=*")
    field.press_sequentially("o")
    expect(rows).to_have_count(1)
    expect(problem).to_have_count(0)

    page.context.clear_cookies()  # the session ends
    field.press_sequentially(" ")
    page.wait_for_url(re.compile(r"/log-in\?next=.*q%3Dbo"))


def test_the_chart_has_one_stop_and_states_its_values(portal: RunningPortal, log_in: Page) -> None:
    page = log_in
    fill_rehearsal(page)
    save(page)
    page.goto(f"{portal.base}/deliveries?span=month")
    shown = page.locator(".chart-value:visible")
    page.locator(".chart-bar input").last.focus()
    page.keyboard.press("ArrowLeft")
    expect(shown).to_contain_text("no emails")
    page.keyboard.press("ArrowRight")
    expect(shown).to_contain_text("Accepted 1")
    page.locator(".chart-bar").first.hover()
    expect(shown).to_contain_text("no emails")
