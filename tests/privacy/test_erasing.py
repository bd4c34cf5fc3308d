"""A person is erased: no table holds them any more, sums stay, and no way in writes to them again."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import sqlalchemy as sa

from portal import create_app
from portal.affiliates import codes, directory, erased, links, suppressions
from portal.affiliates.models import (
    ActionToken,
    Affiliate,
    AffiliateState,
    FormerCode,
    OptOut,
    Suppression,
    SuppressionLift,
    SuppressionReason,
    TokenPurpose,
)
from portal.api.ingest import ingest_event
from portal.api.problems import Problem
from portal.arrival.models import TestEmail
from portal.bounces import outcomes, processing
from portal.bounces.meaning import Meaning, Report
from portal.bounces.models import BounceEvent, EventState, MessageOutcome
from portal.bounces.recording import record_event, record_events
from portal.clock import utcnow
from portal.db import Base, db, readiness
from portal.db.migrate import downgrade, upgrade
from portal.deliveries.models import LogRow
from portal.enrolment import dashboard_links, signup_rules
from portal.enrolment.changing import address_change
from portal.events import digests
from portal.events.dispatch import NewEvent
from portal.events.dispatch import record_event as record
from portal.events.models import EmailDecision, Event, EventMail
from portal.events.types import EventType, Source
from portal.imports.models import AffiliateImport
from portal.incidents.models import Incident, IncidentKind, WebhookDelivery
from portal.money import balances
from portal.notices import recipients
from portal.outbox.models import DeliveryAttempt, OutboxMessage, Outcome, Status
from portal.privacy import erasing, late_reports
from portal.privacy.models import Erasure
from portal.privacy.person import Person
from portal.state import current_config
from tests.conftest import make_config
from tests.enrolment.support import account_of, newest_affiliate, path_in, sign_up
from tests.migrations import make_tables
from tests.test_account_states_migration import _fill, _triggers
from tests.test_plain_names import _tables

NAME, MAILBOX, FORMER = "Grace Brewster Hopper", "Grace.Hopper@example.org", "grace@old.example"
TRACES = re.compile(r"grace|hopper|brewster|a lead named", re.IGNORECASE)


def traces(codes=()):
    """Return the columns of all tables that hold something of the person."""
    db.session.rollback()
    words = re.compile("|".join([TRACES.pattern, *map(re.escape, codes)]), re.IGNORECASE)
    found = set()
    for table in Base.metadata.sorted_tables:
        for row in db.session.execute(sa.select(table)).mappings():
            for name, value in row.items():
                text = json.dumps(value, ensure_ascii=False, default=str)
                if words.search(text):
                    found.add(f"{table.name}.{name}")
    return found


def report(account_id, code, event, key, **data):
    body = {"event": event, "affiliate": {"code": code}, "data": data}
    return ingest_event(account_id, body, key=key, now=utcnow())


def fill(client, account):
    """Leave traces of one person wherever the product stores any; return her."""
    signup_rules.save_rules(account.id, signup_rules.Rules(confirm=True))
    sign_up(client, name=NAME, mailbox=MAILBOX)
    client.submit(path_in("confirm-sign-up", "confirm-sign-up"), {})
    person, now = newest_affiliate(), utcnow()
    money = {"currency": "EUR", "order": "A-1"}
    report(account.id, person.code, "lead", f"lead-{MAILBOX}", lead_name="A lead named Lin")
    report(account.id, person.code, "purchase", "buy-1", amount="80.00", commission="12.00",
           product="Book for Grace", **money)  # fmt: skip
    report(account.id, person.code, "purchase", "buy-2", amount="10.00", commission="1.50",
           currency="EUR", order="A-2")  # fmt: skip
    message = db.session.scalars(
        sa.select(OutboxMessage).where(OutboxMessage.kind == "new-sign-up").limit(1)
    ).one()
    message.status, message.settled_at, message.message_id = Status.SENT, now, "<grace-1@shop.example>"
    refused = {"code": "x", "retry_class": "recipient", "evidence": {"reply": f"<{MAILBOX}> unknown"}}
    db.session.add(
        DeliveryAttempt(message_id=message.id, number=1, started_at=now, outcome=Outcome.ACCEPTED,
                        reply_text=f"250 <{MAILBOX}> ok", transcript=f"RCPT TO:<{MAILBOX}>",
                        queue_id="for-grace", diagnosis=refused)
    )  # fmt: skip
    db.session.add_all(
        [
            OptOut(affiliate_id=person.id, kind="new-lead", created_at=now),
            FormerCode(code="GRACEHOPPER", account_id=account.id, affiliate_id=person.id, replaced_at=now),
            ActionToken(token_hash="t" * 64, affiliate_id=person.id, purpose=TokenPurpose.CONFIRM,
                        mailbox=FORMER, created_at=now),
            SuppressionLift(account_id=account.id, mailbox_key=MAILBOX.casefold(), reason="bounced",
                            note="Grace", why="Grace wrote", lifted_by="Ada", lifted_at=now),
            Incident(account_id=account.id, kind=IncidentKind.SENDING, cause="x", last_reply=f"<{MAILBOX}> no",
                     diagnosis={"cause": f"{MAILBOX} is refused"}, opened_at=now, episode_started_at=now,
                     last_seen_at=now),
            WebhookDelivery(account_id=account.id, key="k", event="message.sent", created_at=now, next_at=now,
                            body=json.dumps({"affiliate": {"code": person.code}})),
            WebhookDelivery(account_id=account.id, key="other", event="message.sent", created_at=now,
                            next_at=now, body=json.dumps({"affiliate": {"code": "OTHER"}})),
            MessageOutcome(message_id=message.id, account_id=account.id, mailbox_key=MAILBOX.casefold(),
                           domain="example.org", meaning=Meaning.SOFT, source="generic", event_key="e",
                           occurred_at=now, noted_at=now, sent_at=now, reason="Grace's mailbox is full"),
            TestEmail(account_id=account.id, message_id=message.id, token_hash="u" * 64, recipient=MAILBOX,
                      created_at=now, expires_at=now),
        ]
    )  # fmt: skip
    for key in ("matched", "unmatched"):
        one = Report(Meaning.SOFT, key, recipient=MAILBOX, reason="Grace is full", raw=f"to {MAILBOX}")
        record_event(account.id, "generic", one, now=now)
    event = db.session.scalars(sa.select(BounceEvent).order_by(BounceEvent.id)).first()
    event.state, event.message_id = EventState.MATCHED, message.id
    person.external_id, person.notes = "customer-77", "Grace likes tea"
    suppressions.suppress(account.id, MAILBOX, SuppressionReason.BOUNCED, note="Grace", now=now)
    db.session.commit()
    return person


def counts(account_id):
    by_status = sa.select(LogRow.status, LogRow.kind, sa.func.count()).group_by(LogRow.status, LogRow.kind)
    waiting = (Status.QUEUED, Status.CANCELLED, Status.SUPPRESSED)
    settled = [tuple(row) for row in db.session.execute(by_status) if row[0] not in waiting]
    money = [
        (one.currency, one.pending, one.approved, one.paid) for one in balances.overview(account_id).balances
    ]
    total = db.session.scalar(sa.select(sa.func.count()).select_from(OutboxMessage))
    return sorted(settled), money, total


@pytest.mark.both_databases
def test_no_table_holds_an_erased_person_and_no_way_in_writes_to_them(owner, stranger, client, app):
    account_id = account_of().id
    person = fill(client, account_of())
    id_, codes = person.id, [person.code, "customer-77"]
    dashboard = path_in("new-sign-up", "affiliate")
    assert client.get(dashboard).status_code == 200
    before = counts(account_id)
    assert len(traces(codes)) > 25
    path = f"/affiliates/{id_}"
    assert stranger.submit(f"{path}/erase", {}, page="/affiliates").status_code == 404
    answer = owner.submit(f"{path}/erase", {}, page=path)
    assert (answer.status_code, answer.location) == (303, path)

    # At once: the pages are closed, and nothing waits to be sent.
    assert client.get(dashboard).status_code == 404
    about = sa.select(OutboxMessage.status).join(EventMail, EventMail.message_id == OutboxMessage.id)
    assert Status.QUEUED not in set(db.session.scalars(about))
    [erasure] = db.session.scalars(sa.select(Erasure))
    assert list(erasing.find_work(utcnow())) == [(erasing.JOB, erasure.id)]
    erasing._run_batch(erasure.id, utcnow())  # and the worker dies
    erasing.run(erasure.id)
    db.session.expire_all()
    assert erasing.find_work(utcnow()) == []
    assert (traces(codes), erasure.sealed_person) == (set(), None)
    if db.engine.dialect.name == "sqlite":
        words = sa.text(
            "SELECT count(*) FROM delivery_subjects WHERE delivery_subjects MATCH 'hopper OR grace'"
        )
        assert db.session.scalar(words) == 0
        db.session.execute(
            sa.text("INSERT INTO delivery_subjects(delivery_subjects) VALUES ('integrity-check')")
        )
        db.session.commit()
    assert counts(account_id) == before
    assert db.session.scalars(sa.select(WebhookDelivery.key)).all() == ["other"]

    # A second click changes nothing; the list shows the person on a tab of its own, and the page still opens.
    assert owner.submit(f"{path}/erase", {}, page="/affiliates").status_code == 303
    assert db.session.scalar(sa.select(sa.func.count()).select_from(Erasure)) == 1
    assert "Erased person" in owner.get(path).get_data(as_text=True)
    assert "Erased person" not in owner.get("/affiliates").get_data(as_text=True)
    assert "Erased person" in owner.get("/affiliates?status=erased").get_data(as_text=True)
    page = owner.get(path).get_data(as_text=True)
    assert not [text for text in ("Their link", "Email address", f"{path}/edit", "Code") if text in page]
    assert "An erased person" in owner.get("/affiliates/not-written-to").get_data(as_text=True)

    # No way in writes to them: not the sign-up, with or without a confirmation, and no invitation.
    messages = db.session.scalar(sa.select(sa.func.count()).select_from(OutboxMessage))
    for confirm in (True, False):
        signup_rules.save_rules(account_id, signup_rules.Rules(confirm=confirm))
        sign_up(client, name="A Stranger", mailbox=MAILBOX.upper().replace("EXAMPLE.ORG", "example.org"))
    to_them = sa.select(OutboxMessage.id).where(OutboxMessage.recipient.ilike("%hopper%"))
    assert db.session.scalars(to_them).all() == []
    fields = {"name": "A Stranger", "mailbox": FORMER, "message": "", "address": "1 Quay"}
    refused = owner.submit("/affiliates/invite", fields)
    assert refused.status_code == 422
    assert "list of blocked addresses" in refused.get_data(as_text=True)
    assert (
        db.session.scalar(sa.select(sa.func.count()).select_from(OutboxMessage)) <= messages + 1
    )  # to the owner

    # What a provider reports later is blanked as well.
    db.session.rollback()
    blank = erased.blank_mailbox(id_)
    message_id = db.session.scalars(
        sa.select(OutboxMessage.id).where(OutboxMessage.recipient == blank).limit(1)
    ).one()
    late = Report(Meaning.HARD, "late", recipient=MAILBOX, reason="Grace left", raw=f"to {MAILBOX}")
    record_event(account_id, "generic", late, now=utcnow())
    event = db.session.scalars(sa.select(BounceEvent).order_by(BounceEvent.id.desc())).first()
    event.state, event.message_id = EventState.MATCHED, message_id
    db.session.commit()
    late_reports.blank(utcnow())
    assert not {one for one in traces() if one.startswith("bounce_event")}
    suppressions.suppress(account_id, blank, SuppressionReason.BOUNCED, now=utcnow())
    db.session.commit()
    assert db.session.scalars(sa.select(Suppression.reason)).all() == [SuppressionReason.ERASED] * 2

    # A person who wants to come back is found by the address that they write from.
    page = "/affiliates/not-written-to/erased"
    wrong = owner.submit(page, {"mailbox": "other@example.org", "why": "She asked"})
    assert (wrong.status_code, "No person with this address" in wrong.get_data(as_text=True)) == (422, True)
    assert stranger.submit(page, {"mailbox": MAILBOX, "why": "x"}).status_code == 422
    assert owner.submit(page, {"mailbox": MAILBOX, "why": "She asked"}).status_code == 303
    assert suppressions.find_suppression(account_id, MAILBOX) is None
    assert suppressions.find_suppression(account_id, FORMER) is not None


def test_an_affiliate_downloads_what_is_stored_and_asks_to_be_erased(owner, client):
    person = fill(client, account_of())
    dashboard = path_in("new-sign-up", "affiliate")
    page = client.get(f"{dashboard}/erasure")
    assert page.headers["Referrer-Policy"] == "no-referrer"
    assert "13.50 EUR" in page.get_data(as_text=True)
    file = client.get(f"{dashboard}/data.json")
    stored = json.loads(file.get_data(as_text=True))
    assert stored["you"]["email"] == person.mailbox
    assert stored["you"]["agreed_how"] == "sign-up"
    names = ("id_in_the_shop", "codes_before", "website", "new_email_to_be_confirmed")
    assert [stored["you"][name] for name in names] == ["customer-77", ["GRACEHOPPER"], None, None]
    assert stored["you"]["emails_not_wanted"] == ["new-lead"]
    assert {one["order"] for one in stored["orders"]} == {"A-1", "A-2"}
    assert "lead" in {one["what"] for one in stored["events"]}
    assert any("Welcome" in one["subject"] or one["kind"] == "new-sign-up" for one in stored["emails"])
    assert "Grace likes tea" not in file.get_data(as_text=True)
    for kind in ("data.json", "erasure"):
        assert client.get(f"/affiliate/{'A' * 32}/{kind}").status_code == 404

    assert client.submit(f"{dashboard}/erasure", {}).status_code == 303
    first = newest_affiliate().erasure_asked_at
    client.submit(f"{dashboard}/erasure", {})
    assert newest_affiliate().erasure_asked_at == first
    assert "An affiliate asks to be erased" in owner.get("/affiliates").get_data(as_text=True)
    assert "This person asks to be erased" in owner.get(f"/affiliates/{person.id}").get_data(as_text=True)
    client.submit(f"{dashboard}/erasure/withdraw", {}, page=f"{dashboard}/erasure")
    assert newest_affiliate().erasure_asked_at is None
    assert "asks to be erased" not in owner.get("/affiliates").get_data(as_text=True)


def test_a_message_that_is_being_submitted_is_blanked_at_a_later_sweep(owner, client):
    person = fill(client, account_of())
    message = db.session.scalars(sa.select(OutboxMessage).where(OutboxMessage.kind == "new-lead")).first()
    message = message or db.session.scalars(sa.select(OutboxMessage)).first()
    message.status, message.lease_token = Status.SENDING, "taken"
    db.session.commit()
    result = erasing.erase(person.account_id, person.id, by="Ada", now=utcnow())
    erasing.run(result.erasure.id)
    db.session.expire_all()
    assert db.session.get_one(Erasure, result.erasure.id).done_at is None
    message = db.session.get_one(OutboxMessage, message.id)
    message.status, message.lease_token = Status.SENT, None
    db.session.commit()
    erasing.run(result.erasure.id)
    db.session.expire_all()
    assert db.session.get_one(Erasure, result.erasure.id).done_at is not None
    assert traces() == set()


def erase(person):
    result = erasing.erase(person.account_id, person.id, by="Ada", now=utcnow())
    erasing.run(result.erasure.id)
    db.session.expire_all()
    assert db.session.get_one(Erasure, result.erasure.id).done_at is not None


def test_a_usual_word_as_code_and_name_takes_nothing_from_others(owner, client):
    account_id, now = account_of().id, utcnow()
    signup_rules.save_rules(account_id, signup_rules.Rules(confirm=False))
    sign_up(client, name="Max", mailbox="max@example.org")
    max_ = newest_affiliate()
    assert codes.change(max_, "EUR", now=now)
    db.session.commit()
    report(
        account_id, "EUR", "purchase", "buy", amount="80.00", commission="12.00", currency="EUR", order="7"
    )
    other = json.dumps({"affiliate": {"code": "OTHER"}, "currency": "EUR", "said": "Max"})
    db.session.add(WebhookDelivery(account_id=account_id, key="k", event="message.sent", created_at=now,
                                   next_at=now, body=other))  # fmt: skip
    text = "Name,Email\nMax Other,other@x.example\nMax,max@example.org\n"
    db.session.add(AffiliateImport(account_id=account_id, key="k", file_name="f.csv", text=text, choices={},
                                   uploaded_by="Ada", created_at=now))  # fmt: skip
    one = Report(Meaning.SOFT, "one", recipient="other@x.example", reason="Max: 5 EUR", raw="for Max")
    record_event(account_id, "generic", one, now=now)
    db.session.commit()
    erase(max_)
    bought = db.session.scalars(sa.select(Event).where(Event.type == "purchase")).one()
    assert (bought.values["currency"], bought.values["amount"]) == ("EUR", "80.00")
    assert db.session.scalars(sa.select(WebhookDelivery.body)).all() == [other]
    assert db.session.scalars(sa.select(BounceEvent.raw)).all() == ["for Max"]
    left = db.session.scalars(sa.select(AffiliateImport.text)).one()
    assert left == "Name,Email\nMax Other,other@x.example\n[erased]\n"


def test_an_address_that_is_another_affiliates_by_now_stays_theirs(owner, client):
    account_id, now = account_of().id, utcnow()
    signup_rules.save_rules(account_id, signup_rules.Rules(confirm=False))
    sign_up(client)
    grace = newest_affiliate()
    waiting = ActionToken(token_hash="m" * 64, affiliate_id=grace.id, purpose=TokenPurpose.MAILBOX)
    waiting.mailbox, waiting.created_at = "lin@example.org", now
    db.session.add(waiting)
    db.session.commit()
    sign_up(client, name="Lin", mailbox="lin@example.org")
    erase(db.session.get_one(Affiliate, grace.id))
    assert suppressions.find_suppression(account_id, "lin@example.org") is None
    to_lin = sa.select(OutboxMessage.status).where(OutboxMessage.recipient == "lin@example.org")
    assert db.session.scalars(to_lin).all() == [Status.QUEUED]


def test_an_address_of_before_is_erased_although_its_emails_followed_the_new_one(owner, client):
    account = account_of()
    signup_rules.save_rules(account.id, signup_rules.Rules(confirm=False))
    sign_up(client)
    grace, old = newest_affiliate(), newest_affiliate().mailbox
    assert address_change.ask(account, grace, "next@else.example", now=utcnow())
    db.session.commit()
    client.submit(path_in("confirm-new-address", "confirm-address"), {})
    page = owner.get(f"/affiliates/{grace.id}").get_data(as_text=True)
    assert page.count("Confirmation of a new address") == 1
    recipients_left = sa.select(OutboxMessage.recipient).distinct()
    assert old in db.session.scalars(recipients_left).all()
    erase(newest_affiliate())
    assert not {old, "next@else.example"} & set(db.session.scalars(recipients_left))
    assert suppressions.find_suppression(account.id, old).reason is SuppressionReason.ERASED


def test_an_owner_who_erases_the_trial_affiliate_still_gets_the_email(owner, client):
    account = account_of()
    signup_rules.save_rules(account.id, signup_rules.Rules(confirm=False))
    [(mailbox, *_)] = recipients.recipients_of(account)
    sign_up(client, mailbox=mailbox)
    erase(newest_affiliate())
    sign_up(client, name="Lin", mailbox="lin@example.org")
    about = sa.select(EventMail.recipient, EventMail.decision).join(Event, Event.id == EventMail.event_id)
    told = db.session.execute(about.where(Event.affiliate_id == newest_affiliate().id)).all()
    assert (mailbox, EmailDecision.QUEUED) in [tuple(row) for row in told]


def test_the_other_events_of_a_cancelled_digest_are_emailed_later(owner, client):
    account_id = account_of().id
    signup_rules.save_rules(account_id, signup_rules.Rules(confirm=False))
    for name in ("Ann", "Ben", "Cleo", "Grace Hopper"):  # the first two leave at once
        sign_up(client, name=name, mailbox=f"{name.split()[0].lower()}@example.org")
    digests.send(account_id, now=utcnow() + timedelta(days=2))
    query = sa.select(OutboxMessage).where(OutboxMessage.kind == "owner-event-digest")
    assert "Grace" in db.session.scalars(query).one().text
    erase(newest_affiliate())
    digests.send(account_id, now=utcnow() + timedelta(days=3))
    waiting = db.session.scalars(sa.select(OutboxMessage).where(OutboxMessage.status == Status.QUEUED))
    assert any("Cleo" in one.text and "owner" in one.kind for one in waiting)
    assert "grace" not in " ".join(db.session.scalars(sa.select(OutboxMessage.text))).lower()


def test_an_address_with_an_international_domain_is_put_on_the_list_and_taken_off(owner, client):
    account_id, typed = account_of().id, "grace@müller.example.org"
    owner.submit(
        "/affiliates/not-written-to", {"mailbox": typed, "note": ""}, page="/affiliates/not-written-to"
    )
    assert suppressions.find_suppression(account_id, "grace@xn--mller-kva.example.org") is not None
    sign_up(client, mailbox="lin@müller.example.org")
    erase(newest_affiliate())
    page = "/affiliates/not-written-to/erased"
    back = owner.submit(page, {"mailbox": "lin@müller.example.org", "why": "She asked"}, page=page)
    assert back.status_code == 303


def test_the_portals_own_emails_and_files_that_wait_hold_no_erased_person(owner, client):
    sign_up(client, name="Lin", mailbox="lin@müller.example.org")
    person, now = newest_affiliate(), utcnow()
    person.state = AffiliateState.ACTIVE
    text = "Name,Email\nLin,lin@müller.example.org\nBo,bo@müller.example.org\n"
    db.session.add(
        AffiliateImport(account_id=person.account_id, key="k", file_name="x.csv", text=text, choices={},
                        uploaded_by="Ada", created_at=now)
    )  # fmt: skip
    db.session.commit()
    for _ in range(2):
        dashboard_links.send_links("lin@müller.example.org", "192.0.2.1", now=now)
    dashboard_links.send_links("owner@müller.example.org", "192.0.2.1", now=now)
    portals = sa.select(OutboxMessage).where(OutboxMessage.account_id.is_(None)).order_by(OutboxMessage.id)
    sent = db.session.scalars(portals).first()
    sent.status, sent.settled_at = Status.SENT, now
    other = {**{c.key: getattr(sent, c.key) for c in OutboxMessage.__table__.c if c.key != "id"},
             "key": "o", "recipient": "bo@müller.example.org"}  # fmt: skip
    db.session.add(OutboxMessage(**other))
    db.session.commit()
    account_of().shop_url = "https://shop.example/"
    erase(person)
    assert links.public_url(newest_affiliate(), account_of(), current_config()) == ""
    blank = erased.blank_mailbox(person.id)
    rows = [(row.recipient, row.status, row.subject == "Erased") for row in db.session.scalars(portals)]
    assert rows == [
        (blank, Status.SENT, True),
        (blank, Status.CANCELLED, True),
        ("bo@müller.example.org", Status.SENT, False),
    ]
    text = db.session.scalars(sa.select(AffiliateImport.text)).one()
    assert text == "Name,Email\n[erased]\nBo,bo@müller.example.org\n"


def test_a_corrected_address_and_the_reason_of_a_late_report_are_blanked(owner, client):
    sign_up(client, name=NAME, mailbox="grace@exmaple.org")
    row = newest_affiliate()
    fields = {"name": NAME, "mailbox": MAILBOX, "code": row.code, "external_id": "", "notes": ""}
    owner.submit(f"/affiliates/{row.id}/edit", fields, page=f"/affiliates/{row.id}/edit")
    client.submit(path_in("confirm-new-address", "confirm-address"), {})
    person = newest_affiliate()
    assert person.mailbox == MAILBOX
    erase(person)
    assert traces() == set()
    message = db.session.scalars(
        sa.select(OutboxMessage).where(OutboxMessage.recipient == erased.blank_mailbox(person.id))
    ).first()
    late = Report(Meaning.HARD, "late", recipient=MAILBOX, reason=f"<{MAILBOX}> left", raw=f"to {MAILBOX}")
    record_event(person.account_id, "generic", late, now=utcnow())
    event = db.session.scalars(sa.select(BounceEvent)).one()
    event.state, event.message_id = EventState.MATCHED, message.id
    outcomes.join(event, message, now=utcnow())
    db.session.commit()
    late_reports.blank(utcnow())
    assert traces() == set()


def test_late_reports_that_find_no_message_do_not_name_an_erased_person(owner, client):
    sign_up(client, name=NAME, mailbox="grace@bücher.example")
    person = newest_affiliate()
    erase(person)
    others = Report(Meaning.HARD, "other", recipient="bo@example.org", queue_id="q", raw="to bo@example.org")
    reports = [
        Report(Meaning.HARD, "late", queue_id="q1", recipient="Grace@xn--bcher-kva.example", raw="{}"),
        Report(Meaning.UNKNOWN, "odd", raw='{"rcpt":"grace@bücher.example"}'),
        others,
    ]
    record_events(person.account_id, "generic", reports, now=utcnow() - timedelta(hours=2))
    db.session.commit()
    processing.process(person.account_id)
    assert traces() == set()
    kept = db.session.scalars(sa.select(BounceEvent.raw).order_by(BounceEvent.id)).all()
    assert sorted(kept) == ["", "", others.raw]


def test_addresses_that_were_withdrawn_and_what_was_sent_there_are_blanked(owner, client):
    account = account_of()
    signup_rules.save_rules(account.id, signup_rules.Rules(confirm=False))
    sign_up(client, name=NAME, mailbox=MAILBOX)
    person, now = newest_affiliate(), utcnow()
    for number, mailbox in enumerate(
        ("hopper@typo.example", "hopper@second.example", "hopper@third.example")
    ):
        address_change.ask(account, person, mailbox, now=now + timedelta(minutes=number))
        db.session.commit()
        if number == 0:  # sent before it was withdrawn
            message = db.session.scalars(
                sa.select(OutboxMessage).where(OutboxMessage.recipient == mailbox)
            ).one()
            message.status, message.settled_at = Status.SENT, now
            db.session.commit()
    result = erasing.erase(account.id, person.id, by="Ada", now=now)
    waiting = sa.select(OutboxMessage.id).where(OutboxMessage.status.in_((Status.QUEUED, Status.HELD)))
    own = [row for row in db.session.scalars(waiting) if row is not None]
    assert not db.session.scalars(
        sa.select(OutboxMessage.recipient).where(
            OutboxMessage.id.in_(own), OutboxMessage.recipient.contains("hopper")
        )
    ).all()
    erasing.run(result.erasure.id)
    assert traces() == set()
    # A mistyped address may be a stranger's, who may sign up; the person's own addresses are not written to.
    assert suppressions.find_suppression(account.id, "hopper@typo.example") is None
    assert suppressions.find_suppression(account.id, MAILBOX) is not None


@pytest.mark.only_postgresql
def test_an_event_that_arrives_while_a_person_is_erased_comes_before_or_after_it(owner, client, app):
    account = account_of()
    account_id = account.id
    signup_rules.save_rules(account_id, signup_rules.Rules(confirm=False))
    sign_up(client, name=NAME, mailbox=MAILBOX)
    person, now = newest_affiliate(), utcnow()
    id_, code = person.id, person.code

    def erase():
        with app.app_context():
            result = erasing.erase(account_id, id_, by="Ada", now=now)
            erasing.run(result.erasure.id)

    # Before: the event has its affiliate, and the erasure waits for its commit.
    [kept] = directory.keep([person])
    with ThreadPoolExecutor(1) as pool:
        erasure = pool.submit(erase)
        blocked = sa.text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
        until = utcnow() + timedelta(minutes=2)
        with db.engine.connect() as other:
            while not other.scalar(blocked) and utcnow() < until and not erasure.done():
                other.rollback()
        assert not erasure.done()
        values = {"lead_name": "A lead named Lin"}
        record(NewEvent(account, EventType.LEAD, kept, values), key="lead", source=Source.API, now=now)
        db.session.commit()
        erasure.result(120)
    assert traces([code]) == set()
    # After: no affiliate has the code any more.
    with pytest.raises(Problem):
        report(account_id, code, "lead", "late", lead_name="A lead named Lin")
    db.session.rollback()
    assert traces([code]) == set()


def test_a_person_who_was_read_before_the_erasure_is_not_kept(owner, client):
    account = account_of()
    signup_rules.save_rules(account.id, signup_rules.Rules(confirm=False))
    sign_up(client, name=NAME, mailbox=MAILBOX)
    person = newest_affiliate()
    assert directory.keep([person]) == [person]
    erasing.erase(account.id, person.id, by="Ada", now=utcnow())
    assert directory.keep([person]) == []


def test_the_hash_differs_by_account_and_holds_no_address(app):
    erased.ensure_key()
    one, other = erased.hash_of(1, MAILBOX), erased.hash_of(2, MAILBOX)
    assert one != other
    assert one == erased.hash_of(1, MAILBOX.lower())
    assert "@" not in one


def test_the_person_is_recognised_as_a_whole_word_and_hidden_from_reprs():
    person = Person(7, "Bo", ["ada@x.example"], ["ADA7"])
    assert person.is_mentioned("to <ADA@x.example>;")
    assert person.is_mentioned("code ada7.")
    assert not person.is_mentioned("Robots boast of xada@x.example and ADA77")
    assert person.without({"a": ["Hi ada@x.example", 1], "ADA7": None}) == {
        "a": ["Hi [erased]", 1],
        "ADA7": None,
    }
    assert "ada" not in repr(person).lower()
    assert Person.load(person.dump()) == person


@pytest.mark.both_databases
@pytest.mark.empty_database
def test_the_migration_adds_the_tables_and_changes_nothing_else(tmp_path):
    app, folder = create_app(make_config(tmp_path / "instance")), str(readiness.MIGRATIONS)
    added = {"erasure", "erasure_key"}

    def rows(connection):
        return {
            table.name: sorted(
                (
                    tuple(row)
                    for row in connection.execute(
                        sa.select(*(c for c in table.columns if c.name != "erasure_asked_at"))
                    )
                ),
                key=repr,
            )
            for table in _tables(connection)
            if table.name not in added
        }

    with app.app_context():
        make_tables(BEFORE)
        with db.engine.begin() as connection:
            _fill(connection)
            before, triggers = rows(connection), _triggers(connection)
        upgrade(directory=folder, revision=AFTER)
        with db.engine.begin() as connection:
            assert (rows(connection), _triggers(connection)) == (before, triggers)
        downgrade(directory=folder, revision=BEFORE)
        with db.engine.begin() as connection:
            assert (rows(connection), _triggers(connection)) == (before, triggers)
        db.engine.dispose()


BEFORE, AFTER = "0035", "0036"


def test_every_column_of_an_affiliate_is_blanked_or_describes_no_person(app):
    """A new column of the table needs a line in ``erasing._blank``, or here."""
    kept = {"id", "account_id", "created_at", "state", "state_since", "email_pace", "sealed_page_keys",
            "dashboard_key_hash", "preferences_key_hash"}  # fmt: skip
    names = {column.key for column in Affiliate.__table__.c} - kept
    blank = Affiliate(id=5, account_id=1, code="X", created_at=utcnow())
    for name in names - {"id"}:
        setattr(blank, name, "canary")
    erasing._blank(blank, utcnow())
    assert {name for name in names if getattr(blank, name) == "canary"} == set()
    assert blank.state is AffiliateState.ERASED
