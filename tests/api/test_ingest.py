"""The endpoints of the API: what a shop can send, the responses, and what is rejected with which error."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from sqlalchemy import event

from portal.affiliates.models import AffiliateState
from portal.api import tokens
from portal.api.schemas import SHAPES
from portal.clock import utcnow
from portal.db import db
from portal.events.models import Event
from portal.notices import recipients
from portal.notices.catalogue import CATALOGUE
from tests.api.conftest import EVENTS, PURCHASE, Shop, account_of, field_errors, purchase, rejected
from tests.cases import in_one_test


def test_a_purchase_enqueues_its_emails_and_returns_them(shop, stored):
    response = shop.send(purchase())
    result = response.get_json()
    assert response.status_code == 201, result
    events, messages = stored()
    assert [one.id for one in events] == [result["id"]]
    assert events[0].values == PURCHASE | {"product": ""}
    assert response.headers["Location"] == f"{EVENTS}/{result['id']}"
    assert {mail["kind"]: mail["recipient"] for mail in result["mails"]} == {
        "new-purchase": "grace42k@hopper.example",
        "owner-new-purchase": "ada@brightleaf.example",
    }
    assert {mail["message"] for mail in result["mails"]} == {message.id for message in messages}
    assert {mail["status"] for mail in result["mails"]} == {"queued"}
    assert "A-1042" in messages[0].text


@pytest.mark.both_databases
@pytest.mark.parametrize("is_approved", [True, False])
def test_an_event_is_taken_in_without_the_session(shop, stored, is_approved):
    """Each statement of the session costs several times what the database needs for it."""
    account_of().approved_at = utcnow() if is_approved else None
    db.session.commit()
    found = []
    listener = lambda *details: found.append(details[2])  # noqa: E731 - removed below
    for engine in db.engines.values():
        event.listen(engine, "before_cursor_execute", listener)
    try:
        assert [shop.send(purchase()).status_code for _ in range(2)] == [201, 201]
    finally:
        for engine in db.engines.values():
            event.remove(engine, "before_cursor_execute", listener)
    assert found == []
    assert len(stored()[0]) == 3, "the second one is about the same order, which the owner is told"


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_every_event_is_accepted_with_its_sample_values(shop, shape):
    body = purchase(event=shape.event, data={one.name: one.sample for one in shape.fields})
    response = shop.send(body)
    assert response.status_code == 201, response.get_json()
    assert any(mail.get("message") for mail in response.get_json()["mails"])


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_every_event_is_accepted_with_only_its_required_values(shop, shape):
    body = purchase(event=shape.event, data={one.name: one.sample for one in shape.fields if one.required})
    response = shop.send(body)
    assert response.status_code == 201, response.get_json()
    assert not [mail for mail in response.get_json()["mails"] if mail.get("why") == "text-refused"]


def test_a_link_in_the_name_of_a_lead_is_mailed_to_no_affiliate(shop, stored):
    spam = {"lead_name": "Win http://spam.example now at spam．example or ada@spam.example"}
    response = shop.send(purchase(event="lead", data=spam))
    assert response.status_code == 201
    events, messages = stored()
    assert events[0].values["lead_name"] == "Win now at or"
    assert "Win now at or came to" in messages[0].text
    assert "spam" not in "".join(message.text + message.html for message in messages)


def test_a_repeat_gets_the_same_response_and_has_no_effect(shop, stored):
    first = shop.send(purchase(), key="order-1")
    reordered = '{"data": {"commission":"12.25", "currency":"EUR","order":"A-1042","amount":"49.00"},'
    reordered += ' "affiliate": {"code":"GRACE42K"}, "event":"purchase"}'
    for again in (shop.send(purchase(), key="order-1"), shop.send(None, raw=reordered, key='"order-1"')):
        assert again.status_code == 200
        assert again.headers["Idempotent-Replayed"] == "true"
        assert again.get_json() == first.get_json()
    assert "Idempotent-Replayed" not in first.headers
    events, messages = stored()
    assert (len(events), len(messages)) == (1, 2)


def test_the_response_to_a_repeat_stays_the_same_after_messages_were_sent(shop, stored):
    first = shop.send(purchase(), key="k").get_json()
    _, messages = stored()
    messages[0].status = "sent"
    db.session.commit()
    assert shop.send(purchase(), key="k").get_json() == first
    now = shop.get(f"{EVENTS}/{first['id']}").get_json()
    assert sorted(mail["status"] for mail in now["mails"]) == ["queued", "sent"]


def test_a_key_of_another_event_is_rejected(shop, stored):
    shop.send(purchase(), key="order-1")
    result = rejected(shop.send(purchase(data=PURCHASE | {"amount": "50.00"}), key="order-1"), 422)
    assert result["type"].endswith("#problem-idempotency-key-reused")
    assert len(stored()[0]) == 1


def test_the_same_key_of_two_accounts_is_two_events(shop, stranger, token_of, affiliate, client, stored):
    affiliate("copperpot", code="OTHER234")
    other = Shop(client, token_of("copperpot"))
    assert shop.send(purchase(), key="1").status_code == 201
    assert other.send(purchase(affiliate={"code": "OTHER234"}), key="1").status_code == 201
    assert len(stored()[0]) == 2


def test_a_rejected_event_does_not_use_up_its_key(shop):
    rejected(shop.send(purchase(affiliate={"code": "NOBODY22"}), key="k"), 404)
    field_errors(shop.send(purchase(data={}), key="k"))
    assert shop.send(purchase(), key="k").status_code == 201


@pytest.mark.parametrize("key", [None, "", " ", '"', '"a', "a b", "x" * 101, "ü", '"a"b"', '"a\\b"'])
def test_an_event_without_a_valid_key_is_rejected(shop, key):
    headers = {"Idempotency-Key": key}
    assert rejected(shop.send(purchase(), headers=headers), 400)["type"].endswith(
        "#problem-idempotency-key-missing"
    )


def test_the_affiliate_is_found_by_code_or_address_in_any_case(shop):
    for reference in ({"code": "GRACE42K"}, {"code": "grace42k"}, {"email": "Grace42K@HOPPER.example"}):
        assert shop.send(purchase(affiliate=reference)).status_code == 201, reference


@pytest.mark.parametrize(
    "reference", [{"code": "NOBODY22"}, {"email": "nobody@hopper.example"}, {"email": "a@b"}]
)
def test_an_unknown_affiliate_is_rejected_and_nothing_is_stored(shop, stored, reference):
    result = rejected(shop.send(purchase(affiliate=reference)), 404)
    assert result["errors"][0]["pointer"] == f"#/affiliate/{next(iter(reference))}"
    assert stored() == ([], [])


def test_an_affiliate_of_another_account_is_unknown(shop, stranger, affiliate):
    row = affiliate("copperpot", code="OTHER234")
    for reference in ({"code": row.code}, {"email": row.mailbox}):
        rejected(shop.send(purchase(affiliate=reference)), 404)


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
def test_the_response_contains_the_reason_for_no_email(shop, affiliate, state, why):
    affiliate(code="STOPPED2", state=state)
    response = shop.send(purchase(affiliate={"code": "STOPPED2"}))
    assert response.status_code == 201
    result = {mail["kind"]: mail for mail in response.get_json()["mails"]}
    assert result["new-purchase"] == {
        "kind": "new-purchase",
        "recipient": "stopped2@hopper.example",
        "why": why,
    }


def test_an_email_that_is_switched_off_is_reported_as_such(shop):
    recipients.set_enabled(account_of().id, CATALOGUE["new-purchase"], enabled=False)
    result = {mail["kind"]: mail for mail in shop.send(purchase()).get_json()["mails"]}
    assert result["new-purchase"]["why"] == "notice-off"
    assert "message" in result["owner-new-purchase"]


@pytest.mark.parametrize("amount", [49.0, 49, True, None, [], {}])
def test_an_amount_that_is_not_text_is_rejected_by_name(shop, amount):
    result = field_errors(shop.send(purchase(data=PURCHASE | {"amount": amount})))
    assert set(result) == {"#/data/amount"}
    assert "text in quotes" in result["#/data/amount"]


@in_one_test(
    "amount",
    ["", "1,00", "1.", ".5", "+1", "1e3", "--1", "1.00001", "1" * 13, "1\n", "１", "٣", "NaN", " 1", "0x1"],
)
def test_an_amount_that_is_not_a_decimal_number_is_rejected(shop, amount):
    result = field_errors(shop.send(purchase(data=PURCHASE | {"amount": amount})))
    assert set(result) == {"#/data/amount"}


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
    response = shop.send(purchase(data=data))
    if fine:
        assert response.status_code == 201
    else:
        assert "decimals" in field_errors(response)["#/data/amount"]


@in_one_test("currency", ["eur", "EURO", "XXX", "XAU", "DEM", "", "€", 978])
def test_a_currency_is_one_of_iso_4217(shop, currency):
    assert set(field_errors(shop.send(purchase(data=PURCHASE | {"currency": currency})))) == {
        "#/data/currency"
    }


@pytest.mark.parametrize(
    "order", ["", " ", " A", "A\n", "A\r\nBcc: x@y.example", "A\x00", "A\u202eB", "x" * 65, "\ufeff"]
)
def test_an_order_is_one_visible_line(shop, order):
    assert set(field_errors(shop.send(purchase(data=PURCHASE | {"order": order})))) == {"#/data/order"}


def test_all_invalid_fields_are_reported_at_once_by_pointer(shop, stored):
    body = {
        "event": "purchase",
        "affilate": {},
        "data": {"amount": 1, "shipping": "1", "a/b~": "", "currency": "x"},
    }
    result = field_errors(shop.send(body))
    assert set(result) == {
        "#/affilate", "#/affiliate", "#/data/amount", "#/data/shipping", "#/data/a~1b~0", "#/data/currency",
        "#/data/order", "#/data/commission",
    }  # fmt: skip
    assert stored() == ([], [])


@pytest.mark.parametrize(
    "reference", [{}, {"code": "A", "email": "a@b.example"}, {"name": "Grace"}, "GRACE42K", None, []]
)
def test_an_affiliate_is_named_in_exactly_one_way(shop, reference):
    body = purchase()
    body["affiliate"] = reference
    assert field_errors(shop.send(body))


@pytest.mark.parametrize(
    "event", ["sale", "", None, 1, [], {}, "signed_up", "week_ended", "commission-approved"]
)
def test_an_event_is_one_that_a_shop_can_send(shop, event):
    body = purchase()
    body["event"] = event
    assert set(field_errors(shop.send(body))) == {"#/event"}


@pytest.mark.parametrize("body", [[], "x", 1, None, True])
def test_an_event_is_an_object(shop, body):
    assert set(field_errors(shop.send(body))) == {"#"}


@time_machine.travel("2026-11-04 12:00:00+00:00", tick=False)
def test_when_it_happened_is_kept_in_utc(shop, stored):
    assert shop.send(purchase(occurred_at="2026-11-03T10:12:00.5+01:00")).status_code == 201
    assert stored()[0][0].values["occurred_at"] == "2026-11-03T09:12:00Z"


@time_machine.travel("2026-11-04 12:00:00+00:00", tick=False)
@pytest.mark.parametrize(
    "moment", ["2099-01-01T00:00:00Z", "2026-11-04T13:00:01Z", "2026-11-04T12:30:00-01:00"]
)
def test_an_event_more_than_an_hour_ahead_is_rejected_with_that_reason(shop, stored, moment):
    assert "hour ahead" in field_errors(shop.send(purchase(occurred_at=moment)))["#/occurred_at"]
    assert stored() == ([], [])
    assert shop.send(purchase(occurred_at="2026-11-04T13:00:00Z")).status_code == 201


@time_machine.travel("2026-11-04 12:00:00+00:00", tick=False)
@pytest.mark.parametrize(
    ("moment", "notify", "is_mailed"),
    [
        ("2019-05-01T10:00:00Z", None, False),
        ("2019-05-01T10:00:00Z", False, False),
        ("2019-05-01T10:00:00Z", True, True),
        ("2026-10-05T11:59:59Z", None, False),
        ("2026-10-05T12:00:00Z", None, True),
        ("2026-11-04T11:00:00Z", False, True),
    ],
)
def test_an_event_of_more_than_30_days_ago_is_recorded_and_causes_emails_only_if_asked(
    shop, stored, moment, notify, is_mailed
):
    response = shop.send(purchase(occurred_at=moment, notify=notify))
    assert response.status_code == 201
    events, messages = stored()
    assert (len(events), len(messages)) == (1, 2 if is_mailed else 0)
    reasons = {mail.get("why") for mail in response.get_json()["mails"]}
    assert reasons == ({None} if is_mailed else {"too-old"})


@pytest.mark.parametrize("value", ["true", 1, None, "yes"])
def test_whether_an_old_event_causes_emails_is_true_or_false(shop, value):
    body = purchase()
    body["notify"] = value
    assert "true or false" in field_errors(shop.send(body))["#/notify"]


@pytest.mark.parametrize("amount", ["-3.00", "0", "0.00", "-0.00", "000.0", "-0.01"])
def test_a_payout_is_more_than_zero(shop, stored, amount):
    body = purchase(event="payout", data={"amount": amount, "currency": "EUR"})
    assert "correction" in field_errors(shop.send(body))["#/data/amount"]
    assert stored() == ([], [])


@pytest.mark.parametrize("amount", ["0.01", "00012.5", "0.0001", "118.40", "999999999999"])
def test_a_payout_of_any_amount_above_zero_is_accepted(shop, amount):
    currency = "CLF" if amount == "0.0001" else "EUR"
    assert (
        shop.send(purchase(event="payout", data={"amount": amount, "currency": currency})).status_code == 201
    )


@pytest.mark.parametrize(
    ("event", "changes"),
    [("purchase", {"amount": "1"}), ("refund", {}), ("commission_approved", {}), ("commission_declined", {})],
)
def test_a_commission_is_not_below_zero(shop, event, changes):
    data = {"order": "A-1", "commission": "-3.00", "currency": "EUR"} | changes
    assert set(field_errors(shop.send(purchase(event=event, data=data)))) == {"#/data/commission"}


@pytest.mark.parametrize(
    ("amount", "words"), [("-5.00", ("took", "-5.00 EUR")), ("1234.5", ("added", "1,234.50 EUR"))]
)
def test_a_correction_is_an_event_with_its_own_words(shop, stored, amount, words):
    data = {"amount": amount, "currency": "EUR", "reason": "A bonus was paid twice"}
    assert shop.send(purchase(event="correction", data=data)).status_code == 201
    [message] = stored()[1]
    assert message.kind == "balance-corrected"
    assert "on their way" not in message.subject
    assert all(word in message.text for word in (*words, "A bonus was paid twice"))
    for nothing in ("0", "-0.00"):
        body = purchase(event="correction", data={"amount": nothing, "currency": "EUR"})
        assert "zero corrects nothing" in field_errors(shop.send(body))["#/data/amount"]


@pytest.mark.parametrize(
    ("currency", "amount", "written"),
    [
        ("EUR", "12.5", "12.50 EUR"),
        ("EUR", "00012.5", "12.50 EUR"),
        ("EUR", "1234567.50", "1,234,567.50 EUR"),
        ("KWD", "1.5", "1.500 KWD"),
        ("JPY", "1200", "1,200 JPY"),
    ],
)
def test_amounts_are_written_for_people_with_the_decimals_of_their_currency(
    shop, stored, currency, amount, written
):
    data = PURCHASE | {"currency": currency, "amount": amount, "commission": amount}
    response = shop.send(purchase(data=data))
    events, messages = stored()
    assert events[0].values["commission"] == amount, "as the shop reported it"
    assert response.status_code == 201
    for message in messages:
        assert written in message.subject
        assert written in message.text


@pytest.mark.parametrize(
    "moment", ["2026-11-03", "2026-11-03T09:12:00", "2026-02-30T09:12:00Z", "2026-11-03T24:12:00Z", "1999-11-03T09:12:00Z",
               "2026-11-03T09:12:00+25:00", "2026-11-03T09:12:00Z\n", "now", 1, None]
)  # fmt: skip
def test_a_time_is_an_rfc_3339_date_time(shop, moment):
    body = purchase()
    body["occurred_at"] = moment
    assert set(field_errors(shop.send(body))) == {"#/occurred_at"}


@in_one_test(
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
)  # fmt: skip
def test_an_unreadable_body_is_rejected_with_the_position(shop, raw, words):
    assert words in rejected(shop.send(None, raw=raw), 400)["detail"]


def test_a_number_of_thousands_of_digits_is_rejected_as_a_field_error(shop):
    raw = '{"event": "purchase", "affiliate": {"code": "A"}, "data": {"amount": ' + "9" * 9000 + "}}"
    assert "#/data/amount" in field_errors(shop.send(None, raw=raw))


def test_a_body_larger_than_64_kib_is_rejected(shop):
    raw = b'{"event": "' + b"x" * (64 * 1024) + b'"}'
    rejected(shop.send(None, raw=raw), 413)
    assert shop.send(None, raw=raw[: 60 * 1024] + b'"}').status_code == 422


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "application/ld+json", None]
)
def test_a_body_is_sent_as_json(shop, content_type):
    rejected(shop.send(purchase(), content_type=content_type), 415)


def test_a_compressed_body_is_rejected(shop):
    rejected(shop.send(purchase(), headers={"Content-Encoding": "gzip"}), 415)


def test_a_request_without_a_token_is_rejected(shop, client, owner):
    for browser in (client, owner):  # a log-in authenticates pages, not the API
        response = browser.post(EVENTS, json=purchase(), headers={"Idempotency-Key": "1"})
        rejected(response, 401)
        assert response.headers["WWW-Authenticate"] == 'Bearer realm="Signet"'


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
def test_a_wrong_token_is_rejected(shop, header):
    response = shop.client.get(f"{EVENTS}/1", headers={"Authorization": header.format(shop.token, "x")})
    rejected(response, 401)
    assert 'error="invalid_token"' in response.headers["WWW-Authenticate"]


def test_a_revoked_token_is_rejected_at_once(shop):
    account = account_of()
    now = datetime.now(UTC)
    tokens.revoke(account.id, tokens.list_tokens(account.id, now)[0].row.id, by="Ada", now=now)
    rejected(shop.send(purchase()), 401)


def test_no_response_sets_a_cookie_or_allows_another_origin(shop, owner):
    responses = [shop.send(purchase()), shop.get(f"{EVENTS}/1"), shop.client.get("/api/v1/openapi.json")]
    responses += [
        owner.get(f"{EVENTS}/1"),
        shop.client.options(EVENTS, headers={"Origin": "https://evil.example"}),
    ]
    for response in responses:
        assert "Set-Cookie" not in response.headers
        assert not [name for name, _ in response.headers if name.startswith("Access-Control")]
        assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("path", ["/api/v1/nothing", "/api/", "/api/v2/events", "/api/v1/events/", "/api/v1/events/x",
                                  "/api/v1/events/0", "/api/v1/messages/99999999999999999999"])  # fmt: skip
def test_an_unknown_path_is_a_problem_response(shop, path):
    rejected(shop.get(path), 404)


def test_a_wrong_method_gets_the_allowed_ones(shop):
    response = shop.client.delete(EVENTS, headers=shop.headers)
    rejected(response, 405)
    assert "POST" in response.headers["Allow"]
    for method in ("POST", "PUT", "PATCH", "OPTIONS", "TRACE"):
        rejected(shop.client.open(f"{EVENTS}/1", method=method, headers=shop.headers), 405)


def test_a_token_over_its_rate_limit_gets_retry_after(shop, monkeypatch):
    monkeypatch.setattr(tokens, "REQUEST_LIMIT", tokens.rate_limit.RateLimit("test", 3, timedelta(minutes=1)))
    with time_machine.travel(datetime(2026, 11, 3, 9, 0, 20, tzinfo=UTC), tick=False):
        for _ in range(3):
            rejected(shop.get(f"{EVENTS}/1"), 404)
        response = shop.send(purchase())
        rejected(response, 429)
        assert response.headers["Retry-After"] == "65"
    with time_machine.travel(datetime(2026, 11, 3, 9, 1, 24, tzinfo=UTC), tick=False):
        rejected(shop.get(f"{EVENTS}/1"), 429)
    with time_machine.travel(datetime(2026, 11, 3, 9, 1, 25, tzinfo=UTC), tick=False):
        rejected(shop.get(f"{EVENTS}/1"), 404)


def test_an_event_can_be_read_with_its_values_and_emails(shop):
    result = shop.send(purchase()).get_json()
    event = shop.get(f"{EVENTS}/{result['id']}").get_json()
    assert event["mails"] == result["mails"]
    assert event["affiliate"] == {"code": "GRACE42K", "link": None}  # no shop address yet
    assert (event["event"], event["source"]) == ("purchase", "api")
    assert event["data"]["amount"] == "49.00"


def test_events_and_messages_of_another_account_are_not_found(shop, stranger, token_of, client):
    result = shop.send(purchase()).get_json()
    other = Shop(client, token_of("copperpot"))
    for path in (f"{EVENTS}/{result['id']}", f"/api/v1/messages/{result['mails'][0]['message']}"):
        assert shop.get(path).status_code == 200
        rejected(other.get(path), 404)
        rejected(client.get(path), 401)


def test_an_internal_error_is_a_problem_response_with_a_reference(shop, monkeypatch):
    monkeypatch.setattr("portal.api.views.ingest.ingest_event", lambda *a, **k: 1 / 0)
    shop.client.application.config["PROPAGATE_EXCEPTIONS"] = False
    assert "reference" in rejected(shop.send(purchase()), 500)["detail"]


def test_a_repeat_after_the_event_was_deleted_is_not_found(shop):
    result = shop.send(purchase(), key="k").get_json()
    db.session.execute(db.text("DELETE FROM event_mail"))
    db.session.delete(db.session.get(Event, result["id"]))
    db.session.commit()
    rejected(shop.send(purchase(), key="k"), 404)


def test_the_balance_and_the_commissions_of_an_order_are_what_is_left(shop):
    shop.send(purchase())
    refund = {"order": "A-1042", "commission": "2.25", "currency": "EUR"}
    shop.send(purchase(event="refund", data=refund))
    shop.send(purchase(event="commission_approved", data=refund))
    shop.send(purchase(event="payout", data={"amount": "4.00", "currency": "EUR", "order": "A-1042"}))
    balance = shop.get("/api/v1/affiliates/grace42k/balance").get_json()
    assert balance == {
        "affiliate": {"code": "GRACE42K"},
        "balances": [{"currency": "EUR", "pending": "0.00", "approved": "6.00", "paid": "4.00"}],
    }
    [one] = shop.get("/api/v1/commissions?order=A-1042").get_json()["commissions"]
    assert (one["commission"], one["refunded"], one["left"], one["paid"]) == (
        "12.25",
        "2.25",
        "10.00",
        "4.00",
    )
    assert (one["state"], one["affiliate"]) == ("approved", {"code": "GRACE42K"})
    assert shop.get("/api/v1/commissions?order=nothing").get_json() == {"commissions": []}
    rejected(shop.get("/api/v1/affiliates/NOBODY22/balance"), 404)
    for query in ("", "?order=", "?order=%20A", "?order=%00", f"?order={'x' * 65}", "?order=A%0A"):
        assert "#/order" in field_errors(shop.get(f"/api/v1/commissions{query}")), query


def test_the_money_of_another_account_is_not_found(shop, stranger, affiliate):
    affiliate("copperpot", code="OTHER234")
    rejected(shop.get("/api/v1/affiliates/OTHER234/balance"), 404)


def test_an_order_under_another_key_is_accepted_and_not_counted(shop):
    shop.send(purchase(), key="a")
    result = shop.send(purchase(), key="b")
    assert result.status_code == 201
    assert {mail["why"] for mail in result.get_json()["mails"]} == {"same-order"}
    states = [one["state"] for one in shop.get("/api/v1/commissions?order=A-1042").get_json()["commissions"]]
    assert states == ["pending", "repeated"]


@pytest.mark.parametrize("event", ["refund", "commission_approved", "commission_declined"])
def test_an_event_that_contradicts_its_order_is_rejected_by_field(shop, affiliate, event, stored):
    affiliate(code="OTHER234")
    shop.send(purchase())
    data = {"order": "A-1042", "commission": "1.00", "currency": "USD"}
    assert "EUR" in field_errors(shop.send(purchase(event=event, data=data), key="k"))["#/data/currency"]
    body = purchase(event=event, data=data | {"currency": "EUR"}, affiliate={"code": "OTHER234"})
    assert "another affiliate" in field_errors(shop.send(body, key="k"))["#/affiliate"]
    assert len(stored()[0]) == 1
    assert shop.send(purchase(event=event, data=data | {"currency": "EUR"}), key="k").status_code == 201
