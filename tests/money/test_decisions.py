"""The owner's page of commissions, the rule, and the guarantee that each decision causes its email once."""

from __future__ import annotations

import csv
import io
import re
from datetime import timedelta
from decimal import Decimal

import pytest
from sqlalchemy import event, select

from portal.accounts.models import Account
from portal.accounts.registration import create_owner
from portal.affiliates import page_keys
from portal.clock import utcnow
from portal.db import db
from portal.events.models import Event
from portal.events.types import EventType, Source
from portal.money import approval_rule, balances, decisions, recording
from portal.money.decisions import Decision
from portal.money.models import Commission, CommissionState
from tests.api.test_concurrency import at_once
from tests.conftest import PASSWORD
from tests.enrolment.support import account_of, messages
from tests.money.conftest import new_affiliate
from tests.pages import downloaded

PATH = "/commissions"


def rows():
    db.session.rollback()
    return list(db.session.scalars(select(Commission).order_by(Commission.id)))


def states():
    return [row.state.value for row in rows()]


def page(browser, path=PATH):
    answer = browser.get(path)
    assert answer.status_code == 200
    return answer.get_data(as_text=True)


def test_the_page_shows_that_there_are_no_commissions(owner):
    text = page(owner)
    assert "No commissions yet" in text
    assert downloaded(owner, f"{PATH}/export.csv").get_data(as_text=True).count("\n") == 1


def test_chosen_commissions_are_approved_in_bulk_and_each_is_mailed_once(owner, record):
    for number in range(3):
        record(order=f"A-{number}")
    ids = [str(row.id) for row in rows()]
    assert "Approve all 3 commissions on this page" in page(owner)
    form = {"decision": "approve", "state": "pending", "id": ids[:2]}
    for _ in range(2):  # the second click
        assert owner.submit(PATH, form).status_code == 303
    assert states() == ["approved", "approved", "pending"]
    assert len(messages("commission-approved")) == 2
    text = page(owner)
    assert "A-2" in text
    assert "Nothing was changed" in text
    assert "Approve the commission on this page" in text


@pytest.mark.parametrize(("path", "chosen"), [("decide", "id"), ("decide/shown", "shown")])
def test_before_a_decision_the_page_states_what_it_will_change(owner, record, path, chosen):
    for number in range(3):
        record(order=f"A-{number}")
    ids = [row.id for row in rows()]
    assert owner.submit(PATH, {"decision": "approve", "id": [str(ids[0])]}).status_code == 303
    query = "&".join(f"{chosen}={one}" for one in ids)
    asked = page(owner, f"{PATH}/{path}?decision=approve&{query}")
    assert "Approve 2 commissions" in asked
    assert "One of the selected commissions does not change." in asked
    assert re.findall(r'name="id" value="(\d+)"', asked) == [str(one) for one in ids[:0:-1]]
    assert states() == ["approved", "pending", "pending"]
    asked = page(owner, f"{PATH}/{path}?decision=decline&{query}")
    assert "Decline 3 commissions" in asked
    assert 'name="reason"' in asked


def test_a_decision_that_changes_nothing_is_not_offered(owner, record):
    record()
    [row] = rows()
    assert "Yes, approve it" in page(owner, f"{PATH}/decide?decision=approve&id={row.id}")
    owner.submit(PATH, {"decision": "approve", "id": [str(row.id)]})
    asked = page(owner, f"{PATH}/decide?decision=approve&id={row.id}")
    assert "This decision changes none of the selected commissions." in asked
    assert 'name="id"' not in asked
    assert "Select at least one commission first." in page(owner, f"{PATH}/decide?decision=second&id=x")
    assert owner.get(f"{PATH}/decide?decision=burn").status_code == 400


def test_a_commission_is_declined_with_a_reason_that_its_email_states(owner, record, affiliate, client):
    record()
    [row] = rows()
    form = {"decision": "decline", "state": "pending", "id": [str(row.id)], "reason": "The order was a test."}
    assert owner.submit(PATH, form).status_code == 303
    assert states() == ["declined"]
    [mail] = messages("commission-declined")
    assert "The order was a test." in mail.text
    assert "The order was a test." in page(owner, f"{PATH}?state=declined")
    dashboard = page(client, f"/affiliate/{page_keys.open_keys(affiliate).dashboard}")
    assert "Declined" in dashboard
    assert "The order was a test." in dashboard


def test_a_reason_that_is_too_long_keeps_the_choice(owner, record):
    record()
    [row] = rows()
    form = {"decision": "decline", "state": "pending", "id": [str(row.id)], "reason": "x" * 301}
    answer = owner.submit(PATH, form)
    text = answer.get_data(as_text=True)
    assert answer.status_code == 422
    assert "Use 300 characters or fewer." in text
    assert f'name="id" value="{row.id}"' in text
    assert "x" * 301 in text
    assert states() == ["pending"]


@pytest.mark.parametrize(
    "form", [{"decision": "approve", "id": []}, {"decision": "approve", "id": ["x", "9" * 30]}]
)
def test_without_a_choice_nothing_happens(owner, form):
    assert owner.submit(PATH, form).status_code == 303
    assert "Nothing was changed" in page(owner)


def test_an_unknown_decision_is_a_bad_request(owner):
    assert owner.submit(PATH, {"decision": "burn"}).status_code == 400


def test_the_commissions_of_another_account_stay_as_they_are(owner, stranger, record):
    record()
    [row] = rows()
    assert stranger.submit(PATH, {"decision": "approve", "id": [str(row.id)]}).status_code == 303
    assert states() == ["pending"]
    assert "A-1" not in page(stranger, f"{PATH}/decide?decision=approve&id={row.id}")
    assert "A-1" not in page(stranger)
    assert "A-1" not in downloaded(stranger, f"{PATH}/export.csv").get_data(as_text=True)


def test_dashboard_page_export_and_api_show_the_same_sums(owner, client, record, affiliate):
    """A purchase that is refunded in part, approved and paid, and one that is declined."""
    record(order="A-1", commission="12.00")
    record(EventType.REFUND, order="A-1", commission="4.00")
    record(order="A-2", commission="5.50")
    record(order="A-3", commission="1.25")
    first, second, _ = rows()
    owner.submit(PATH, {"decision": "approve", "state": "pending", "id": [str(first.id)]})
    owner.submit(PATH, {"decision": "decline", "state": "pending", "id": [str(second.id)], "reason": "Test"})
    record(EventType.PAYOUT, amount="8.00", order="A-1")
    [balance] = balances.balances_of(affiliate.id)
    assert (balance.pending, balance.approved, balance.paid) == (Decimal("1.25"), 0, 8)
    for text in (
        page(owner),
        page(owner, f"/affiliates/{affiliate.id}"),
        page(client, f"/affiliate/{page_keys.open_keys(affiliate).dashboard}"),
    ):
        assert all(amount in text for amount in ("1.25 EUR", "0.00 EUR", "8.00 EUR"))
    file = downloaded(owner, f"{PATH}/export.csv").get_data(as_text=True).removeprefix("\ufeff")
    found = {row["Order"]: row for row in csv.DictReader(io.StringIO(file))}
    assert {order: row["Left"] for order, row in found.items()} == {
        "A-1": "8.00",
        "A-2": "0.00",
        "A-3": "1.25",
    }
    assert sum(Decimal(row["Left"]) for row in found.values()) == balance.earned
    file = downloaded(owner, "/affiliates.csv").get_data(as_text=True).removeprefix("\ufeff")
    [grace] = csv.DictReader(io.StringIO(file))
    assert (grace["Waits for approval"], grace["Approved"], grace["Paid"]) == (
        "1.25 EUR",
        "0.00 EUR",
        "8.00 EUR",
    )


def test_the_rule_approves_what_is_left_after_some_days(owner, account, record):
    now = utcnow()
    record(order="old", at=now - timedelta(days=15))
    record(order="part", at=now - timedelta(days=15))
    record(EventType.REFUND, order="part", commission="2.00")
    record(order="refunded", at=now - timedelta(days=15))
    record(EventType.REFUND, order="refunded")
    record(order="new", at=now - timedelta(days=13))
    assert approval_rule.find_work(now) == []
    assert owner.submit(f"{PATH}/rule", {"active": "y", "days": "14"}, page=PATH).status_code == 303
    assert approval_rule.find_days(account.id) == 14
    assert approval_rule.find_work(now) == [(approval_rule.JOB, account.id)]
    for _ in range(2):
        approval_rule.run(account.id, now=now)
    assert states() == ["approved", "approved", "pending", "pending"]
    assert [mail.subject for mail in messages("commission-approved")] == [
        "Approved: 12.00 EUR for order old",
        "Approved: 10.00 EUR for order part",
    ]
    assert approval_rule.find_work(now) == []
    assert owner.submit(f"{PATH}/rule", {"days": "14"}, page=PATH).status_code == 303
    assert approval_rule.find_days(account.id) is None


def test_the_rule_finds_what_is_oldest_of_every_account_that_has_something(account, record, monkeypatch):
    now = utcnow()
    for days, order in ((20, "second"), (40, "first"), (16, "third")):
        record(order=order, at=now - timedelta(days=days))
    create_owner("Idle", "Cy Stone", "cy@idle.example", PASSWORD, now=now)
    idle = db.session.scalar(select(Account.id).where(Account.name == "Idle"))
    for account_id in (account.id, idle):
        approval_rule.save_days(account_id, 14)
    assert approval_rule.find_work(now) == [(approval_rule.JOB, account.id)]
    monkeypatch.setattr(approval_rule, "_BATCH_ROWS", 1)
    approval_rule.run(account.id, now=now)
    subjects = [mail.subject for mail in messages("commission-approved")]
    assert [subject.split()[-1] for subject in subjects] == ["first", "second", "third"]


def test_sums_and_the_rule_read_indexes_alone(account):
    """The page of a programme with very many orders, and each sweep, read no row of the tables."""
    found = []

    def explain(_connection, _cursor, statement, parameters, *_more):
        if statement.startswith("SELECT") and (" commission" in statement or " ledger_entry" in statement):
            found.append((statement, parameters))

    event.listen(db.engine, "before_cursor_execute", explain)
    balances.overview(account.id)
    approval_rule.save_days(account.id, 14)
    approval_rule.find_work(utcnow())
    event.remove(db.engine, "before_cursor_execute", explain)
    connection = db.session.connection()
    plans = " ".join(
        row[3]
        for statement, parameters in found
        for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
    )
    for name in ("ix_commission_sums", "ix_ledger_entry_payments", "ix_commission_due"):
        assert f"INDEX {name}" in plans
    assert "SCAN commission" not in plans
    assert "SCAN ledger_entry" not in plans


def test_a_balance_below_zero_is_explained_to_the_owner(owner, client, record, affiliate):
    record()
    record(EventType.PAYOUT, amount="5.00")
    assert "Below zero: more was paid out" in page(owner)
    assert "Below zero" in page(owner, f"/affiliates/{affiliate.id}")
    assert "Below zero" not in page(client, f"/affiliate/{page_keys.open_keys(affiliate).dashboard}")


def test_the_page_states_which_second_purchases_are_mailed(owner, account, record):
    for order in ("old", "new"):
        at = utcnow() - timedelta(days=31 if order == "old" else 1)
        record(order=order, at=at)
        record(order=order, at=at)
    assert "unless it happened more than 30 days ago" in page(owner, f"{PATH}?state=repeated")
    ids = [str(row.id) for row in rows() if row.state is CommissionState.REPEATED]
    form = {"decision": "second", "state": "repeated", "id": ids}
    assert owner.submit(PATH, form).status_code == 303
    assert [mail.subject for mail in messages("new-purchase")] == ["You earned 12.00 EUR with Brightleaf"] * 2
    assert balances.overview(account.id).balances[0].pending == 48


def test_the_rule_mails_nothing_about_what_was_due_long_ago(account, record, affiliate):
    now = utcnow()
    record(order="history", at=now - timedelta(days=400))
    record(order="waited", at=now - timedelta(days=45))
    record(order="recent", at=now - timedelta(days=40))
    approval_rule.save_days(account.id, 14)
    approval_rule.run(account.id, now=now)
    assert states() == ["approved"] * 3
    subjects = [mail.subject for mail in messages("commission-approved")]
    assert subjects == ["Approved: 12.00 EUR for order recent"]
    assert balances.balances_of(affiliate.id)[0].approved == 36


def test_a_rule_that_is_removed_while_it_runs_stops(account, record, monkeypatch):
    now = utcnow()
    for number in range(3):
        record(order=f"A-{number}", at=now - timedelta(days=15))
    approval_rule.save_days(account.id, 14)
    monkeypatch.setattr(approval_rule, "_BATCH_ROWS", 1)
    decide = decisions.decide

    def decide_and_remove(*args):
        approval_rule.save_days(account.id, None)
        return decide(*args)

    monkeypatch.setattr(approval_rule, "decide", decide_and_remove)
    approval_rule.run(account.id, now=now)
    assert states() == ["approved", "pending", "pending"]


@pytest.mark.parametrize("days", ["", "0", "366", "-1", "1.5", "ten", "٣", "9" * 40])
def test_a_rule_needs_a_number_of_days(owner, account, days):
    answer = owner.submit(f"{PATH}/rule", {"active": "y", "days": days}, page=PATH)
    assert answer.status_code == 422
    assert "from 1 to 365" in answer.get_data(as_text=True)
    assert approval_rule.find_days(account.id) is None


@pytest.mark.both_databases
def test_of_simultaneous_decisions_by_owner_rule_and_shop_one_causes_the_email(
    app, account, affiliate, record
):
    record()
    [row] = rows()
    commission_id, account_id, affiliate_id = row.id, account.id, affiliate.id
    now = utcnow()

    def decide(number):
        programme = account_of()
        if number % 2:
            cause = recording.Cause(Source.PLANNER, now)
            return decisions.decide(programme, commission_id, Decision.APPROVE, cause)
        who = db.session.get_one(type(affiliate), affiliate_id)
        values = {"order": "A-1", "commission": "12.00", "currency": "EUR"}
        reported = recording.Reported(EventType.COMMISSION_APPROVED, values, now)
        recording.record(programme, who, reported, recording.Cause(Source.API, now, f"shop-{number}"))
        db.session.commit()
        return None

    at_once(app, decide, range(8))
    assert states() == ["approved"]
    assert len(messages("commission-approved")) == 1
    [balance] = balances.overview(account_id).balances
    assert balance.approved == 12


@pytest.mark.both_databases
def test_of_simultaneous_purchases_of_one_order_one_counts_and_one_is_mailed(app, account, affiliate, record):
    affiliate_id = affiliate.id

    def buy(number):
        who = db.session.get_one(type(affiliate), affiliate_id)
        values = {"order": "B-1", "amount": "50.00", "commission": "5.00", "currency": "EUR"}
        reported = recording.Reported(EventType.PURCHASE, values, utcnow())
        recording.record(account_of(), who, reported, recording.Cause(Source.API, utcnow(), f"buy-{number}"))
        db.session.commit()

    at_once(app, buy, range(6))
    assert sorted(states()) == ["pending"] + ["repeated"] * 5
    assert len(messages("new-purchase")) == 1
    assert balances.overview(account.id).balances[0].pending == 5


def test_the_page_of_a_long_list_has_pages(owner, account):
    affiliate = new_affiliate(account)
    now = utcnow()
    for number in range(60):
        values = {"order": f"A-{number}", "amount": "1", "commission": "1", "currency": "EUR"}
        reported = recording.Reported(EventType.PURCHASE, values, now - timedelta(days=40))
        recording.record(account, affiliate, reported, recording.Cause(Source.API, now, str(number)))
    db.session.commit()
    first = page(owner)
    assert "A-59" in first
    assert ">A-9<" not in first
    oldest_shown = rows()[10].id
    assert ">A-9<" in page(owner, f"{PATH}?before={oldest_shown}")
    assert len(list(db.session.scalars(select(Event.id)))) == 60


def test_orders_reported_twice_have_a_tab_with_both_answers(owner, record):
    assert "Reported twice" not in page(owner)
    record()
    record()
    record()
    text = page(owner, f"{PATH}?state=repeated")
    assert "second purchases" in text
    _, second, third = rows()
    form = {"decision": "second", "state": "repeated", "id": [str(second.id)]}
    assert owner.submit(PATH, form).status_code == 303
    form = {"decision": "same", "state": "repeated", "id": [str(third.id)]}
    assert owner.submit(PATH, form).status_code == 303
    assert states() == ["pending", "pending", "dismissed"]
    assert len(messages("new-purchase")) == 2
    assert CommissionState.REPEATED not in {row.state for row in rows()}


def test_a_refunded_commission_needs_no_decision(owner, record):
    record(order="R-1")
    record(EventType.REFUND, order="R-1")
    record(order="P-1")
    assert "R-1" not in page(owner)
    text = page(owner, f"{PATH}?state=declined")
    assert "R-1" in text
    assert "Refunded" in text
    assert "P-1" not in text
    form = {"decision": "approve", "state": "declined", "id": [str(rows()[0].id)]}
    assert owner.submit(PATH, form).status_code == 303
    assert "Nothing was changed" in page(owner)
