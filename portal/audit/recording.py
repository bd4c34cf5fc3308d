"""Adds rows to the audit trail, in the transaction of the change, so that neither exists without the other.

A row holds no secret: of what is secret it states only that it changed. It holds no name and no address of affiliates, whose
ids suffice, and mailboxes of invited people only in part.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypedDict
from urllib.parse import urlsplit

from .. import rate_limit
from ..clock import utcnow
from ..db import db, read_write
from ..rate_limit import RateLimit
from ..smtp.protocol.reply import plain_text
from ..state import current_config
from .actions import KIND_OF, Activity, AuditOutcome
from .actor import Actor, current_actor
from .models import AuditEntry

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Unpack

CHANGED = "changed"  # all that a row states of a secret
_SECRET = re.compile(r"password|secret|token|credential|private", re.IGNORECASE)
_STATES_OF_SECRETS = frozenset({CHANGED, "set", "removed", "kept", "", None, True, False})
_VALUE_CHARS = 300
_NAME_CHARS = {"actor": 100, "target": 200}
_VALUES = 40  # of one row
# Attempts that were refused leave so many rows, so that repeating one does not fill the table.
_REFUSALS = RateLimit("refused attempts in the audit trail", 20, timedelta(hours=1))


@dataclass(frozen=True)
class AuditTarget:
    """What was changed: its kind, its id, and its name if that is no affiliate's."""

    kind: str
    id: int | None = None
    name: str = ""


class Details(TypedDict, total=False):
    """What a row may state besides action and account. ``before`` and ``after`` leave out what is equal in both."""

    target: AuditTarget
    before: Mapping[str, Any]
    after: Mapping[str, Any]
    outcome: AuditOutcome
    actor: Actor


def record(action: Activity, account_id: int | None, **details: Unpack[Details]) -> None:
    """Add a row to the current transaction of the session. The caller commits.

    ``account_id`` is None for what concerns the installation.
    """
    actor = details.get("actor") or current_actor()
    target = details.get("target") or AuditTarget("")
    before, after = _differing(details.get("before"), details.get("after"))
    now = utcnow()
    row = AuditEntry(at=now, account_id=account_id, kind=KIND_OF[action], action=action)
    row.kept_until = now + timedelta(days=current_config().audit_days)
    row.outcome, row.way = details.get("outcome", AuditOutcome.DONE), actor.way
    row.actor_id, row.session_id, row.network = actor.id, actor.session_id, actor.network
    row.actor_name = plain_text(actor.name, _NAME_CHARS["actor"])
    row.target_kind, row.target_id = target.kind, target.id
    row.target_name = plain_text(target.name, _NAME_CHARS["target"])
    row.values_before, row.values_after = before, after
    db.session.add(row)


def record_alone(action: Activity, account_id: int | None, **details: Unpack[Details]) -> None:
    """Add a row in a transaction of its own, before something that changes nothing in the database. Commits.

    The session must have no pending changes: its transaction ends.
    """
    db.session.rollback()
    with read_write():
        record(action, account_id, **details)
        db.session.commit()


def record_refusal(
    action: Activity,
    account_id: int,
    *,
    key: object,
    limit: RateLimit = _REFUSALS,
    **details: Unpack[Details],
) -> None:
    """Add the row of a refused attempt in a transaction of its own, if the limit of ``key`` allows one more. Commits.

    The session must have no pending changes: its transaction ends.
    """
    details.setdefault("outcome", AuditOutcome.REFUSED)
    db.session.rollback()
    with read_write():
        if rate_limit.consume(limit, action.value, key, now=utcnow()):
            record(action, account_id, **details)
        db.session.commit()


def host_of(url: str) -> str:
    """Return scheme and host of an address: its path and query may hold a key."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return f"{parts.scheme}://{parts.hostname or ''}" if url else ""


def hint_of_mailbox(mailbox: str) -> str:
    """Return a mailbox with most of its local part hidden: enough for a person who knows it."""
    local, _at, domain = mailbox.rpartition("@")
    return f"{local[:1]}•••@{domain}"


def _differing(
    before: Mapping[str, Any] | None, after: Mapping[str, Any] | None
) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """Return the values as they are stored, without those that stay the same."""
    old, new = _clean(before or {}), _clean(after or {})
    new = {name: value for name, value in new.items() if value is not None or name in old}
    same = {name for name in old if name in new and old[name] == new[name] and not _SECRET.search(name)}
    left_old, left_new = (
        {name: value for name, value in values.items() if name not in same} for values in (old, new)
    )
    return left_old or None, left_new or None


def _clean(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _value(name, value) for name, value in list(values.items())[:_VALUES]}


def _value(name: str, value: Any) -> Any:
    """Return a value as JSON: text without control and direction characters, and of a secret nothing but that it changed."""
    if isinstance(value, list | tuple | set | frozenset | dict):
        value = ", ".join(map(str, sorted(value) if isinstance(value, set | frozenset) else value))
    elif not isinstance(value, bool | int | None):
        value = str(value)
    if _SECRET.search(name) and value not in _STATES_OF_SECRETS:
        return CHANGED
    return plain_text(value, _VALUE_CHARS) if isinstance(value, str) else value
