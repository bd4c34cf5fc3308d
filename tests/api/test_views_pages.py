"""The pages about the API: tokens are shown once, and a simulated event is what a shop would send."""

from __future__ import annotations

import re
import shlex
from datetime import UTC, datetime, timedelta
from html import unescape

import pytest
import time_machine
from sqlalchemy import select

from portal.accounts.models import Membership
from portal.accounts.team.rights import Role
from portal.affiliates.models import AffiliateState
from portal.api import tokens
from portal.api.models import ApiToken
from portal.api.schemas import SHAPES
from portal.clock import utcnow
from portal.db import db
from portal.notices import recipients
from portal.notices.catalogue import CATALOGUE
from tests.api.conftest import EVENTS, PURCHASE, account_of, rejected
from tests.conftest import logged_in
from tests.pages import csrf_token

PAGE = "/settings/api"
PLAY = f"{PAGE}/play"
TOKEN = re.compile(r"sig_[A-Za-z0-9_-]{43}")
FILLED = {"affiliate": "GRACE42K"} | {f"data-{name}": value for name, value in PURCHASE.items()}


def text_of(response):
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", response.get_data(as_text=True))).split())


def form_key(browser):
    return re.search(r'name="form_key"[^>]*value="([^"]+)"', browser.get(PAGE).get_data(as_text=True)).group(
        1
    )


def make(browser, name="Shop", **more):
    return browser.submit(PAGE, {"name": name, "form_key": form_key(browser)} | more)


def rows():
    db.session.rollback()
    return list(db.session.scalars(select(ApiToken).order_by(ApiToken.id)))


@pytest.mark.parametrize("path", [PAGE, PLAY, f"{PAGE}/reference"])
def test_a_page_needs_a_log_in(owner, client, path):
    assert owner.get(path).status_code == 200
    assert client.get(path).status_code == 303


def test_a_token_is_shown_once_and_stored_only_as_a_hash(owner, client):
    response = make(owner, "Shop, production")
    assert response.status_code == 200
    assert response.headers["Cache-Control"] == "no-store"
    token = TOKEN.search(response.get_data(as_text=True)).group()
    assert not [one for one in response.headers if token in str(one)]
    assert token not in owner.get(PAGE).get_data(as_text=True)
    assert "Shop, production" in text_of(owner.get(PAGE))
    (row,) = rows()
    assert token not in repr(vars(row))
    assert (row.created_by, row.last_used_at) == ("Ada Fairweather", None)
    rejected(client.get(f"{EVENTS}/1", headers={"Authorization": f"Bearer {token}"}), 404)


def test_submitting_the_form_twice_creates_one_token_and_explains_it(owner):
    page = owner.get(PAGE).get_data(as_text=True)
    sent = {"csrf_token": csrf_token(page), "name": "Shop", "form_key": form_key(owner)}
    assert TOKEN.search(owner.post(PAGE, data=sent).get_data(as_text=True))
    again = owner.post(PAGE, data=sent)  # by reload, or by the back button
    assert again.status_code == 303
    page = owner.get(again.location).get_data(as_text=True)
    assert "has already created its token" in page
    assert not TOKEN.search(page)
    assert len(rows()) == 1


@pytest.mark.parametrize(
    "changes", [{"name": ""}, {"name": "x" * 61}, {"name": "a\u202eb"}, {"form_key": ""}, {"form_key": "x"}]
)
def test_an_invalid_form_creates_no_token(owner, changes):
    response = make(owner, **changes)
    assert response.status_code == 422
    assert "There is a problem" in response.get_data(as_text=True)
    assert rows() == []


def test_the_number_of_tokens_of_an_account_is_limited(owner, token_of):
    for _ in range(tokens.MAX_TOKENS - 1):
        token_of()
    page = owner.get(PAGE).get_data(as_text=True)
    last = {"csrf_token": csrf_token(page), "name": "Late", "form_key": form_key(owner)}
    token_of()
    response = owner.post(PAGE, data=last)
    assert response.status_code == 422
    assert "You have 20 tokens, which is the maximum." in text_of(response)
    assert "You have 20 tokens" in text_of(owner.get(PAGE))
    assert len(rows()) == tokens.MAX_TOKENS
    with pytest.raises(tokens.TooManyTokens):
        token_of()
    tokens.revoke(account_of().id, rows()[0].id, by="Ada", now=utcnow())
    token_of()


def test_a_token_is_revoked_by_its_owner_and_stays_listed(owner, token_of, client):
    token = token_of()
    (row,) = rows()
    response = owner.submit(f"{PAGE}/tokens/{row.id}/revoke", {}, page=PAGE)
    assert response.status_code == 303
    assert "by Ada Fairweather" in text_of(owner.get(PAGE))
    rejected(client.get(f"{EVENTS}/1", headers={"Authorization": f"Bearer {token}"}), 401)
    assert owner.submit(f"{PAGE}/tokens/{row.id}/revoke", {}, page=PAGE).status_code == 404
    assert rows()[0].revoked_by == "Ada Fairweather"


def test_a_token_with_an_end_date_works_until_the_end_of_that_day(app, client):
    with time_machine.travel("2026-03-02T09:00:00Z", tick=False):
        owner = logged_in(app, "Brightleaf", "Ada Fairweather", "ada@brightleaf.example")
        for day in ("2026-03-01", "2036-04-01", "x"):
            answer = make(owner, ends_on=day)
            assert answer.status_code == 422
            assert 'id="ends_on-error"' in answer.get_data(as_text=True)
        token = TOKEN.search(make(owner, ends_on="2026-03-02").get_data(as_text=True)).group()
    headers = {"Authorization": f"Bearer {token}"}
    for time, status in (("2026-03-02T23:59:59Z", 404), ("2026-03-03T00:00:00Z", 401)):
        with time_machine.travel(time, tick=False):
            assert client.get(f"{EVENTS}/1", headers=headers).status_code == status
    with time_machine.travel("2026-03-03T08:00:00Z", tick=False):
        page = owner.get(PAGE).get_data(as_text=True)
        assert "Ended" in page
        assert "/revoke" not in page
        assert tokens.count_active(account_of().id, utcnow()) == 0


def test_an_unused_token_and_one_whose_maker_left_are_marked(owner, stranger):
    made = datetime(2026, 3, 2, 9, tzinfo=UTC)
    ada, bo = (account_of(slug).contact_id for slug in ("brightleaf", "copperpot"))
    account_id = account_of().id
    db.session.add(Membership(owner_id=bo, account_id=account_id, role=Role.OWNER, joined_at=made))
    for name, by_id in (("Old", ada), ("Of Bo", bo)):
        tokens.create(account_id, name=name, by="Bo Larsen", by_id=by_id, form_key=name, now=made)
    now = made + timedelta(days=90)
    assert not any(one.is_unused or one.maker_left for one in tokens.list_tokens(account_id, now))
    assert all(one.is_unused for one in tokens.list_tokens(account_id, now + timedelta(seconds=1)))
    assert owner.submit(f"/team/{bo}/remove", {}, page="/team").status_code == 303
    page = text_of(owner.get(PAGE))
    assert page.count("Has left the programme") == 1
    assert "One token was created by a person who left" in page
    assert "Not used for 90 days" in page
    tokens.revoke(account_id, rows()[1].id, by="Ada", now=now)
    assert "created by a person who left" not in text_of(owner.get(PAGE))


def test_another_owner_can_neither_see_nor_revoke_a_token(owner, stranger, token_of, client):
    token_of()
    (row,) = rows()
    assert "No token yet" in text_of(stranger.get(PAGE))
    assert stranger.submit(f"{PAGE}/tokens/{row.id}/revoke", {}, page=PAGE).status_code == 404
    assert owner.post(f"{PAGE}/tokens/{row.id}/revoke").status_code == 400  # without the form's own token
    assert rows()[0].revoked_at is None


def test_the_last_use_of_a_token_is_recorded_at_most_once_a_minute(shop):
    begun = datetime(2026, 11, 3, 9, 0, tzinfo=UTC)
    seen = []
    for seconds in (0, 30, 59, 61):
        with time_machine.travel(begun + timedelta(seconds=seconds), tick=False):
            shop.get(f"{EVENTS}/1")
        seen.append((rows()[0].last_used_at - begun).seconds)
    assert seen == [0, 0, 0, 61]


def test_the_command_contains_the_affiliate_in_the_form(owner, affiliate):
    affiliate()
    assert "&#34;code&#34;: &#34;GRACE42K&#34;" in owner.get(PLAY).get_data(as_text=True)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_an_event_is_simulated_with_the_values_in_the_form(owner, affiliate, stored, shape):
    affiliate()
    page = owner.get(f"{PLAY}?event={shape.event}").get_data(as_text=True)
    values = dict(re.findall(r'<input[^>]*name="(data-[a-z_]+)"[^>]*value="([^"]*)"', page))
    if any(one.name == "currency" for one in shape.fields):
        assert re.search(r'<option selected value="EUR">', page)
        values["data-currency"] = "EUR"
    assert set(values) == {f"data-{one.name}" for one in shape.fields}
    response = owner.submit(f"{PLAY}?event={shape.event}", values | {"affiliate": "GRACE42K"}, page=PLAY)
    assert response.status_code == 303
    events, messages = stored()
    assert [one.source for one in events] == ["played"]
    result = owner.get(response.location.partition("#")[0])
    assert f": {len(messages)} email" in text_of(result)
    for message in messages:
        assert f'href="/deliveries/{message.id}"' in result.get_data(as_text=True)


def test_simulating_twice_records_two_events(owner, affiliate, stored):
    affiliate()
    for _ in range(2):
        assert owner.submit(PLAY, FILLED).status_code == 303
    assert len(stored()[0]) == 2


def test_the_result_shows_why_there_is_no_email(owner, affiliate):
    affiliate(state=AffiliateState.SUSPENDED)
    recipients.set_enabled(account_of().id, CATALOGUE["owner-new-purchase"], enabled=False)
    text = text_of(owner.get(owner.submit(PLAY, FILLED).location.partition("#")[0]))
    assert ": no email" in text
    assert "This affiliate is suspended." in text
    assert "This email is switched off." in text


def test_invalid_values_are_rejected_beside_their_fields_and_kept(owner, affiliate, stored):
    affiliate()
    response = owner.submit(
        PLAY, FILLED | {"data-amount": "12,50", "data-order": "", "data-currency": "EURO"}
    )
    page = response.get_data(as_text=True)
    assert response.status_code == 422
    for name, words in (
        ("amount", "Write digits, a dot"),
        ("order", "Enter a value for Order."),
        ("currency", "ISO 4217"),
    ):
        beside = re.search(rf'id="data-{name}-error">(.*?)</p>', page, re.S).group(1)
        assert words in unescape(beside)
    assert 'value="12,50"' in page
    assert "<title>Error: Send a test event" in page
    assert stored() == ([], [])


@pytest.mark.parametrize("code", ["", "NOBODY22", "OTHER234", "'; DROP"])
def test_an_event_is_simulated_only_for_an_affiliate_of_the_programme(
    owner, stranger, affiliate, stored, code
):
    affiliate()
    affiliate("copperpot", code="OTHER234")
    response = owner.submit(PLAY, FILLED | {"affiliate": code})
    assert response.status_code == 422
    assert "Choose an affiliate." in text_of(response)
    assert stored() == ([], [])


def test_invisible_characters_are_removed_and_reported(owner, affiliate):
    affiliate()
    response = owner.submit(PLAY, FILLED | {"data-order": "A\u202e1"})
    assert response.status_code == 422
    assert 'value="A1"' in response.get_data(as_text=True)


def test_a_search_finds_affiliates_and_keeps_the_entered_values(owner, affiliate, stored):
    affiliate(name="Éva Zoltán", code="EVA23456")
    affiliate()
    page = owner.submit(PLAY, FILLED | {"find": "éva", "search": "1", "data-order": "Z-9"}).get_data(
        as_text=True
    )
    assert "Éva Zoltán" in page
    assert "Grace Hopper" not in page
    assert 'value="Z-9"' in page
    empty_search = owner.submit(PLAY, FILLED | {"find": "100%", "search": "1"})
    assert "No affiliate found" in text_of(empty_search)
    assert stored() == ([], [])


def test_without_affiliates_the_page_explains_what_to_do_first(owner, stranger, affiliate):
    affiliate("copperpot", code="OTHER234")
    assert "There is no affiliate yet" in text_of(owner.get(PLAY))


def test_an_event_of_another_account_is_not_shown(owner, stranger, affiliate, stored):
    affiliate()
    owner.submit(PLAY, FILLED)
    event_id = stored()[0][0].id
    assert 'id="result"' in owner.get(f"{PLAY}?played={event_id}").text
    for played in (event_id, event_id + 1, "x", "9" * 30, ""):
        assert 'id="result"' not in stranger.get(f"{PLAY}?played={played}").text


@pytest.mark.parametrize("event", ["sale", "", "signed_up", "%00"])
def test_an_event_that_no_shop_can_send_has_no_page(owner, event):
    assert owner.get(f"{PLAY}?event={event}").status_code == 404


def test_the_command_is_quoted_so_that_no_value_escapes(owner, affiliate):
    affiliate()
    evil = 'O\'Neil "$(id)" `id` \\ <b>'
    location = owner.submit(PLAY, FILLED | {"data-product": evil}).location.partition("#")[0]
    page = owner.get(location).get_data(as_text=True)
    command = unescape(re.search(r'<code id="curl">(.*?)</code>', page, re.S).group(1))
    words = shlex.split(command)
    assert words[:2] == ["curl", "http://127.0.0.1/api/v1/events"]
    assert "Authorization: Bearer $SIGNET_TOKEN" in words
    body = words[words.index("--data-raw") + 1]
    assert evil in body.encode().decode("unicode_escape") or '\\"$(id)\\"' in body
    assert 'data-copy="curl"' in page


def test_the_reference_explains_every_event_and_every_problem(owner):
    page = owner.get(f"{PAGE}/reference").get_data(as_text=True)
    for event in SHAPES:
        assert f'id="event-{event}"' in page
    assert 'id="problem-unknown-affiliate"' in page
    assert 'href="/api/v1/openapi.json"' in page


def test_active_affiliates_are_listed_first(owner, affiliate):
    affiliate()
    affiliate(code="STOPPED2", state=AffiliateState.SUSPENDED)
    page = owner.get(PLAY).get_data(as_text=True)
    assert page.index('value="GRACE42K"') < page.index('value="STOPPED2"')
    assert "(suspended)" in page
