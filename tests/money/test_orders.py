"""Events of one order are tied together, in whatever sequence they arrive, and every sum agrees with them."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, func, insert, select

from portal.amounts import from_units
from portal.clock import utcnow
from portal.db import db
from portal.events.models import EmailDecision
from portal.events.types import EventType, Source
from portal.money import balances, csv_export, decisions, listing, recording
from portal.money.decisions import Decision
from portal.money.models import Commission, CommissionState, LedgerEntry
from portal.money.orders import OtherAffiliate, OtherCurrency, Reported
from tests.enrolment.support import messages
from tests.money.conftest import new_affiliate

REFUND, APPROVED, DECLINED = (
    EventType.REFUND,
    EventType.COMMISSION_APPROVED,
    EventType.COMMISSION_DECLINED,
)
QUEUED, NO_CHANGE = EmailDecision.QUEUED, EmailDecision.NO_CHANGE


def balance(affiliate, currency="EUR"):
    found = {one.currency: one for one in balances.balances_of(affiliate.id)}
    one = found.get(currency, balances.Balance(currency))
    return one.pending, one.approved, one.paid


def amounts(*texts):
    return tuple(Decimal(text) for text in texts)


def test_a_partial_refund_takes_back_a_part_and_the_email_shows_what_is_left(record, affiliate):
    record()
    assert balance(affiliate) == amounts("12", "0", "0")
    assert record(REFUND, commission="4.00") == {"commission-declined": QUEUED}
    assert balance(affiliate) == amounts("8", "0", "0")
    text = messages("commission-declined")[-1].text
    assert "Part of an order was refunded" in text
    assert "4.00 EUR" in text
    assert "8.00 EUR" in text
    assert record(REFUND, commission="12.00") == {"commission-declined": QUEUED}
    assert balance(affiliate) == amounts("0", "0", "0")
    text = messages("commission-declined")[-1].text
    assert "8.00 EUR" in text, "no more than was left is taken back"
    assert "no longer counts" in text
    assert record(REFUND) == {"commission-declined": NO_CHANGE}
    assert record(APPROVED) == {"commission-approved": NO_CHANGE}, "nothing is left to approve"


def test_a_refund_of_nothing_is_no_news(record):
    for _ in range(2):
        assert record(REFUND, commission="0.00") == {"commission-declined": NO_CHANGE}
        record()


def test_an_approval_counts_with_what_is_left_and_causes_its_email_once(record, affiliate):
    record()
    record(REFUND, commission="2.50")
    assert record(APPROVED, commission="12.00") == {"commission-approved": QUEUED}
    assert "9.50 EUR" in messages("commission-approved")[-1].subject
    assert record(APPROVED) == {"commission-approved": NO_CHANGE}
    assert len(messages("commission-approved")) == 1
    assert balance(affiliate) == amounts("0", "9.5", "0")
    record(EventType.PAYOUT, amount="9.50")
    assert balance(affiliate) == amounts("0", "0", "9.5")


def test_a_decline_takes_back_what_was_approved_and_an_approval_gives_it_back(record, affiliate):
    record()
    record(APPROVED)
    assert record(DECLINED, reason="Fraud") == {"commission-declined": QUEUED}
    assert balance(affiliate) == amounts("0", "0", "0")
    assert "12.00 EUR" in messages("commission-declined")[-1].text
    assert record(DECLINED) == {"commission-declined": NO_CHANGE}
    assert record(APPROVED) == {"commission-approved": QUEUED}
    assert balance(affiliate) == amounts("0", "12", "0")


def test_a_refund_of_what_was_paid_leaves_a_balance_below_zero(record, affiliate):
    record()
    record(APPROVED)
    record(EventType.PAYOUT, amount="12.00", order="A-1")
    [row] = db.session.scalars(select(Commission))
    assert row.is_paid
    record(REFUND)
    assert balance(affiliate) == amounts("0", "-12", "12")
    record(EventType.CORRECTION, amount="-3.00")
    assert balance(affiliate) == amounts("0", "-15", "12")


@pytest.mark.parametrize("first", [REFUND, APPROVED, DECLINED, EventType.PAYOUT])
def test_events_may_arrive_before_their_purchase(record, affiliate, first):
    more = {"amount": "5.00", "order": "A-1"} if first is EventType.PAYOUT else {"commission": "5.00"}
    assert QUEUED in record(first, **more).values()
    mails = record()
    assert mails["owner-new-purchase"] is QUEUED, "it is news to the owner"
    expected = {
        REFUND: (amounts("7", "0", "0"), QUEUED),
        APPROVED: (amounts("0", "12", "0"), NO_CHANGE),
        DECLINED: (amounts("0", "0", "0"), NO_CHANGE),
        EventType.PAYOUT: (amounts("12", "-5", "5"), QUEUED),
    }
    assert (balance(affiliate), mails["new-purchase"]) == expected[first]


def test_an_order_under_two_keys_counts_once_until_the_owner_counts_it_as_another(
    record, account, affiliate, owner
):
    record()
    mails = record()
    assert mails == {"new-purchase": EmailDecision.SAME_ORDER, "owner-new-purchase": EmailDecision.SAME_ORDER}
    assert balance(affiliate) == amounts("12", "0", "0")
    assert len(messages("new-purchase")) == 1
    [told] = messages("owner-order-repeated")
    assert "A-1" in told.subject
    assert "reported an order twice" in owner.get("/deliveries").get_data(as_text=True)
    repeated = db.session.scalars(
        select(Commission.id).where(Commission.state == CommissionState.REPEATED)
    ).one()
    cause = recording.Cause(Source.PORTAL, utcnow())
    assert decisions.decide(account, repeated, Decision.SAME, cause)
    assert not decisions.decide(account, repeated, Decision.SAME, cause)
    assert balance(affiliate) == amounts("12", "0", "0")
    assert decisions.decide(account, repeated, Decision.SECOND, cause)
    assert not decisions.decide(account, repeated, Decision.SECOND, cause)
    assert balance(affiliate) == amounts("24", "0", "0")
    assert len(messages("new-purchase")) == 2
    assert "reported an order twice" not in owner.get("/deliveries").get_data(as_text=True)


def test_the_owner_gets_an_email_about_the_same_order_of_another_affiliate(record, account):
    other = new_affiliate(account, "Katherine", "katherine@example.org")
    record()
    assert record(about=other)["new-purchase"] is EmailDecision.SAME_ORDER
    assert record(APPROVED, about=other) == {"commission-approved": EmailDecision.SAME_ORDER}
    assert balance(other) == amounts("0", "0", "0")
    third = new_affiliate(account, "Mary", "mary@example.org")
    for type_ in (REFUND, APPROVED, DECLINED):
        with pytest.raises(OtherAffiliate):
            record(type_, about=third)
        db.session.rollback()


@pytest.fixture
def other(account):
    """Katherine, another active affiliate."""
    return new_affiliate(account, "Katherine", "katherine@example.org")


def total(*people):
    """Return what the orders earn these affiliates together."""
    found = (balances.balances_of(one.id) for one in people)
    return sum((one.earned for some in found for one in some), Decimal())


def test_an_order_that_was_approved_for_one_affiliate_counts_once_when_another_buys_it(
    record, account, affiliate, other
):
    record(APPROVED)
    with pytest.raises(OtherAffiliate):
        record(APPROVED, about=other)
    db.session.rollback()
    assert record(about=other)["new-purchase"] is EmailDecision.SAME_ORDER
    assert "order A-1, which it had reported before" in messages("owner-order-repeated")[-1].text
    assert (total(affiliate), total(other)) == (12, 0)
    record()  # the purchase that the approval was for
    assert (total(affiliate), total(other)) == (12, 0)
    repeated = select(Commission.id).where(Commission.state == CommissionState.REPEATED)
    cause = recording.Cause(Source.PORTAL, utcnow())
    assert decisions.decide(account, db.session.scalars(repeated).one(), Decision.SECOND, cause)
    assert (total(affiliate), total(other)) == (12, 12)


def test_an_approval_that_was_declined_does_not_prevent_a_purchase(record, affiliate, other):
    record(APPROVED)
    record(DECLINED)
    assert record(about=other)["new-purchase"] is QUEUED
    assert (total(affiliate), total(other)) == (0, 12)
    with pytest.raises(OtherAffiliate):
        record(APPROVED)


@pytest.mark.parametrize(
    ("first", "what", "shown"),
    [
        (REFUND, "affiliate", "refunded: 4.00 EUR"),
        (DECLINED, "currency", "Does not fit its order"),
        (EventType.PAYOUT, "currency", "paid: 4.00 USD"),
    ],
)
def test_the_owner_gets_an_email_about_what_does_not_fit_the_purchase_that_follows(
    record, account, affiliate, other, owner, first, what, shown
):
    """It changes no commission, on any page; events that come later are refused as after any purchase."""
    values = {"amount": "4.00", "order": "A-1"} if first is EventType.PAYOUT else {"commission": "4.00"}
    about, currency = (other, "EUR") if what == "affiliate" else (affiliate, "USD")
    record(first, about=about, currency=currency, **values)
    assert "does not fit" not in owner.get("/events").get_data(as_text=True)
    assert record()["new-purchase"] is QUEUED
    assert balance(affiliate)[0] == 12
    refused = OtherAffiliate if what == "affiliate" else OtherCurrency
    with pytest.raises(refused):
        record(REFUND, about=about, currency=currency)
    db.session.rollback()
    assert "does not fit its purchase" in owner.get("/events").get_data(as_text=True)
    text = owner.get("/commissions?state=unmatched").get_data(as_text=True)
    assert "Its purchase: Grace Hopper, in EUR" in text
    assert shown in text
    [row] = listing.of_order(account.id, "A-1")[:1]
    assert (row.state, row.remaining) == (CommissionState.UNMATCHED, 0)
    id_ = row.id
    cause = recording.Cause(Source.PORTAL, utcnow())
    assert not decisions.decide(account, id_, Decision.SECOND, cause)
    assert decisions.decide(account, id_, Decision.SAME, cause)
    assert not decisions.decide(account, id_, Decision.SECOND, cause)
    text = owner.get("/commissions?state=dismissed").get_data(as_text=True)
    assert "Ignored" in text
    assert "Select order A-1" not in text, "it is no purchase that could count"
    assert "does not fit" not in text
    found = next(
        csv.DictReader(io.StringIO("".join(csv_export.stream_csv(account.id)).removeprefix("\ufeff")))
    )
    assert (found["Status"], found["Left"]) == ("dismissed", "0.00")


def test_a_refund_that_did_not_fit_counts_for_the_purchase_of_its_affiliate(record, account, other):
    record(REFUND, about=other, commission="4.00")
    record()
    assert record(about=other)["new-purchase"] is EmailDecision.SAME_ORDER
    repeated = select(Commission.id).where(Commission.state == CommissionState.REPEATED)
    cause = recording.Cause(Source.PORTAL, utcnow())
    assert decisions.decide(account, db.session.scalars(repeated).one(), Decision.SECOND, cause)
    assert balance(other) == amounts("8", "0", "0")


def test_an_approval_in_another_currency_than_a_waiting_refund_sets_the_currency(record, affiliate):
    record(REFUND, currency="USD")
    record(APPROVED)
    with pytest.raises(OtherCurrency, match="EUR"):
        record(APPROVED, currency="USD")
    db.session.rollback()
    assert (balance(affiliate), balance(affiliate, "USD")) == (amounts("0", "12", "0"), (0, 0, 0))


def test_what_was_refunded_and_paid_meanwhile_counts_once_the_owner_calls_it_a_purchase(record, account):
    other = new_affiliate(account, "Katherine", "katherine@example.org")
    record()
    record(about=other)
    assert record(REFUND, about=other, commission="4.00")["commission-declined"] is EmailDecision.SAME_ORDER
    assert record(EventType.PAYOUT, about=other, order="A-1", amount="3.00")["payout-sent"] is QUEUED
    assert balance(other) == amounts("0", "-3", "3")
    repeated = select(Commission.id).where(Commission.state == CommissionState.REPEATED)
    cause = recording.Cause(Source.PORTAL, utcnow())
    assert decisions.decide(account, db.session.scalars(repeated).one(), Decision.SECOND, cause)
    assert balance(other) == amounts("8", "-3", "3")
    assert messages("new-purchase")[-1].subject == "You earned 8.00 EUR with Brightleaf"


def test_a_repeated_purchase_that_was_refunded_meanwhile_causes_no_email(record, account):
    other = new_affiliate(account, "Katherine", "katherine@example.org")
    record()
    record(about=other)
    record(REFUND, about=other)
    repeated = select(Commission.id).where(Commission.state == CommissionState.REPEATED)
    cause = recording.Cause(Source.PORTAL, utcnow())
    assert decisions.decide(account, db.session.scalars(repeated).one(), Decision.SECOND, cause)
    assert balance(other) == amounts("0", "0", "0")
    assert len(messages("new-purchase")) == 1


def test_of_two_purchases_of_an_order_a_refund_and_a_payout_find_the_one_that_counts(
    record, account, affiliate
):
    record()
    record()
    first, second = db.session.scalars(select(Commission).order_by(Commission.slot))
    ids = first.id, second.id
    cause = recording.Cause(Source.PORTAL, utcnow())
    for id_, decision in ((ids[1], Decision.SECOND), (ids[1], Decision.APPROVE), (ids[0], Decision.DECLINE)):
        assert decisions.decide(account, id_, decision, cause)
    assert record(REFUND, commission="4.00")["commission-declined"] is QUEUED
    assert balance(affiliate) == amounts("0", "8", "0")
    record(EventType.PAYOUT, order="A-1", amount="8.00")
    rows = db.session.scalars(select(Commission).order_by(Commission.slot))
    assert [row.is_paid for row in rows] == [False, True]


def test_an_order_keeps_its_currency(record, affiliate):
    record()
    for type_ in (REFUND, APPROVED, DECLINED):
        with pytest.raises(OtherCurrency, match="EUR"):
            record(type_, currency="USD")
        db.session.rollback()
    assert record(currency="USD")["new-purchase"] is EmailDecision.SAME_ORDER
    assert balance(affiliate, "USD") == amounts("0", "0", "0")


def test_an_approval_before_its_purchase_sets_the_currency_of_the_order(record, affiliate):
    record(APPROVED, currency="USD")
    with pytest.raises(OtherCurrency, match="USD"):
        record()
    db.session.rollback()
    assert (balance(affiliate), balance(affiliate, "USD")) == (
        amounts("0", "0", "0"),
        amounts("0", "12", "0"),
    )
    record(DECLINED, currency="USD")  # takes the mistaken approval back
    record()
    assert (balance(affiliate), balance(affiliate, "USD")) == (
        amounts("12", "0", "0"),
        amounts("0", "0", "0"),
    )


def test_a_simulated_event_and_a_known_key_count_nowhere(record, affiliate):
    record(source=Source.SIMULATED)
    assert balance(affiliate) == amounts("0", "0", "0")
    record(key="once")
    record(key="once", order="A-2")
    assert balance(affiliate) == amounts("12", "0", "0")


def test_an_old_event_counts_and_causes_no_email_unless_asked(record, affiliate):
    old = utcnow() - timedelta(days=31)
    assert set(record(at=old).values()) == {EmailDecision.TOO_OLD}
    assert set(record(order="A-2", at=old, notify=True).values()) == {QUEUED}
    assert balance(affiliate) == amounts("24", "0", "0")
    assert set(db.session.scalars(select(LedgerEntry.week))) == {"", None}


def test_sums_beyond_64_bits_are_exact(record, affiliate, account):
    now = utcnow()
    huge = Reported(EventType.CORRECTION, {"amount": "999999999999.9999", "currency": "CLF"}, now)
    recording.record(account, affiliate, huge, recording.Cause(Source.API, now, "c0"))
    entry = dict(db.session.execute(select(LedgerEntry.__table__)).mappings().one())
    others = [{**entry, "id": entry["id"] + n, "event_id": entry["event_id"] + n} for n in range(1, 1000)]
    db.session.execute(insert(LedgerEntry.__table__), others)  # as if each was recorded, which takes long
    db.session.commit()
    expected = Decimal("999999999999.9999") * 1000
    assert balance(affiliate, "CLF") == (0, expected, 0)


# -- any history agrees with a plain recomputation


@dataclass
class _Order:
    """An order as a plain recomputation sees it."""

    earned: Decimal | None = None
    refunded: Decimal = Decimal()
    state: str = "pending"
    is_purchased: bool = False

    @property
    def is_known(self) -> bool:
        return self.is_purchased or self.left > 0

    @property
    def left(self) -> Decimal:
        earned = self.earned or Decimal()
        return Decimal() if self.state == "declined" else max(Decimal(), earned - self.refunded)


class Contradiction(Exception):
    """What is reported names another affiliate or currency than what counts of its order."""


@dataclass
class _Model:
    """The sums of one history."""

    orders: dict[tuple[int, str, str], _Order] = field(default_factory=lambda: defaultdict(_Order))
    repeated: set[tuple[int, str, str]] = field(default_factory=set)
    paid: dict[tuple[int, str], Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    corrected: dict[tuple[int, str], Decimal] = field(default_factory=lambda: defaultdict(Decimal))

    def apply(self, who: int, type_: EventType, order: str, amount: Decimal, currency: str) -> None:
        if type_ is EventType.PAYOUT:
            self.paid[who, currency] += amount
        elif type_ is EventType.CORRECTION:
            self.corrected[who, currency] -= amount
        elif type_ is EventType.PURCHASE and self._is_repeated(who, order, currency):
            self.repeated.add((who, order, currency))
        elif self._contradicts(who, order, currency):
            raise Contradiction
        elif type_ is EventType.PURCHASE:
            one = self.orders[who, order, currency]
            one.earned, one.is_purchased = amount, True
            for key in [key for key in self.orders if key[1] == order and not self.orders[key].is_known]:
                del self.orders[key]  # it does not fit the purchase
        elif (who, order, currency) in self.orders or (who, order, currency) not in self.repeated:
            one = self.orders[who, order, currency]
            if type_ is REFUND:
                one.refunded += (
                    amount if one.earned is None else min(amount, max(Decimal(), one.earned - one.refunded))
                )
            elif type_ is DECLINED:
                one.state = "declined"
            else:
                one.state = "approved"
                one.earned = amount if one.earned is None else one.earned

    def _is_repeated(self, who: int, order: str, currency: str) -> bool:
        known = [key for key, one in self.orders.items() if key[1] == order and one.is_known]
        if any(self.orders[key].is_purchased or key[0] != who for key in known):
            return True
        was_reported = any(key[1] == order for key in self.repeated)
        return was_reported and (who, order, currency) not in self.orders

    def _contradicts(self, who: int, order: str, currency: str) -> bool:
        known = {key for key, one in self.orders.items() if key[1] == order and one.is_known}
        own = {key[2] for key in known | self.repeated if key[:2] == (who, order)}
        return currency not in own if own else bool(known)

    def balances(self, who: int) -> dict[str, tuple[Decimal, Decimal, Decimal]]:
        found: dict[str, list[Decimal]] = defaultdict(lambda: [Decimal()] * 3)
        for (owner, _order, currency), one in self.orders.items():
            if owner == who and one.state != "declined":
                found[currency][one.state == "approved"] += one.left
        for (owner, currency), amount in self.paid.items():
            if owner == who:
                found[currency][1] -= amount
                found[currency][2] += amount
        for (owner, currency), amount in self.corrected.items():
            if owner == who:
                found[currency][1] += amount
        return {currency: tuple(sums) for currency, sums in found.items() if any(sums)}


TYPES = st.sampled_from(
    [EventType.PURCHASE] * 3 + [REFUND, REFUND, APPROVED, DECLINED, EventType.PAYOUT, EventType.CORRECTION]
)
STEPS = st.lists(
    st.tuples(
        st.integers(0, 1),
        TYPES,
        st.sampled_from(["A-1", "A-2", "A-3"]),
        st.decimals(Decimal("0.01"), Decimal("99.99"), places=2),
        st.sampled_from(["EUR", "EUR", "USD"]),
    ),
    max_size=14,
)
_numbers = count()


@pytest.mark.both_databases
def test_any_history_agrees_with_a_plain_recomputation(account, affiliate):
    people = [affiliate, new_affiliate(account, "Katherine", "katherine@example.org")]
    account_id, ids = account.id, [one.id for one in people]

    @given(STEPS)
    @settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    def check(steps):
        db.session.execute(delete(LedgerEntry))
        db.session.execute(delete(Commission))
        db.session.commit()
        model = _Model()
        programme = db.session.get_one(type(account), account_id)  # the export detaches what was loaded
        who_of = [db.session.get_one(type(affiliate), id_) for id_ in ids]
        for who, type_, order, amount, currency in steps:
            name = "commission" if type_ in (REFUND, APPROVED, DECLINED) else "amount"
            number = -amount if type_ is EventType.CORRECTION else amount
            values = {"currency": currency, name: str(number)}
            if type_ is EventType.PURCHASE:
                values |= {"commission": str(amount), "amount": "100.00"}
            if type_ not in (EventType.PAYOUT, EventType.CORRECTION):
                values["order"] = order
            cause = recording.Cause(Source.API, utcnow(), f"step-{next(_numbers)}")
            try:
                recording.record(programme, who_of[who], Reported(type_, values, utcnow()), cause)
            except (OtherCurrency, OtherAffiliate):
                db.session.rollback()
                with pytest.raises(Contradiction):
                    model.apply(who, type_, order, amount, currency)
                continue
            db.session.commit()
            model.apply(who, type_, order, amount, currency)
        expected = [model.balances(0), model.balances(1)]
        found = [
            {
                one.currency: (one.pending, one.approved, one.paid)
                for one in balances.balances_of(id_)
                if one.pending or one.approved or one.paid
            }
            for id_ in ids
        ]
        assert found == expected
        whole = {one.currency: one for one in balances.overview(account_id).balances}
        for currency, total in whole.items():
            parts = [one.get(currency, (Decimal(),) * 3) for one in expected]
            assert (total.pending, total.approved, total.paid) == tuple(map(sum, zip(*parts, strict=True)))
            assert _of_ledger(account_id, currency) == total.earned
            assert _of_csv(account_id, currency) == total.earned - sum(
                (model.corrected[who, currency] for who in (0, 1)), Decimal()
            )

    check()


def _of_ledger(account_id, currency):
    """Return the sum of what the weekly summaries name: commissions and corrections."""
    query = select(func.sum(LedgerEntry.units)).where(
        LedgerEntry.account_id == account_id,
        LedgerEntry.currency == currency,
        LedgerEntry.type != EventType.PAYOUT,
    )
    return from_units(int(db.session.scalar(query) or 0))


def _of_csv(account_id, currency):
    rows = csv.DictReader(io.StringIO("".join(csv_export.stream_csv(account_id)).removeprefix("\ufeff")))
    return sum((Decimal(row["Left"]) for row in rows if row["Currency"] == currency), Decimal())
