"""The owner's pages about affiliates: access, search and export."""

from __future__ import annotations

import re

import pytest

from portal.affiliates.models import AffiliateState
from portal.clock import utcnow
from portal.db import db
from portal.enrolment import listing, signup, signup_rules
from portal.money.models import Commission
from tests.enrolment.support import GRACE, account_of, messages, newest_affiliate, sign_up
from tests.pages import downloaded


def test_the_list_can_be_searched_and_exported(owner, stranger, client):
    signup_rules.save_rules(account_of().id, signup_rules.Rules(confirm=False))
    sign_up(client, name="Éloïse Ångström")
    for query in ("éLOÏSE", "ångström", "GRACE@", "%25", "_", "'"):
        assert owner.get(f"/affiliates?q={query}").status_code == 200
    assert "grace@example.org" in owner.get("/affiliates?q=ÉLOÏSE").get_data(as_text=True)
    assert "No affiliate found" in owner.get("/affiliates?q=%25").get_data(as_text=True)
    answer = downloaded(owner, "/affiliates.csv")
    assert answer.mimetype == "text/csv"
    assert "Éloïse Ångström,grace@example.org,active" in answer.get_data(as_text=True)
    assert "grace@example.org" not in downloaded(stranger, "/affiliates.csv").get_data(as_text=True)


@pytest.mark.both_databases
def test_a_search_finds_what_the_eye_sees_and_the_tabs_count_what_it_finds(owner, client):
    signup_rules.save_rules(account_of().id, signup_rules.Rules(confirm=False))
    sign_up(client, name="José O’Brien", mailbox="info@bücher.example")
    sign_up(client, mailbox="other@example.org")
    found = newest_affiliate()
    order = {"account_id": found.account_id, "order_ref": "A-1042", "slot": 0, "currency": "EUR"}
    db.session.add(Commission(affiliate_id=found.id, occurred_at=utcnow(), created_at=utcnow(), **order))
    db.session.commit()
    for query in ("jose", "o'brien", "O’BRIEN", "bücher", "bucher.ex", "info@xn--bcher-kva.example", "Büch"):
        page = owner.get("/affiliates", query_string={"q": query}).get_data(as_text=True)
        assert "info@bücher.example" in page, query
        assert "other@example.org" not in page, query
        assert re.findall(r'class="tab-count">(\d+)<', page)[:2] == ["1", "1"], query
        assert "Your programme lists 2 people." in page
    page = owner.get("/affiliates?q=a-1042").get_data(as_text=True)
    assert "other@example.org" in page
    assert "info@bücher.example" not in page


@pytest.mark.both_databases
def test_counts_of_many_affiliates_are_lower_bounds(owner, monkeypatch):
    monkeypatch.setattr(listing, "MAX_COUNT", 2)
    states = [AffiliateState.PENDING, *[AffiliateState.ACTIVE] * 3]
    for number, state in enumerate(states):
        row = signup.new_affiliate(account_of(), f"Person {number}a", f"p{number}@x.example", utcnow())
        row.state = state
        db.session.add(row)
        db.session.commit()

    def tabs(query: str) -> tuple[list[str], int]:
        page = owner.get(f"/affiliates{query}").get_data(as_text=True)
        assert "Your programme lists more than 2 people." in page
        return re.findall(r'class="tab-count">([^<]+)<', page), page.count('data-label="Status"')

    assert tabs("") == (["2+", "2+", "1"], 4)
    assert tabs("?q=x.example")[0][:2] == ["2+", "2+"]
    assert tabs("?q=x.example")[1] == 4
    assert tabs("?q=x.example&status=pending")[1] == 1  # older than what is counted
    assert tabs("?q=person+0&status=pending") == (["1", "0", "1"], 1)
    assert tabs("?q=person+0&status=active") == (["1", "0", "1"], 0)


@pytest.mark.parametrize(
    "path",
    ["/events", "/affiliates/invite", "/affiliates/rules", "/affiliates/not-written-to"],
)
def test_the_owners_pages_require_a_log_in(owner, client, path):
    assert owner.get(path).status_code == 200
    assert client.get(path).status_code == 303


def test_the_link_in_the_owners_email_opens_the_affiliate_for_that_owner_only(owner, stranger, client):
    signup_rules.save_rules(account_of().id, signup_rules.Rules(confirm=False))
    sign_up(client)
    [mail] = messages("owner-new-affiliate")
    path = re.search(r"http://127\.0\.0\.1(/affiliates/by-code/\w+)", mail.text).group(1)
    answer = owner.get(path)
    assert (answer.status_code, answer.location) == (303, f"/affiliates/{newest_affiliate().id}")
    assert stranger.get(path).status_code == 404
    assert owner.get("/affiliates/by-code/%00").status_code == 404
    assert client.get(path).location.startswith("/log-in")


@pytest.mark.both_databases
def test_the_website_is_asked_for_where_the_owner_wants_it_and_is_in_no_email(owner, client):
    signup_rules.save_rules(account_of().id, signup_rules.Rules(confirm=False))
    assert 'name="site"' not in client.get("/join/brightleaf").get_data(as_text=True)
    sign_up(client, mailbox="early@example.org", site="https://early.example/")
    assert newest_affiliate().website == "", "not asked for"
    fields = {"shop_url": "", "link_form": "short", "visit_days": "30", "asks_website": "y"}
    fields |= {"sign_ups_per_network": "20", "sign_ups_at_once": "20"}
    assert owner.submit("/programme", fields).status_code == 303
    assert 'name="site"' in client.get("/join/brightleaf").get_data(as_text=True)
    for typed in ("javascript:alert(1)", "https://x.example/ y", "ada@x.example"):
        answer = client.submit("/join/brightleaf", GRACE | {"site": typed})
        assert answer.status_code == 422
        assert (
            "Enter a web address" in (page := answer.get_data(as_text=True)) or "without a username" in page
        )
        assert typed in page
    sign_up(client, site="Tea.example/blog?a=<b>".replace("<b>", "b"))
    assert newest_affiliate().website == "https://tea.example/blog?a=b"
    page = owner.get(f"/affiliates/{newest_affiliate().id}").get_data(as_text=True)
    assert 'href="https://tea.example/blog?a=b" rel="nofollow noopener noreferrer"' in page
    mails = [mail for kind in ("new-sign-up", "owner-new-affiliate") for mail in messages(kind)]
    assert len(mails) >= 3
    assert not [mail for mail in mails if "tea.example" in mail.text + mail.html]


@pytest.mark.both_databases
def test_two_addresses_of_one_gmail_mailbox_are_shown_to_the_owner(owner, stranger, client):
    for mailbox in ("ada.love@gmail.com", "adalove+x@gmail.com", "a.d.a.love@googlemail.com", "adalov@gmail.com",
                    "ada.love@example.org", "adalove_x@gmail.com", "adaXlove@gmail.com"):  # fmt: skip
        sign_up(client, mailbox=mailbox)
    page = owner.get(f"/affiliates/{newest_affiliate().id}").get_data(as_text=True)
    assert "may be the same person" not in page
    page = owner.get(f"/affiliates/{newest_affiliate().id - 6}").get_data(as_text=True)
    assert "may be the same person" in page
    for mailbox, is_shown in (
        ("adalove+x@gmail.com", True),
        ("a.d.a.love@googlemail.com", True),
        ("adalov@gmail.com", False),
        ("ada.love@example.org", False),
        ("adalove_x@gmail.com", False),
    ):
        assert (mailbox in page) is is_shown, mailbox
    assert owner.get("/affiliates").get_data(as_text=True).count("Shares a Gmail mailbox") == 3
    found = owner.get("/affiliates", query_string={"q": "adalove+x"}).get_data(as_text=True)
    assert found.count("Shares a Gmail mailbox") == 1  # although the list shows no other
    assert "Shares a Gmail" not in owner.get("/affiliates", query_string={"q": "_x"}).get_data(as_text=True)
