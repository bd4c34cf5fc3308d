"""What may change in the audit trail: old rows are deleted, and the name of an erased person is emptied."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, delete, select, update

from ..db import db
from ..db.transaction import db_now
from .actor import Way
from .models import AuditEntry

if TYPE_CHECKING:
    from datetime import datetime

BATCH_ROWS = 1000  # in one transaction
_BATCHES = 20  # of one clean-up
PERSON = "person"  # the kind of a target that is a person of a team


def prune(_now: datetime) -> int:
    """Delete rows whose time has passed, in bounded batches; return their number. Commits each batch.

    By the clock of the database, as the trigger that refuses to delete younger rows.
    """
    gone = 0
    for _batch in range(_BATCHES):
        old = (
            select(AuditEntry.id)
            .where(AuditEntry.kept_until < db_now())
            .order_by(AuditEntry.kept_until)
            .limit(BATCH_ROWS)
        )
        statement = delete(AuditEntry).where(AuditEntry.id.in_(old.scalar_subquery()))
        result: Any = db.session.execute(statement.execution_options(synchronize_session=False))
        db.session.commit()
        gone += int(result.rowcount)
        if result.rowcount < BATCH_ROWS:
            break
    return gone


def forget_person(person_id: int) -> int:
    """Empty the name of a person in all rows; return their number. Commits."""
    is_actor = and_(AuditEntry.actor_id == person_id, AuditEntry.way == Way.PAGE)
    is_target = and_(AuditEntry.target_id == person_id, AuditEntry.target_kind == PERSON)
    found = 0
    for condition, name in ((is_actor, "actor_name"), (is_target, "target_name")):
        statement = update(AuditEntry).where(condition).values({name: ""})
        result: Any = db.session.execute(statement.execution_options(synchronize_session=False))
        found += int(result.rowcount)
    db.session.commit()
    return found
