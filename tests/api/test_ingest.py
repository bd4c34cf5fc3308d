"""The interface: what a shop may send, what it is told, and what is refused with which words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import time_machine

from portal.affiliates.models import AffiliateState
from portal.api import tokens
from portal.api.schemas import SHAPES
from portal.db import db
from portal.events.models import Event
from portal.notices import recipients
from portal.notices.catalogue import CATALOGUE
from tests.api.conftest import EVENTS, PURCHASE, Shop, account_of, faults, purchase, refused


def test_a_purchase_owes_its_emails_and_says_which(shop, left):
    answer = shop.send(purchase())
    told = answer.get_json()
    assert answer.status_code == 201, told
    events, messages = left()
    assert [one.id for one in events] == [told["id"]]
    assert events[0].values == PURCHASE | {"product": ""}
    assert answer.headers["Location"] == f"{EVENTS}/{told['id']}"
    assert {mail["kind"]: mail["recipient"] for mail in told["mails"]} == {
        "new-purchase": "grace42k@hopper.example",
        "owner-new-purchase": "ada@brightleaf.example",
    }
    assert {mail["message"] for mail in told["mails"]} == {message.id for message in messages}
    assert {mail["status"] for mail in told["mails"]} == {"queued"}
    assert "A-1042" in messages[0].text


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_every_event_is_taken_with_its_sample_values(shop, shape):
    body = purchase(event=shape.event, data={one.name: one.sample for one in shape.fields})
    answer = shop.send(body)
    assert answer.status_code == 201, answer.get_json()
    assert any(mail.get("message") for mail in answer.get_json()["mails"])


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_every_event_is_taken_with_its_required_values_alone(shop, shape):
    body = purchase(event=shape.event, data={one.name: one.sample for one in shape.fields if one.required})
    answer = shop.send(body)
    assert answer.status_code == 201, answer.get_json()
    assert not [mail for mail in answer.get_json()["mails"] if mail.get("why") == "text-refused"]


def test_a_repeat_gets_the_same_answer_and_causes_nothing(shop, left):
    first = shop.send(purchase(), key="order-1")
    reordered = '{"data": {"commission":"12.25", "currency":"EUR","order":"A-1042","amount":"49.00"},'
    reordered += ' "affiliate": {"code":"GRACE42K"}, "event":"purchase"}'
    for again in (shop.send(purchase(), key="order-1"), shop.send(None, raw=reordered, key='"order-1"')):
        assert again.status_code == 200
        assert again.headers["Idempotent-Replayed"] == "true"
        assert again.get_json() == first.get_json()
    assert "Idempotent-Replayed" not in first.headers
    events, messages = left()
    assert (len(events), len(messages)) == (1, 2)


def test_the_answer_to_a_repeat_stays_while_the_messages_move_on(shop, left):
    first = shop.send(purchase(), key="k").get_json()
    _, messages = left()
    messages[0].status = "sent"
    db.session.commit()
    assert shop.send(purchase(), key="k").get_json() == first
    now = shop.get(f"{EVENTS}/{first['id']}").get_json()
    assert sorted(mail["status"] for mail in now["mails"]) == ["queued", "sent"]


def test_a_key_of_another_event_is_refused(shop, left):
    shop.send(purchase(), key="order-1")
    told = refused(shop.send(purchase(data=PURCHASE | {"amount": "50.00"}), key="order-1"), 422)
    assert told["type"].endswith("#problem-idempotency-key-reused")
    assert len(left()[0]) == 1


def test_the_same_key_of_two_accounts_is_two_events(shop, stranger, token_of, affiliate, client, left):
    affiliate("copperpot", code="OTHER234")
    other = Shop(client, token_of("copperpot"))
    assert shop.send(purchase(), key="1").status_code == 201
    assert other.send(purchase(affiliate={"code": "OTHER234"}), key="1").status_code == 201
    assert len(left()[0]) == 2


def test_a_refused_event_leaves_its_key_free(shop):
    refused(shop.send(purchase(affiliate={"code": "NOBODY22"}), key="k"), 404)
    faults(shop.send(purchase(data={}), key="k"))
    assert shop.send(purchase(), key="k").status_code == 201


@pytest.mark.parametrize("key", [None, "", " ", '"', '"a', "a b", "x" * 101, "ü", '"a"b"', '"a\\b"'])
def test_an_event_without_a_proper_key_is_refused(shop, key):
    headers = {"Idempotency-Key": key}
    assert refused(shop.send(purchase(), headers=headers), 400)["type"].endswith(
        "#problem-idempotency-key-missing"
    )


def test_the_affiliate_is_found_by_code_or_address_however_they_are_typed(shop):
    for way in ({"code": "GRACE42K"}, {"code": "grace42k"}, {"email": "Grace42K@HOPPER.example"}):
        assert shop.send(purchase(affiliate=way)).status_code == 201, way


@pytest.mark.parametrize("way", [{"code": "NOBODY22"}, {"email": "nobody@hopper.example"}, {"email": "a@b"}])
def test_nobody_is_told_of_an_unknown_affiliate(shop, left, way):
    told = refused(shop.send(purchase(affiliate=way)), 404)
    assert told["errors"][0]["pointer"] == f"#/affiliate/{next(iter(way))}"
    assert left() == ([], [])


def test_an_affiliate_of_another_account_is_unknown(shop, stranger, affiliate):
    row = affiliate("copperpot", code="OTHER234")
    for way in ({"code": row.code}, {"email": row.mailbox}):
        refused(shop.send(purchase(affiliate=way)), 404)


@pytest.mark.parametrize(
    ("state", "why"),
    [
        (AffiliateState.SUSPENDED, "suspended"),
        (AffiliateState.UNCONFIRMED, "not-confirmed"),
        (AffiliateState.PENDING, "not-active"),
        (AffiliateState.DECLINED, "not-active"),
        (AffiliateState.INVITED, "not-active"),
    ],
)
def test_it_is_said_why_an_affiliate_gets_no_email(shop, affiliate, state, why):
    affiliate(code="STOPPED2", state=state)
    answer = shop.send(purchase(affiliate={"code": "STOPPED2"}))
    assert answer.status_code == 201
    told = {mail["kind"]: mail for mail in answer.get_json()["mails"]}
    assert told["new-purchase"] == {
        "kind": "new-purchase",
        "recipient": "stopped2@hopper.example",
        "why": why,
    }


def test_an_email_that_is_switched_off_is_not_sent_and_says_so(shop):
    recipients.set_enabled(account_of().id, CATALOGUE["new-purchase"], enabled=False)
    told = {mail["kind"]: mail for mail in shop.send(purchase()).get_json()["mails"]}
    assert told["new-purchase"]["why"] == "notice-off"
    assert "message" in told["owner-new-purchase"]


@pytest.mark.parametrize("amount", [49.0, 49, True, None, [], {}])
def test_an_amount_that_is_no_text_is_refused_by_its_name(shop, amount):
    told = faults(shop.send(purchase(data=PURCHASE | {"amount": amount})))
    assert set(told) == {"#/data/amount"}
    assert "text in quotes" in told["#/data/amount"]


@pytest.mark.parametrize(
    "amount",
    ["", "1,00", "1.", ".5", "+1", "1e3", "--1", "1.00001", "1" * 13, "1\n", "１", "٣", "NaN", " 1", "0x1"],
)
def test_an_amount_that_is_no_decimal_number_is_refused(shop, amount):
    told = faults(shop.send(purchase(data=PURCHASE | {"amount": amount})))
    assert set(told) == {"#/data/amount"}


@pytest.mark.parametrize(
    ("currency", "amount", "fine"),
    [
        ("JPY", "1200", True),
        ("JPY", "1200.0", False),
        ("EUR", "12.5", True),
        ("EUR", "-12.50", True),
        ("EUR", "12.505", False),
        ("KWD", "12.505", True),
        ("KWD", "12.5051", False),
        ("CLF", "12.5051", True),
    ],
)
def test_an_amount_has_no_more_decimals_than_its_currency(shop, currency, amount, fine):
    data = PURCHASE | {"currency": currency, "amount": amount, "commission": "1"}
    answer = shop.send(purchase(data=data))
    if fine:
        assert answer.status_code == 201
    else:
        assert "decimals" in faults(answer)["#/data/amount"]


@pytest.mark.parametrize("currency", ["eur", "EURO", "XXX", "XAU", "DEM", "", "€", 978])
def test_a_currency_is_one_of_iso_4217(shop, currency):
    assert set(faults(shop.send(purchase(data=PURCHASE | {"currency": currency})))) == {"#/data/currency"}


@pytest.mark.parametrize(
    "order", ["", " ", " A", "A\n", "A\r\nBcc: x@y.example", "A\x00", "A\u202eB", "x" * 65, "\ufeff"]
)
def test_an_order_is_one_visible_line(shop, order):
    assert set(faults(shop.send(purchase(data=PURCHASE | {"order": order})))) == {"#/data/order"}


def test_every_fault_is_told_at_once_and_by_its_pointer(shop, left):
    body = {
        "event": "purchase",
        "affilate": {},
        "data": {"amount": 1, "shipping": "1", "a/b~": "", "currency": "x"},
    }
    told = faults(shop.send(body))
    assert set(told) == {
        "#/affilate", "#/affiliate", "#/data/amount", "#/data/shipping", "#/data/a~1b~0", "#/data/currency",
        "#/data/order", "#/data/commission",
    }  # fmt: skip
    assert left() == ([], [])


@pytest.mark.parametrize(
    "way", [{}, {"code": "A", "email": "a@b.example"}, {"name": "Grace"}, "GRACE42K", None, []]
)
def test_an_affiliate_is_named_in_exactly_one_way(shop, way):
    body = purchase()
    body["affiliate"] = way
    assert faults(shop.send(body))


@pytest.mark.parametrize(
    "event", ["sale", "", None, 1, [], {}, "signed_up", "week_ended", "commission-approved"]
)
def test_an_event_is_one_that_a_shop_can_send(shop, event):
    body = purchase()
    body["event"] = event
    assert set(faults(shop.send(body))) == {"#/event"}


@pytest.mark.parametrize("body", [[], "x", 1, None, True])
def test_an_event_is_an_object(shop, body):
    assert set(faults(shop.send(body))) == {"#"}


def test_when_it_happened_is_kept_in_utc(shop, left):
    assert shop.send(purchase(occurred_at="2026-11-03T10:12:00.5+01:00")).status_code == 201
    assert left()[0][0].values["occurred_at"] == "2026-11-03T09:12:00Z"


@pytest.mark.parametrize(
    "moment", ["2026-11-03", "2026-11-03T09:12:00", "2026-02-30T09:12:00Z", "2026-11-03T24:12:00Z", "1999-11-03T09:12:00Z",
               "2026-11-03T09:12:00+25:00", "2026-11-03T09:12:00Z\n", "now", 1, None]
)  # fmt: skip
def test_a_moment_is_one_of_rfc_3339(shop, moment):
    body = purchase()
    body["occurred_at"] = moment
    assert set(faults(shop.send(body))) == {"#/occurred_at"}


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "line 1, column 1"),
        (b'{"event": "purchase",\n "data": }', "line 2, column 10"),
        (b'{"a": 1, "a": 2}', "“a” occurs twice"),
        (b'{"a": {"b": 1, "b": 1}}', "“b” occurs twice"),
        (b'{"a": NaN}', "NaN"),
        (b'{"a": -Infinity}', "Infinity"),
        (b'{"a": "\xff"}', "offset 7"),
        (b'\xef\xbb\xbf{}', "BOM"),
        ('{"a": "€"}'.encode("utf-16"), "UTF-8"),
        (b'{"a": "\\ud800"}', "surrogate"),
        (b'{"\\udfff": 1}', "surrogate"),
        (b"[" * 20 + b"]" * 20, "nested"),
        (b"[" * 60_000, "nested"),
        (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "nested"),
        (b"{'a': 1}", "column 2"),
        (b'{"a": 01}', "column"),
        (b'{"a": "\x00"}', "column"),
    ],
    ids=str,
)  # fmt: skip
def test_a_body_that_cannot_be_read_is_refused_with_the_place(shop, raw, words):
    assert words in refused(shop.send(None, raw=raw), 400)["detail"]


def test_a_number_of_thousands_of_digits_harms_nobody(shop):
    raw = '{"event": "purchase", "affiliate": {"code": "A"}, "data": {"amount": ' + "9" * 9000 + "}}"
    assert "#/data/amount" in faults(shop.send(None, raw=raw))


def test_a_body_is_bounded(shop):
    raw = b'{"event": "' + b"x" * (64 * 1024) + b'"}'
    refused(shop.send(None, raw=raw), 413)
    assert shop.send(None, raw=raw[: 60 * 1024] + b'"}').status_code == 422


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "application/ld+json", None]
)
def test_a_body_is_sent_as_json(shop, content_type):
    refused(shop.send(purchase(), content_type=content_type), 415)


def test_a_compressed_body_is_refused(shop):
    refused(shop.send(purchase(), headers={"Content-Encoding": "gzip"}), 415)


def test_who_has_no_token_is_asked_for_one(shop, client, owner):
    for browser in (client, owner):  # a log-in opens pages, never this
        answer = browser.post(EVENTS, json=purchase(), headers={"Idempotency-Key": "1"})
        refused(answer, 401)
        assert answer.headers["WWW-Authenticate"] == 'Bearer realm="Signet"'


@pytest.mark.parametrize(
    "header",
    [
        "Bearer",
        "Bearer ",
        "Basic abc",
        "Bearer sig_x",
        "bearer sig_" + "A" * 43,
        "Bearer sig_" + "ä" * 43,
        "{}{}",
    ],
)
def test_a_wrong_token_is_refused(shop, header):
    answer = shop.client.get(f"{EVENTS}/1", headers={"Authorization": header.format(shop.token, "x")})
    refused(answer, 401)
    assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]


def test_a_revoked_token_is_refused_at_once(shop):
    account = account_of()
    tokens.revoke(account.id, tokens.list_tokens(account.id)[0].id, by="Ada", now=datetime.now(UTC))
    refused(shop.send(purchase()), 401)


def test_no_answer_sets_a_cookie_or_lets_another_site_in(shop, owner):
    answers = [shop.send(purchase()), shop.get(f"{EVENTS}/1"), shop.client.get("/api/v1/openapi.json")]
    answers += [
        owner.get(f"{EVENTS}/1"),
        shop.client.options(EVENTS, headers={"Origin": "https://evil.example"}),
    ]
    for answer in answers:
        assert "Set-Cookie" not in answer.headers
        assert not [name for name, _ in answer.headers if name.startswith("Access-Control")]
        assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("path", ["/api/v1/nothing", "/api/", "/api/v2/events", "/api/v1/events/", "/api/v1/events/x",
                                  "/api/v1/events/0", "/api/v1/messages/99999999999999999999"])  # fmt: skip
def test_what_is_not_there_is_told_as_a_problem(shop, path):
    refused(shop.get(path), 404)


def test_another_method_is_told_with_those_that_are_taken(shop):
    answer = shop.client.delete(EVENTS, headers=shop.headers)
    refused(answer, 405)
    assert "POST" in answer.headers["Allow"]
    for method in ("POST", "PUT", "PATCH", "OPTIONS", "TRACE"):
        refused(shop.client.open(f"{EVENTS}/1", method=method, headers=shop.headers), 405)


def test_a_token_is_asked_to_wait_when_it_is_in_too_much_of_a_hurry(shop, monkeypatch):
    monkeypatch.setattr(tokens, "REQUEST_LIMIT", tokens.rate_limit.RateLimit("test", 3, timedelta(minutes=1)))
    with time_machine.travel(datetime(2026, 11, 3, 9, 0, 20, tzinfo=UTC), tick=False):
        for _ in range(3):
            refused(shop.get(f"{EVENTS}/1"), 404)
        answer = shop.send(purchase())
        refused(answer, 429)
        assert answer.headers["Retry-After"] == "40"
    with time_machine.travel(datetime(2026, 11, 3, 9, 1, 0, tzinfo=UTC), tick=False):
        refused(shop.get(f"{EVENTS}/1"), 404)


def test_an_event_tells_what_was_said_and_what_it_caused(shop):
    told = shop.send(purchase()).get_json()
    event = shop.get(f"{EVENTS}/{told['id']}").get_json()
    assert event["mails"] == told["mails"]
    assert event["affiliate"] == {"code": "GRACE42K"}
    assert (event["event"], event["source"]) == ("purchase", "api")
    assert event["data"]["amount"] == "49.00"


def test_another_accounts_events_and_messages_are_not_there(shop, stranger, token_of, client):
    told = shop.send(purchase()).get_json()
    other = Shop(client, token_of("copperpot"))
    for path in (f"{EVENTS}/{told['id']}", f"/api/v1/messages/{told['mails'][0]['message']}"):
        assert shop.get(path).status_code == 200
        refused(other.get(path), 404)
        refused(client.get(path), 401)


def test_what_goes_wrong_on_our_side_is_told_as_a_problem_with_a_reference(shop, monkeypatch):
    monkeypatch.setattr("portal.api.views.ingest.ingest_event", lambda *a, **k: 1 / 0)
    shop.client.application.config["PROPAGATE_EXCEPTIONS"] = False
    assert "reference" in refused(shop.send(purchase()), 500)["detail"]


def test_a_deleted_event_is_not_told_again(shop):
    told = shop.send(purchase(), key="k").get_json()
    db.session.execute(db.text("DELETE FROM event_mail"))
    db.session.delete(db.session.get(Event, told["id"]))
    db.session.commit()
    refused(shop.send(purchase(), key="k"), 404)
