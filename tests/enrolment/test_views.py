"""The pages as the owner, the owner of another account, an affiliate and an anonymous visitor see them."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest

from portal.accounts import standing
from portal.affiliates import page_keys
from portal.clock import utcnow
from portal.db import db
from portal.enrolment import signup, signup_rules
from portal.notices import recipients
from portal.notices.catalogue import NEW_SIGN_UP
from tests.enrolment.support import account_of

PUBLIC = ["/join/brightleaf", "/join/brightleaf/thanks"]


def _people(count: int, slug: str = "brightleaf"):
    account = account_of(slug)
    signup_rules.save_rules(account.id, signup_rules.Rules(confirm=False))
    for number in range(count):
        new = signup.SignUp("Grace Hopper", f"grace{number}@{slug}.example", f"192.0.2.{number}")
        signup.sign_up(account.slug, new, now=utcnow() - timedelta(minutes=count - number))


def _numbers(page: str) -> list[int]:
    return [int(found) for found in re.findall(r"grace(\d+)@brightleaf", page)]


@pytest.mark.parametrize("path", PUBLIC)
def test_the_public_pages_need_no_log_in(client, owner, stranger, path):
    for browser in (client, owner, stranger):
        answer = browser.get(path)
        assert answer.status_code == 200
        assert "Brightleaf" in answer.get_data(as_text=True)


@pytest.mark.parametrize(
    "slug", ["nobody", "brightleaf%00", "%F0%9F%98%80", "a" * 3000, "..", "brightleaf%0a", "brightleaf'--"]
)
@pytest.mark.parametrize("rest", ["", "/thanks"])
def test_a_programme_that_does_not_exist_is_not_found(client, programme, slug, rest):
    assert client.get(f"/join/{slug}{rest}").status_code == 404


def test_the_slug_of_a_programme_is_case_insensitive(client, programme):
    assert client.get("/join/BrightLeaf").status_code == 200


def test_a_form_without_a_csrf_token_is_refused(client, programme, stored):
    answer = client.post(
        "/join/brightleaf", data={"name": "Ada", "mailbox": "ada@example.org", "consent": "y"}
    )
    assert answer.status_code == 400
    assert stored().affiliates == []


def test_the_public_pages_show_the_name_of_the_programme_and_no_menu(client, programme):
    for path in PUBLIC:
        page = client.get(path).get_data(as_text=True)
        assert '<span class="brand-name" dir="auto">Brightleaf</span>' in page
        assert "main-nav" not in page


@pytest.mark.parametrize("auto_approve", [True, False])
def test_the_public_pages_show_whether_the_programme_decides(client, programme, auto_approve):
    signup_rules.save_rules(programme.id, signup_rules.Rules(confirm=False, auto_approve=auto_approve))
    join = client.get("/join/brightleaf").get_data(as_text=True)
    thanks = client.get("/join/brightleaf/thanks").get_data(as_text=True)
    assert ("reviews each application." in join) == (not auto_approve)
    assert ("your application has arrived" in thanks) == (not auto_approve)
    assert ("the address of your dashboard" in thanks) == auto_approve


def test_the_list_of_affiliates_shows_that_a_closed_sign_up_page_is_closed(owner):
    assert "Share this link." in owner.get("/affiliates").get_data(as_text=True)
    standing.suspend(account_of().id, reason="", now=utcnow())
    page = owner.get("/affiliates").get_data(as_text=True)
    assert "This page is closed" in page
    assert "Share th" not in page


def test_search_engines_may_index_the_sign_up_page_but_not_the_thanks_page(client, programme):
    assert "noindex" not in client.get("/join/brightleaf").get_data(as_text=True)
    assert 'content="noindex, nofollow"' in client.get("/join/brightleaf/thanks").get_data(as_text=True)


def test_the_dashboard_shows_the_link_and_is_not_indexed(join, client, programme, stored):
    programme.shop_url = "https://shop.example/"
    client.get(join(name="Dr. Grace Hopper").location)
    affiliate = stored().affiliates[0]
    answer = client.get(f"/affiliate/{page_keys.open_keys(affiliate).dashboard}")
    page = answer.get_data(as_text=True)
    assert answer.status_code == 200
    assert f"http://127.0.0.1/r/{affiliate.code}" in page
    assert "<bdi>Grace</bdi>" in page
    assert "Dr. Grace Hopper" in page
    assert "g…@example.org" in page
    assert "Emails you get" in page
    assert "No purchases yet" in page
    assert '<meta name="robots" content="noindex, nofollow">' in page
    assert "grace@example.org" not in page, "the page does not disclose the mailbox"


@pytest.mark.parametrize("key", ["x", "%00", "1", "A" * 500, "%F0%9F%98%80"])
def test_an_unknown_dashboard_key_is_not_found(client, programme, key):
    assert client.get(f"/affiliate/{key}").status_code == 404


def test_the_code_in_the_public_link_does_not_open_the_dashboard(join, client, stored):
    join()
    assert client.get(f"/affiliate/{stored().affiliates[0].code}").status_code == 404


def test_the_owner_sees_only_their_own_affiliates(owner, stranger):
    _people(2)
    _people(1, "copperpot")
    page = owner.get("/affiliates").get_data(as_text=True)
    assert _numbers(page) == [1, 0]
    assert "@copperpot.example" not in page
    assert "Your programme lists 2 people." in page
    other = stranger.get("/affiliates").get_data(as_text=True)
    assert "@brightleaf.example" not in other.replace("ada@brightleaf.example", "")
    assert "Your programme lists 1 person." in other


def test_an_anonymous_visitor_is_redirected_to_log_in(client):
    answer = client.get("/affiliates")
    assert (answer.status_code, answer.location) == (303, "/log-in?next=/affiliates")


def test_an_empty_list_shows_what_to_do(owner):
    page = owner.get("/affiliates").get_data(as_text=True)
    assert "No one has signed up yet" in page
    assert "http://127.0.0.1/join/brightleaf" in page


def test_the_list_shows_the_status_of_each_welcome_email(owner):
    _people(1)
    recipients.set_enabled(account_of().id, NEW_SIGN_UP, enabled=False)
    _people(2)
    page = owner.get("/affiliates").get_data(as_text=True)
    assert "/deliveries/1" in page
    assert "not sent" in page
    assert "New Sign-up is off" in page


def test_for_an_approved_affiliate_the_approval_email_is_the_welcome(owner):
    account = account_of()
    signup_rules.save_rules(account.id, signup_rules.Rules(confirm=False, auto_approve=False))
    new = signup.SignUp("Grace Hopper", "grace@example.org", "192.0.2.1")
    signup.sign_up(account.slug, new, now=utcnow())
    assert "once you approve" in owner.get("/affiliates").get_data(as_text=True)
    assert owner.submit("/affiliates/1/approve", {}, page="/affiliates/1").status_code == 303
    page = owner.get("/affiliates").get_data(as_text=True)
    assert "not sent" not in page
    assert "Waiting" in page


def test_the_list_can_be_paged_forward_and_back(owner):
    _people(120)
    seen, url, pages = [], "/affiliates", []
    while url:
        page = owner.get(url).get_data(as_text=True)
        pages.append(_numbers(page))
        seen += pages[-1]
        url = _link(page, "next")
    assert seen == list(range(119, -1, -1))
    assert [len(numbers) for numbers in pages] == [50, 50, 20]
    back = owner.get(_link(page, "prev")).get_data(as_text=True)
    assert _numbers(back) == pages[1]
    assert _numbers(owner.get(_link(back, "prev")).get_data(as_text=True)) == pages[0]


def test_a_new_sign_up_does_not_shift_the_pages(owner):
    _people(60)
    older = _link(owner.get("/affiliates").get_data(as_text=True), "next")
    before = _numbers(owner.get(older).get_data(as_text=True))
    account = account_of()
    signup.sign_up(account.slug, signup.SignUp("Late", "late@example.org", "x"), now=utcnow())
    assert _numbers(owner.get(older).get_data(as_text=True)) == before


@pytest.mark.parametrize(
    "query",
    ["before=x", "before=", "before=-1", "after=%00", "before=" + "9" * 40, "before=1&after=1", "before=٣"],
)
def test_a_malformed_page_key_shows_the_first_page(owner, query):
    _people(1)
    assert owner.get(f"/affiliates?{query}").status_code == 200


def test_a_page_after_the_last_one_links_back_to_the_first(owner):
    _people(1)
    page = owner.get("/affiliates?before=1").get_data(as_text=True)
    assert "No more affiliates" in page
    assert 'href="/affiliates"' in page


def test_names_are_escaped(owner):
    account = account_of()
    account.name = "<b>Bright</b> & leaf"
    db.session.commit()
    for path in [*PUBLIC, "/affiliates"]:
        page = owner.get(path).get_data(as_text=True)
        assert "<b>Bright" not in page
        assert "&lt;b&gt;Bright&lt;/b&gt; &amp; leaf" in page


def _link(page: str, rel: str) -> str:
    found = re.search(rf'rel="{rel}"\s+href="([^"]+)"', page)
    return found.group(1).replace("&amp;", "&") if found else ""
