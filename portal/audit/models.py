"""The table of the audit trail. It has no foreign keys: a row outlives the account, the person and what it names."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import JSON, Connection, Index, String, Table, event
from sqlalchemy.orm import Mapped, mapped_column

from ..db import Base, enum_column
from .actions import Activity, ActivityKind, AuditOutcome
from .actor import Way
from .triggers import ddl

if TYPE_CHECKING:
    from collections.abc import Sequence


class AuditEntry(Base):
    """One action. Rows are only added: triggers refuse changes, except those of ``retention``."""

    __tablename__ = "audit_entry"
    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    kept_until: Mapped[datetime]  # before then, no statement deletes the row
    account_id: Mapped[int | None]  # empty: about the installation
    kind: Mapped[ActivityKind] = mapped_column(enum_column(ActivityKind, 16))
    action: Mapped[Activity] = mapped_column(enum_column(Activity, 40))
    outcome: Mapped[AuditOutcome] = mapped_column(enum_column(AuditOutcome))
    way: Mapped[Way] = mapped_column(enum_column(Way))
    actor_id: Mapped[int | None]  # a person; with Way.API a token
    actor_name: Mapped[str] = mapped_column(String(100))
    session_id: Mapped[int | None]
    network: Mapped[str] = mapped_column(String(64))
    target_kind: Mapped[str] = mapped_column(String(20))
    target_id: Mapped[int | None]
    target_name: Mapped[str] = mapped_column(String(200))
    values_before: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    values_after: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    __table_args__ = (
        Index("ix_audit_entry_at", "account_id", "at", "id"),
        Index("ix_audit_entry_kind", "account_id", "kind", "at", "id"),
        Index("ix_audit_entry_actor", "account_id", "actor_id", "at", "id"),
        Index("ix_audit_entry_kept_until", "kept_until"),
    )


@event.listens_for(Base.metadata, "after_create")
def _create_triggers(
    _metadata: object, bind: Connection, *, tables: Sequence[Table], **_more: object
) -> None:
    """Create the triggers where the tables are created without migrations."""
    if any(table.name == AuditEntry.__tablename__ for table in tables):
        ddl(bind)
