"""Database triggers that let rows of the audit trail neither change nor disappear early, for SQLite and PostgreSQL.

A name may be emptied, when a person is erased. A row may be deleted once its ``kept_until`` has passed, by the clock of the
database. Who owns the database can remove the triggers: they stop statements, not operators. The migration has a copy of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy import Connection

_FIXED = (
    "id, at, kept_until, account_id, kind, action, outcome, way, actor_id, session_id, network, target_kind, target_id,"
    " values_before, values_after"
)
_NAMES = "actor_name, target_name"
_IS_NOT_EMPTIED = "new.actor_name NOT IN ('', old.actor_name) OR new.target_name NOT IN ('', old.target_name)"
_UNCHANGEABLE = "audit entries cannot be changed"
_KEPT = "audit entries cannot be deleted before their time"


def _sqlite() -> list[str]:
    trigger = "CREATE TRIGGER {} BEFORE {} ON audit_entry {} BEGIN SELECT RAISE(ABORT, '{}'); END"
    is_kept = "WHEN old.kept_until > strftime('%Y-%m-%d %H:%M:%f', 'now')"
    return [
        trigger.format("audit_entry_update", f"UPDATE OF {_FIXED}", "", _UNCHANGEABLE),
        trigger.format("audit_entry_names", f"UPDATE OF {_NAMES}", f"WHEN {_IS_NOT_EMPTIED}", _UNCHANGEABLE),
        trigger.format("audit_entry_delete", "DELETE", is_kept, _KEPT),
    ]


def _postgresql() -> list[str]:
    function = (
        "CREATE FUNCTION {}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION '{}'; END $$"
    )
    trigger = "CREATE TRIGGER {} BEFORE {} ON audit_entry FOR EACH ROW {} EXECUTE FUNCTION {}()"
    is_kept = "WHEN (old.kept_until > clock_timestamp())"
    return [
        function.format("audit_entry_unchangeable", _UNCHANGEABLE),
        function.format("audit_entry_kept", _KEPT),
        trigger.format("audit_entry_update", f"UPDATE OF {_FIXED}", "", "audit_entry_unchangeable"),
        trigger.format(
            "audit_entry_names",
            f"UPDATE OF {_NAMES}",
            f"WHEN ({_IS_NOT_EMPTIED})",
            "audit_entry_unchangeable",
        ),
        trigger.format("audit_entry_delete", "DELETE", is_kept, "audit_entry_kept"),
    ]


def ddl(bind: Connection) -> None:
    """Create the triggers."""
    for statement in _postgresql() if bind.dialect.name == "postgresql" else _sqlite():
        bind.exec_driver_sql(statement)
