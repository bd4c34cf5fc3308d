"""Lists with a search or filters: the portal's script gets their results alone, and a search finds what a list shows."""

from __future__ import annotations

import re

import pytest

from portal.about import ROOT
from portal.accounts import invitations
from portal.accounts.profile import set_operator
from portal.affiliates import suppressions
from portal.bounces.meaning import Meaning
from portal.bounces.models import BounceEvent, EventState
from portal.clock import utcnow
from portal.db import db
from portal.events.types import EventType, Source
from portal.money import recording
from portal.money.orders import Reported
from tests.enrolment.support import account_of
from tests.money.conftest import new_affiliate

LISTS = (
    "/activity",
    "/affiliates",
    "/affiliates/not-written-to",
    "/commissions",
    "/deliveries",
    "/events",
    "/operator/accounts",
    "/operator/activity",
    "/operator/invitations",
    "/settings/bounces/events",
)


@pytest.fixture
def operator(owner):
    """The browser of Ada, who is also the operator."""
    assert set_operator("ada@brightleaf.example", operator=True)
    return owner


def results(browser, url):
    answer = browser.get(url, headers={"X-Requested-With": "fetch"})
    assert answer.status_code == 200, url
    return answer.get_data(as_text=True)


def test_the_script_gets_the_results_of_each_list_alone(operator):
    new_affiliate(account_of())
    for url in LISTS:
        part = results(operator, url)
        assert part.count('id="results"') == 1, url
        assert "<h1" not in part, url
        assert "<nav" not in part.partition('id="results"')[0], url


def test_each_form_that_filters_a_list_is_followed():
    for path in (ROOT / "templates").rglob("*.html"):
        for form in re.findall(r"<form\b[^>]*>", path.read_text(encoding="utf-8")):
            if 'role="search"' in form:
                assert "data-live-search" in form, path


def test_a_search_finds_addresses_accounts_and_invitations(operator, stranger):
    account = account_of()
    for name in ("pia", "bo"):
        suppressions.add(account.id, f"{name}@visitors.example", f"Note of {name}", now=utcnow())
        invitations.invite(f"{name}@invited.example", link=invitations.link_to, now=utcnow())
        db.session.add(
            BounceEvent(
                account_id=account.id,
                source="mailgun",
                key=name,
                state=EventState.UNMATCHED,
                meaning=Meaning.HARD,
                recipient=f"{name}@bounced.example",
                occurred_at=utcnow(),
                received_at=utcnow(),
            )
        )
    db.session.commit()
    for url, found, other in (
        ("/affiliates/not-written-to?q=PIA@", "pia@visitors.example", "bo@visitors.example"),
        ("/affiliates/not-written-to?q=of pia", "pia@visitors.example", "bo@visitors.example"),
        ("/operator/invitations?q=pia", "pia@invited.example", "bo@invited.example"),
        ("/settings/bounces/events?q=pia", "pia@bounced.example", "bo@bounced.example"),
        ("/operator/accounts?q=brightl", ">brightleaf<", ">copperpot<"),
        ("/operator/accounts?q=ada@brightleaf", ">brightleaf<", ">copperpot<"),
    ):
        for page in (results(operator, url), operator.get(url).get_data(as_text=True)):
            assert found in page, url
            assert other not in page, url
            assert "Clear the search" in page, url
    for url in LISTS:
        page = results(operator, f"{url}?q=%25_%00%5C")
        assert "pia@" not in page, url


def test_commissions_are_found_by_order_and_affiliate(owner):
    account = account_of()
    bought = {"amount": "100.00", "currency": "EUR", "commission": "12.00", "product": ""}
    for number, name in enumerate(("Grace Hopper", "Pia Proper")):
        affiliate = new_affiliate(account, name, f"{name[:3].lower()}@example.org")
        reported = Reported(EventType.PURCHASE, bought | {"order": f"Order-{number}"}, utcnow())
        recording.record(account, affiliate, reported, recording.Cause(Source.API, utcnow(), str(number)))
        db.session.commit()
    for query in ("order-1", "PROPER", "pia@"):
        page = results(owner, f"/commissions?q={query}")
        assert ">Order-1<" in page, query
        assert ">Order-0<" not in page, query
        assert f"state=approved&amp;q={query}" in page, "a tab keeps the search"
    assert "No commission found" in results(owner, "/commissions?q=nothing")
