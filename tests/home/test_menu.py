"""The menu: each page has a place in it and is two steps away, and people see what their role includes."""

from __future__ import annotations

import re

from sqlalchemy import select

from portal.accounts.models import Owner
from portal.accounts.team.rights import Right, needed
from portal.db import db
from portal.home import menu
from tests.accounts.people import make_team

_LINK = re.compile(r'<a\b[^>]*?href="([^"#?]*)[^"]*"')
_BREADCRUMBS = re.compile(r'<nav class="breadcrumbs".*?</nav>', re.S)


def text_of(browser, path):
    answer = browser.get(path)
    assert answer.status_code == 200, path
    return answer.get_data(as_text=True)


def links_on(browser, path):
    return set(_LINK.findall(text_of(browser, path)))


def part(html, start, end):
    return html[html.index(start) : html.index(end, html.index(start))]


def addresses(app):
    with app.test_request_context(base_url="http://127.0.0.1"):
        adapter = app.url_map.bind("127.0.0.1")
        return {place.page.endpoint: adapter.build(place.page.endpoint) for place in menu.places()}


def breadcrumbs(browser, path):
    found = _BREADCRUMBS.search(text_of(browser, path))
    assert found, path
    return re.sub(r"<[^>]+>|\s+", " ", found[0]).split("  ")


def test_each_page_behind_a_log_in_has_a_place(app):
    places = {rule.endpoint: menu.find_place(rule.endpoint) for rule in app.url_map.iter_rules()}
    missing = [
        endpoint
        for endpoint, place in places.items()
        if place is None and needed(endpoint, "GET") not in {Right.PUBLIC, None}
    ]
    assert not missing, "give them a row in portal/home/menu.py"


def test_each_row_of_the_menu_names_endpoints_that_exist(app):
    known = {rule.endpoint for rule in app.url_map.iter_rules()}
    blueprints = {endpoint.partition(".")[0] for endpoint in known}
    for place in menu.places():
        for endpoint in (place.page.endpoint, *place.page.behind.split()):
            name = endpoint.removesuffix(".*")
            assert name in (blueprints if endpoint.endswith(".*") else known), endpoint
    endpoints = [place.page.endpoint for place in menu.places()]
    assert len(endpoints) == len(set(endpoints))


def test_each_page_is_two_steps_away(app, owner):
    db.session.scalars(select(Owner)).one().is_operator = True
    db.session.commit()
    wanted = addresses(app)
    first = links_on(owner, "/") & set(wanted.values())
    second = set().union(*(links_on(owner, path) for path in sorted(first)))
    assert set(wanted.values()) <= first | second
    # The overview alone leads to each setting.
    settings = {wanted[p.page.endpoint] for p in menu.places() if p.group.label == "Settings"}
    assert settings <= links_on(owner, "/settings")


def test_breadcrumbs_and_tabs_name_where_one_is(owner):
    way = lambda path: [word for word in map(str.strip, breadcrumbs(owner, path)) if word]  # noqa: E731
    assert way("/settings/sending-domain") == ["Settings", "Email Preferences", "Sending domain"]
    assert way("/automated-emails/new-sign-up")[:2] == ["Emails", "Automated emails"]
    assert len(way("/automated-emails/new-sign-up")) == 3
    assert way("/settings/connect")[-1] == "Connect without a password"
    assert way("/affiliates") == ["Affiliates", "All affiliates"]
    html = text_of(owner, "/settings/sending-domain")
    tabs = part(html, '<nav class="tabs"', "</nav>")
    assert re.search(r'href="/settings/sending-domain" aria-current="page">Sending domain', tabs)
    assert "Explain a reply" in tabs
    assert not _BREADCRUMBS.search(text_of(owner, "/"))
    # A refused form is the same page.
    refused = owner.submit("/affiliates/invite", {"name": "", "mailbox": ""}).get_data(as_text=True)
    assert 'aria-current="page">Invite</span>' in refused


def test_the_menu_shows_what_the_role_includes(app):
    team = make_team(app)
    menus = {
        role: set(_LINK.findall(part(text_of(browser, "/settings"), '<nav class="main-nav"', "</nav>")))
        for role, browser in (("owner", team.owner), ("viewer", team.viewer))
    }
    assert "/affiliates/invite" in menus["owner"] - menus["viewer"]
    assert not any(path.startswith("/operator") for path in menus["owner"])
    for path in sorted(menus["viewer"] | links_on(team.viewer, "/settings")):
        if path.startswith("/") and not path.startswith("/static"):
            assert team.viewer.get(path).status_code == 200, path
    assert "/settings/bounces" not in links_on(team.viewer, "/settings")


def test_pages_of_the_rehearsal_are_in_the_menu_only_where_it_runs():
    def labels(groups):
        return [str(section.label) for group in groups for section in group.sections]

    assert "Rehearsal inbox" in labels(menu.visible(lambda _page: True))
    without = menu.visible(lambda page: not page.is_rehearsal)
    assert "Rehearsal inbox" not in labels(without)
    nothing = menu.visible(lambda page: page.endpoint == "home.show")
    assert [str(group.label) for group in nothing] == ["Home"]
