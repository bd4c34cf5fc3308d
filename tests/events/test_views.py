"""The page of events: access, filters and paging."""

from __future__ import annotations

import re

import pytest

from portal.events.types import EventType
from portal.notices import recipients
from portal.notices.catalogue import CATALOGUE

PAID = {"amount": "5.00", "currency": "EUR", "method": "", "reference": "R-1", "period": ""}


def _text(browser, path):
    answer = browser.get(path)
    assert answer.status_code == 200
    return answer.get_data(as_text=True)


def _orders(page):
    return [int(found) for found in re.findall(r"order A-(\d+)", page)]


def _buy(record, number):
    record(
        values={
            "order": f"A-{number}",
            "amount": "1.00",
            "currency": "EUR",
            "commission": "0.10",
            "product": "",
        }
    )


def test_the_owner_sees_events_with_their_emails_and_a_stranger_does_not(owner, stranger, client, record):
    recorded, mails = record()
    page = _text(owner, "/events")
    assert "order A-1, 10.00 EUR, commission 1.00 EUR" in page
    assert f'href="/deliveries/{mails["new-purchase"].message_id}"' in page
    assert 'href="/settings/api/play"' in page
    assert "order A-1" not in _text(stranger, "/events")
    assert f"order A-{recorded.event_id}" not in _text(
        stranger, f"/events?affiliate={recorded.event.affiliate_id}"
    )
    assert client.get("/events").location == "/log-in?next=/events"


def test_two_emails_of_the_same_name_are_distinguished_by_their_addressee(owner, record):
    record()
    page = " ".join(owner.get("/events").get_data(as_text=True).split())
    assert "to the affiliate, grace@example.org</span>" in page
    assert "to you, ada@brightleaf.example</span>" in page
    filters = owner.get("/deliveries").get_data(as_text=True)
    assert ">New purchase</option>" in filters
    assert ">New purchase (to you)</option>" in filters


def test_an_empty_page_explains_what_it_will_show(owner):
    assert "Nothing has happened yet" in _text(owner, "/events")


def test_an_email_that_was_not_sent_shows_the_reason_and_a_link(owner, account, record):
    recipients.set_enabled(account.id, CATALOGUE["new-purchase"], enabled=False)
    record()
    page = _text(owner, "/events")
    assert "This email is switched off." in page
    assert 'href="/automated-emails/new-purchase"' in page


def test_the_filters_apply_and_malformed_ones_are_ignored(owner, account, record):
    record()
    record(EventType.PAYOUT, PAID)
    recipients.set_enabled(account.id, CATALOGUE["payout-sent"], enabled=False)
    record(EventType.PAYOUT, PAID | {"amount": "7.00"})
    payouts = _text(owner, "/events?occasion=payout")
    assert "5.00 EUR" in payouts
    assert "order A-1" not in payouts
    unsent = _text(owner, "/events?mail=no-email")
    assert "7.00 EUR" in unsent
    assert "5.00 EUR" not in unsent
    assert "No matching events" in _text(owner, "/events?occasion=declined")
    for query in (
        "occasion=x",
        "mail=%00",
        "affiliate=x",
        "before=-1",
        "after=" + "9" * 40,
        "before=1&after=1",
    ):
        _text(owner, f"/events?{query}")


def test_paging_forward_and_back_keeps_the_filter(owner, record):
    for number in range(1, 121):
        _buy(record, number)
    first = _text(owner, "/events?occasion=purchase")
    second = _text(owner, _link(first, "next"))
    third = _text(owner, _link(second, "next"))
    assert _orders(first) + _orders(second) + _orders(third) == list(range(120, 0, -1))
    assert not _link(third, "next")
    assert "occasion=purchase" in _link(third, "prev")
    assert _orders(_text(owner, _link(third, "prev"))) == _orders(second)


@pytest.mark.parametrize("value", ["<b>x</b>", "{{ 1 }}", "\u202eevil"])
def test_values_from_the_shop_are_escaped(owner, record, value):
    record(EventType.LEAD, {"lead_name": value, "lead_email": ""})
    assert "<b>x</b>" not in _text(owner, "/events")


def _link(page, rel):
    found = re.search(rf'rel="{rel}"\s+href="([^"]+)"', page)
    return found.group(1).replace("&amp;", "&") if found else ""
