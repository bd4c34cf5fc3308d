"""Reads the audit trail for tests."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from portal.audit.models import AuditEntry
from portal.db import db


def rows(**of: Any) -> list[AuditEntry]:
    """Return the rows with these values, the oldest first, detached from the session."""
    db.session.rollback()
    query = select(AuditEntry).filter_by(**of).order_by(AuditEntry.id)
    found = list(db.session.scalars(query))
    db.session.expunge_all()
    db.session.rollback()
    return found


def actions(**of: Any) -> list[str]:
    """Return the actions of these rows."""
    return [row.action.value for row in rows(**of)]
