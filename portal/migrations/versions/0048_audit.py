"""the audit trail: a table whose rows can be added, but neither changed nor deleted before their time"""

import sqlalchemy as sa
from alembic import op

revision = "0048"
down_revision = "0047"

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TIME = sa.DateTime(timezone=True)
_FIXED = (
    "id, at, kept_until, account_id, kind, action, outcome, way, actor_id, session_id, network, target_kind, target_id,"
    " values_before, values_after"
)
_NAMES = "actor_name, target_name"
_IS_NOT_EMPTIED = "new.actor_name NOT IN ('', old.actor_name) OR new.target_name NOT IN ('', old.target_name)"
_UNCHANGEABLE = "audit entries cannot be changed"
_KEPT = "audit entries cannot be deleted before their time"


def upgrade() -> None:
    op.create_table(
        "audit_entry",
        sa.Column("id", _ID, nullable=False),
        sa.Column("at", _TIME, nullable=False),
        sa.Column("kept_until", _TIME, nullable=False),
        sa.Column("account_id", _ID, nullable=True),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("action", sa.String(40), nullable=False),
        sa.Column("outcome", sa.String(12), nullable=False),
        sa.Column("way", sa.String(12), nullable=False),
        sa.Column("actor_id", _ID, nullable=True),
        sa.Column("actor_name", sa.String(100), nullable=False),
        sa.Column("session_id", _ID, nullable=True),
        sa.Column("network", sa.String(64), nullable=False),
        sa.Column("target_kind", sa.String(20), nullable=False),
        sa.Column("target_id", _ID, nullable=True),
        sa.Column("target_name", sa.String(200), nullable=False),
        sa.Column("values_before", sa.JSON(), nullable=True),
        sa.Column("values_after", sa.JSON(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_entry")),
    )
    op.create_index("ix_audit_entry_at", "audit_entry", ["account_id", "at", "id"])
    op.create_index("ix_audit_entry_kind", "audit_entry", ["account_id", "kind", "at", "id"])
    op.create_index("ix_audit_entry_actor", "audit_entry", ["account_id", "actor_id", "at", "id"])
    op.create_index("ix_audit_entry_kept_until", "audit_entry", ["kept_until"])
    for statement in _postgresql() if op.get_bind().dialect.name == "postgresql" else _sqlite():
        op.get_bind().exec_driver_sql(statement)


def downgrade() -> None:
    op.drop_table("audit_entry")  # with its triggers
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION audit_entry_unchangeable()")
        op.execute("DROP FUNCTION audit_entry_kept()")


def _sqlite() -> list[str]:
    trigger = "CREATE TRIGGER {} BEFORE {} ON audit_entry {} BEGIN SELECT RAISE(ABORT, '{}'); END"
    is_kept = "WHEN old.kept_until > strftime('%Y-%m-%d %H:%M:%f', 'now')"
    return [
        trigger.format("audit_entry_update", f"UPDATE OF {_FIXED}", "", _UNCHANGEABLE),
        trigger.format("audit_entry_names", f"UPDATE OF {_NAMES}", f"WHEN {_IS_NOT_EMPTIED}", _UNCHANGEABLE),
        trigger.format("audit_entry_delete", "DELETE", is_kept, _KEPT),
    ]


def _postgresql() -> list[str]:
    function = "CREATE FUNCTION {}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION '{}'; END $$"
    trigger = "CREATE TRIGGER {} BEFORE {} ON audit_entry FOR EACH ROW {} EXECUTE FUNCTION {}()"
    return [
        function.format("audit_entry_unchangeable", _UNCHANGEABLE),
        function.format("audit_entry_kept", _KEPT),
        trigger.format("audit_entry_update", f"UPDATE OF {_FIXED}", "", "audit_entry_unchangeable"),
        trigger.format("audit_entry_names", f"UPDATE OF {_NAMES}", f"WHEN ({_IS_NOT_EMPTIED})", "audit_entry_unchangeable"),
        trigger.format("audit_entry_delete", "DELETE", "WHEN (old.kept_until > clock_timestamp())", "audit_entry_kept"),
    ]
