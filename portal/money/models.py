"""Tables of commissions, of what each event changed, and of the rule that approves commissions."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import ForeignKey, Index, String, UniqueConstraint, and_, text
from sqlalchemy.orm import Mapped, mapped_column

from ..db import Base, enum_column, partial_index
from ..events.types import EventType


class CommissionState(StrEnum):
    """The state of a commission."""

    PENDING = "pending"  # waits for approval
    APPROVED = "approved"
    DECLINED = "declined"
    REPEATED = (
        "repeated"  # its order was reported before; does not count until the owner says that it is another
    )
    UNMATCHED = "unmatched"  # a refund, decision or payout that does not fit the purchase of its order; does not count
    DISMISSED = (
        "dismissed"  # the owner: it is the purchase that was reported before, or need not be looked at again
    )


# Conditions of partial indexes. Queries repeat them literally, so that the planner recognises the indexes.
CAN_BE_APPROVED = text("state = 'pending' AND is_purchased AND (remaining > 0 OR earned = 0)")
IS_PAYMENT = text("type IN ('payout', 'correction')")
COUNTED = (CommissionState.PENDING, CommissionState.APPROVED, CommissionState.DECLINED)


class Commission(Base):
    """The commission of one affiliate for one order. Amounts are units of 1/10,000 (``amounts``).

    Events of one order may arrive in any sequence, so a refund or a decision can create the row before its purchase does
    (``is_purchased``). ``remaining`` is what counts: ``earned`` without what was refunded, zero once declined. The first
    purchase decides whose the order is and in which currency; rows for others are *unmatched* from then on.
    """

    __tablename__ = "commission"
    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"))
    affiliate_id: Mapped[int] = mapped_column(ForeignKey("affiliate.id"))
    order_ref: Mapped[str] = mapped_column(String(64))
    slot: Mapped[
        int
    ]  # 0: the row that is locked first; others: further affiliates, currencies or purchases of the order
    currency: Mapped[str] = mapped_column(String(3))
    is_purchased: Mapped[bool] = mapped_column(default=False)
    amount: Mapped[int] = mapped_column(default=0)  # of the order
    earned: Mapped[int] = mapped_column(default=0)
    refunded: Mapped[int] = mapped_column(default=0)  # of the commission
    remaining: Mapped[int] = mapped_column(default=0)
    paid: Mapped[int] = mapped_column(default=0)  # by payouts that name the order
    state: Mapped[CommissionState] = mapped_column(
        enum_column(CommissionState), default=CommissionState.PENDING
    )
    reason: Mapped[str] = mapped_column(String(300), default="")  # of the decline
    occurred_at: Mapped[datetime]
    created_at: Mapped[datetime]
    decided_at: Mapped[datetime | None]
    event_id: Mapped[int | None]  # the purchase; no foreign key, because sums outlive their events
    __table_args__ = (
        UniqueConstraint("account_id", "order_ref", "slot"),
        Index("ix_commission_state", "account_id", "state", "id"),
        partial_index(CAN_BE_APPROVED, "ix_commission_due", "account_id", "occurred_at", "id"),
        # Has all columns that the sums of a whole programme need.
        Index(
            "ix_commission_sums",
            "account_id",
            "state",
            "currency",
            "is_purchased",
            "earned",
            "refunded",
            "remaining",
        ),
        Index("ix_commission_affiliate", "affiliate_id", "id"),
    )

    @property
    def is_known(self) -> bool:
        """Whether its purchase was reported, or an approval that came before the purchase counts."""
        return self.is_purchased or self.remaining > 0

    @property
    def is_aside(self) -> bool:
        """Whether it holds what does not fit the purchase of its order."""
        return not self.is_purchased and self.state not in COUNTED

    @property
    def shown_refund(self) -> int:
        """What was taken back of the commission; of one without a purchase, all that was reported."""
        return self.refunded if self.is_aside else min(self.refunded, self.earned)

    @property
    def is_refunded(self) -> bool:
        """Whether all of it was refunded."""
        return self.is_purchased and self.refunded >= self.earned > 0

    @property
    def is_paid(self) -> bool:
        """Whether payouts that name the order cover what is left of it."""
        return self.state is CommissionState.APPROVED and self.paid >= self.remaining > 0


# What pages list: not a row that holds a refund or a decision alone, whose purchase is not reported yet.
IS_LISTED = (
    Commission.is_purchased
    | (Commission.earned > 0)
    | Commission.state.in_((CommissionState.UNMATCHED, CommissionState.DISMISSED))
)
IS_REFUNDED = and_(
    Commission.is_purchased, Commission.earned > 0, Commission.refunded >= Commission.earned
)  # all of it


class LedgerEntry(Base):
    """What one event changed. ``units`` of a purchase, refund or decision is the change of what was earned.

    ``week`` is the week whose summary names the entry; empty: none does; None: the next one for which it happened early
    enough.
    """

    __tablename__ = "ledger_entry"
    id: Mapped[int] = mapped_column(primary_key=True)
    event_id: Mapped[int] = mapped_column(unique=True)  # no foreign key, as above
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"))
    affiliate_id: Mapped[int] = mapped_column(ForeignKey("affiliate.id"))
    commission_id: Mapped[int | None] = mapped_column(ForeignKey("commission.id"), index=True)
    type: Mapped[EventType] = mapped_column(enum_column(EventType, 24))
    currency: Mapped[str] = mapped_column(String(3), default="")
    units: Mapped[int] = mapped_column(default=0)
    occurred_at: Mapped[datetime]
    created_at: Mapped[datetime]
    week: Mapped[str | None] = mapped_column(String(8))
    __table_args__ = (
        Index("ix_ledger_entry_week", "account_id", "week", "affiliate_id"),
        Index("ix_ledger_entry_affiliate", "affiliate_id", "id"),
        partial_index(IS_PAYMENT, "ix_ledger_entry_payments", "account_id", "type", "currency", "units"),
    )


class ApprovalRule(Base):
    """After how many days an account's commissions are approved without a decision. Without a row: never."""

    __tablename__ = "approval_rule"
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"), primary_key=True)
    days: Mapped[int]
