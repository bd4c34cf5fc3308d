"""The API of affiliates: added once, listed, found, changed; scopes and accounts stay apart. Batches of events."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select

from portal.affiliates import erased, suppressions
from portal.affiliates.models import Affiliate, AffiliateState, SuppressionReason
from portal.api import event_batches, ingest, tokens
from portal.api.affiliates import operations
from portal.api.models import ApiRequest, TokenScope
from portal.clock import utcnow
from portal.db import db
from portal.events.models import Event
from portal.outbox.models import OutboxMessage
from tests.api.conftest import EVENTS, PURCHASE, account_of, field_errors, purchase, rejected

PATH = "/api/v1/affiliates"
CONSENT = {"at": "2026-03-02T09:00:00Z", "source": "Form of the shop"}
ALAN = {"name": "Alan Turing", "email": "alan@turing.example", "external_id": "crm-7", "consent": CONSENT}


class Crm:
    """Sends requests about affiliates with a token."""

    def __init__(self, client, token):
        self.client, self.headers, self.number = client, {"Authorization": f"Bearer {token}"}, 0

    def add(self, body, *, key=None, **more):
        self.number += 1
        headers = self.headers | {"Idempotency-Key": key or f"add-{self.number}"}
        return self.client.post(PATH, json=body, headers=headers, **more)

    def get(self, path="", **query):
        return self.client.get(f"{PATH}{path}", query_string=query, headers=self.headers)

    def delete(self, id_):
        return self.client.delete(f"{PATH}/{id_}", headers=self.headers)

    def patch(self, id_, **changes):
        return self.client.patch(f"{PATH}/{id_}", json=changes, headers=self.headers)


@pytest.fixture
def crm(owner, client, token_of):
    return Crm(client, token_of(scope=TokenScope.AFFILIATES))


def kinds():
    db.session.rollback()
    own = select(OutboxMessage.kind).where(OutboxMessage.account_id.is_not(None))  # not those of the portal
    return list(db.session.scalars(own.order_by(OutboxMessage.id)))


@pytest.mark.both_databases
def test_an_affiliate_is_added_once_and_found_by_every_name(crm):
    new = ALAN | {"code": "alan-1", "notes": "Two\nlines", "website": "tea.example/blog"}
    answer = crm.add(new, key="k")
    added = answer.get_json()
    assert answer.status_code == 201, added
    assert answer.headers["Location"] == f"{PATH}/{added['id']}"
    assert added == added | {
        "name": "Alan Turing", "email": "alan@turing.example", "code": "alan-1", "external_id": "crm-7", "link": None,
        "status": "active", "notes": "Two\nlines", "website": "https://tea.example/blog",
        "consented_at": CONSENT["at"], "confirmed_at": None,
    }  # fmt: skip
    assert kinds() == []  # consent was given elsewhere, so no email is sent
    again = crm.add(new, key='"k"')
    assert (again.status_code, again.headers["Idempotent-Replayed"], again.get_json()) == (200, "true", added)
    assert rejected(crm.add(ALAN | {"name": "Else"}, key="k"), 422)["type"].endswith("idempotency-key-reused")
    crm.add({"name": "José", "email": "jose@bücher.example", "consent": CONSENT})
    assert crm.get(f"/{added['id']}").get_json() == added
    for query in (
        {"external_id": "crm-7"},
        {"code": "ALAN-1"},
        {"email": "Alan@Turing.example"},
        {"q": "TURING"},
    ):
        found = crm.get(**query).get_json()["affiliates"] if query != {"code": "ALAN-1"} else [added]
        assert [one["id"] for one in found] == [added["id"]], query
    assert [one["name"] for one in crm.get(q="jose").get_json()["affiliates"]] == ["José"]
    assert [one["name"] for one in crm.get(q="büch").get_json()["affiliates"]] == ["José"]
    assert crm.get(status="suspended").get_json() == {"affiliates": [], "next_cursor": None}


@pytest.mark.both_databases
def test_pages_have_a_cursor_and_bad_queries_an_error(crm):
    for number in range(5):
        crm.add({"name": f"Person {number}", "email": f"p{number}@x.example", "consent": CONSENT})
    seen, cursor = [], None
    while True:
        page = crm.get(limit=2, **({"cursor": cursor} if cursor else {})).get_json()
        seen += [one["name"] for one in page["affiliates"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == [f"Person {number}" for number in (4, 3, 2, 1, 0)]
    for query in ({"limit": "0"}, {"limit": "101"}, {"cursor": "x"}, {"status": "gone"}, {"q": "x" * 101}):
        assert f"#/{next(iter(query))}" in field_errors(crm.get(**query)), query


@pytest.mark.both_databases
def test_what_is_wrong_or_taken_is_named_by_field(crm, affiliate):
    affiliate(code="FORMER2")
    crm.add(ALAN)
    wrong = {
        "name": ["", "www.spam.example", "x" * 61, 7, None],
        "email": ["alan", "a@b", "jos\u00e9@x.example", 7],
        "code": ["x", "a b", "x" * 33],
        "external_id": ["", "x" * 101, "a\nb", 7],
        "notes": ["x" * 2001, "\0"],
        "website": ["javascript:alert(1)", "no website", "https://" + "x" * 300 + ".example", 7],
        "extra": [1],
    }
    new = {"name": "Else", "email": "else@x.example"}
    for name, values in wrong.items():
        for value in values:
            assert f"#/{name}" in field_errors(crm.add(new | {name: value})), (name, value)
    assert "#/consent/source" in field_errors(crm.add(new | {"consent": {"at": CONSENT["at"]}}))
    assert "#/consent/at" in field_errors(crm.add(new | {"consent": CONSENT | {"at": "2026"}}))
    tomorrow = {"at": f"{utcnow() + timedelta(days=1):%Y-%m-%dT%H:%M:%SZ}"}
    assert "#/consent/at" in field_errors(crm.add(new | {"consent": CONSENT | tomorrow}))
    assert set(field_errors(crm.add({}))) == {"#/name", "#/email"}
    suppressions.add(account_of().id, "no@x.example", "", now=utcnow())
    for taken in (
        {"email": "ALAN@turing.example"},
        {"external_id": "crm-7"},
        {"code": "former2"},
        {"email": "no@x.example"},
    ):
        errors = rejected(crm.add(new | taken, key="same"), 409)["errors"]
        assert [one["pointer"] for one in errors] == [f"#/{next(iter(taken))}"], taken
    assert crm.add(new, key="same").status_code == 201  # a refusal does not use up the key
    assert rejected(crm.client.post(PATH, json=new, headers=crm.headers), 400)["type"].endswith("key-missing")


def test_a_person_who_unsubscribed_is_added_with_consent_only_and_gets_no_email(crm):
    new = {"name": "Grace", "email": "grace@x.example"}
    suppressions.suppress(account_of().id, new["email"], SuppressionReason.UNSUBSCRIBED, now=utcnow())
    db.session.commit()
    errors = rejected(crm.add(new, key="a"), 409)["errors"]
    assert [one["pointer"] for one in errors] == ["#/email"]
    assert "unsubscribed" in errors[0]["message"]
    assert crm.add(new | {"consent": CONSENT}, key="b").status_code == 201
    assert kinds() == []


@pytest.mark.both_databases
def test_a_stored_request_names_no_person_by_its_hash_and_those_of_before_are_still_known(crm):
    erased.ensure_key()
    added = crm.add(ALAN, key="k").get_json()
    canonical = json.dumps({"affiliate": ALAN}, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    unkeyed = hashlib.sha256(canonical.encode()).hexdigest()
    request = db.session.scalars(select(ApiRequest)).one()
    assert request.fingerprint != unkeyed
    assert crm.add(ALAN, key="k").get_json() == added
    request.fingerprint = unkeyed  # as releases before stored it
    db.session.commit()
    assert crm.add(ALAN, key="k").get_json() == added
    assert rejected(crm.add(ALAN | {"name": "Else"}, key="k"), 422)["type"].endswith("idempotency-key-reused")


def test_without_consent_the_address_is_asked_within_limits(crm, monkeypatch):
    new = {"name": "Grace", "email": "grace@x.example"}
    assert crm.add(new).get_json()["status"] == "unconfirmed"
    assert kinds() == ["confirm-sign-up"]
    monkeypatch.setattr(operations, "CONFIRMATIONS", replace(operations.CONFIRMATIONS, amount=1))
    limited = crm.add(new | {"email": "b@x.example"}, key="b")
    assert int(limited.headers["Retry-After"]) > 0
    rejected(limited, 429)
    db.session.rollback()
    assert len(db.session.scalars(select(Affiliate)).all()) == 1
    assert crm.add(new | {"email": "b@x.example", "consent": CONSENT}, key="b").status_code == 201


def test_an_account_that_is_not_approved_adds_no_affiliates(crm):
    account_of().approved_at = None
    db.session.commit()
    assert rejected(crm.add(ALAN), 409)["errors"][0]["pointer"] == "#"


@pytest.mark.both_databases
def test_an_affiliate_is_changed_and_a_repeat_changes_nothing(crm, shop, affiliate):
    id_ = crm.add(ALAN).get_json()["id"]
    for _ in range(2):
        changed = crm.patch(
            id_, name="Alan M. Turing", code="alan-2", external_id=None, notes="n", status="suspended"
        )
        assert changed.status_code == 200, changed.get_json()
        found = changed.get_json()
        assert (found["name"], found["code"], found["external_id"]) == ("Alan M. Turing", "alan-2", None)
        assert (found["notes"], found["status"]) == ("n", "suspended")
    assert crm.patch(id_, status="active").get_json()["status"] == "active"
    assert (
        crm.patch(id_, website="https://bücher.example").get_json()["website"]
        == "https://xn--bcher-kva.example/"
    )
    assert "#/website" in field_errors(crm.patch(id_, website="javascript:alert(1)"))
    assert crm.patch(id_, website="").get_json()["website"] == ""
    asked = crm.patch(id_, email="new@turing.example").get_json()
    assert (asked["email"], asked["pending_email"]) == ("alan@turing.example", "new@turing.example")
    assert crm.get().get_json()["affiliates"][0]["pending_email"] == "new@turing.example"
    assert kinds().count("confirm-new-address") == 1
    for change, pointer in (
        ({"code": "GRACE42K"}, "#/code"),
        ({"email": "grace42k@hopper.example"}, "#/email"),
        ({"status": "declined"}, "#/status"),
    ):
        assert [one["pointer"] for one in rejected(crm.patch(id_, **change), 409)["errors"]] == [pointer]
    assert "#/status" in field_errors(crm.patch(id_, status="pending"))
    assert "#" in field_errors(crm.patch(id_))
    assert "#/name" in field_errors(crm.patch(id_, name="http://spam.example"))
    waiting = affiliate(code="WAITS234", state=AffiliateState.UNCONFIRMED).id
    rejected(crm.patch(waiting, status="active"), 409)
    waiting = affiliate(code="WAITS235", state=AffiliateState.PENDING).id
    assert crm.patch(waiting, status="declined").get_json()["status"] == "declined"
    # Events find the affiliate by the code before.
    assert shop.send(purchase(affiliate={"code": "alan-2"})).status_code == 201


def test_a_person_is_erased_once_and_not_added_again(crm, shop, stranger, token_of, client):
    id_ = crm.add(ALAN).get_json()["id"]
    theirs = Crm(client, token_of("copperpot", TokenScope.AFFILIATES))
    assert theirs.delete(id_).status_code == 404
    assert crm.get(f"/{id_}").status_code == 200
    for _ in range(2):
        answer = crm.delete(id_)
        assert (answer.status_code, answer.get_data()) == (204, b"")
    assert crm.get(f"/{id_}").status_code == crm.patch(id_, name="X").status_code == 404
    assert [one["code"] for one in crm.get().get_json()["affiliates"]] == ["GRACE42K"]
    rejected(crm.add(ALAN, key="again"), 409)
    rejected(crm.add(ALAN, key="add-1"), 404)
    rejected(shop.send(purchase(affiliate={"external_id": "crm-7"})), 404)
    rejected(crm.delete(999_999), 404)


def test_tokens_of_other_scopes_and_accounts_reach_nothing(crm, client, token_of, stranger, shop):
    id_ = crm.add(ALAN).get_json()["id"]
    db.session.rollback()
    before = db.session.execute(select(Affiliate.__table__)).all()
    for scope in (TokenScope.EVENTS, TokenScope.SENDING):
        other = Crm(client, token_of(scope=scope))
        for answer in (
            other.get(),
            other.get(f"/{id_}"),
            other.add(ALAN),
            other.patch(id_, name="X"),
            other.delete(id_),
        ):
            assert "affiliates" in rejected(answer, 403)["detail"]
            assert 'scope="affiliates"' in answer.headers["WWW-Authenticate"]
    for request in (client.post, client.get):
        assert (
            request(EVENTS + "/1" if request == client.get else EVENTS, headers=crm.headers).status_code
            == 403
        )
    batch = client.post(f"{EVENTS}/batch", json={"events": [{}]}, headers=crm.headers)
    assert batch.status_code == 403
    theirs = Crm(client, token_of("copperpot", TokenScope.AFFILIATES))
    assert theirs.get().get_json()["affiliates"] == []
    for query in ({"q": "alan"}, {"external_id": "crm-7"}, {"email": ALAN["email"]}, {"code": "GRACE42K"}):
        assert theirs.get(**query).get_json()["affiliates"] == [], query
    assert theirs.get(f"/{id_}").status_code == theirs.patch(id_, name="X").status_code == 404
    shop.token = token_of("copperpot")
    assert shop.send(purchase(affiliate={"external_id": "crm-7"})).status_code == 404
    db.session.rollback()
    assert db.session.execute(select(Affiliate.__table__)).all() == before
    assert client.get(PATH).status_code == client.post(PATH, json=ALAN).status_code == 401


@pytest.mark.both_databases
def test_an_event_names_its_affiliate_by_external_id(crm, shop):
    id_ = crm.add(ALAN).get_json()["id"]
    answer = shop.send(purchase(affiliate={"external_id": "crm-7"}))
    assert answer.status_code == 201
    assert db.session.get(Event, answer.get_json()["id"]).affiliate_id == id_
    rejected(shop.send(purchase(affiliate={"external_id": "crm-8"})), 404)
    both = {"external_id": "crm-7", "code": "GRACE42K"}
    assert "external_id" in field_errors(shop.send(purchase(affiliate=both)))["#/affiliate"]
    assert "#/affiliate" in field_errors(shop.send(purchase(affiliate={})))


def send_batch(shop, events, **more):
    headers = shop.headers | {"Content-Type": "application/json"}
    data = more.pop("raw", None) or json.dumps({"events": events} | more)
    return shop.client.post(f"{EVENTS}/batch", data=data, headers=headers)


def item(key, **changes):
    order = {"order": changes.pop("order", f"A-{key}")}
    return purchase(idempotency_key=key, data=PURCHASE | order, **changes)


@pytest.mark.both_databases
def test_a_bad_event_of_a_batch_harms_no_other(shop, stored, monkeypatch):
    events = [
        item("1"),
        item("2", affiliate={"code": "UNKNOWN"}),
        "no event",
        {"event": "purchase"},
        item("4", event="nonsense"),
        item("1"),
        item("1", order="other"),
        item("BROKEN"),
        item("5"),
    ]
    ingested = ingest.ingest_event

    def failing(account_id, body, *, key, now):
        if key == "BROKEN":
            db.session.add(Event(account_id=account_id))
            raise RuntimeError("a secret of the portal")
        return ingested(account_id, body, key=key, now=now)

    monkeypatch.setattr(ingest, "ingest_event", failing)
    answer = send_batch(shop, events)
    assert answer.status_code == 200
    results = answer.get_json()["results"]
    assert [one["status"] for one in results] == [201, 404, 422, 400, 422, 200, 422, 500, 201]
    assert results[5]["result"] == results[0]["result"]
    assert all(one["problem"]["detail"] for one in results if one["status"] >= 400)
    assert "secret" not in answer.get_data(as_text=True)
    assert [event.values["order"] for event in stored()[0]] == ["A-1", "A-5"]
    again = send_batch(shop, events).get_json()["results"]
    assert [one["status"] for one in again] == [200, 404, 422, 400, 422, 200, 422, 500, 200]
    assert len(stored()[0]) == 2


def test_what_is_no_batch_is_refused_as_a_whole(shop, stored, monkeypatch):
    for events in ([], [item("1")] * 101, {}, None, "x"):
        assert "#/events" in field_errors(send_batch(shop, events))
    assert "#/events" in field_errors(send_batch(shop, [item("1")], more=1))
    rejected(send_batch(shop, None, raw=b"["), 400)
    rejected(send_batch(shop, None, raw=b" " * (event_batches.MAX_BODY_BYTES + 1)), 413)
    limit = replace(event_batches.REQUEST_LIMIT, amount=1)
    monkeypatch.setattr(event_batches, "REQUEST_LIMIT", limit)
    limited = send_batch(shop, [item("1")])
    assert rejected(limited, 429)
    assert int(limited.headers["Retry-After"]) > 0
    assert stored()[0] == []
    assert tokens.REQUEST_LIMIT.amount > event_batches.MAX_EVENTS
