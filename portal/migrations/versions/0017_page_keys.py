"""keys of affiliates' pages sealed and hashed instead of in clear

The links in emails that were sent go on working: the keys stay the same. Columns are renamed and added in place, because
SQLite does not rebuild a table to which rows of others refer. The constraints keep their names.
"""

import hashlib

import sqlalchemy as sa
from alembic import op

from portal.env import ConfigError
from portal.state import vault
from portal.vault import DecryptionError, Vault

revision = "0017"
down_revision = "0016"

_AT_ONCE = 500  # rows
_HASH_CHARS = 40
_KEYS = ("dashboard_key", "preferences_key")


def upgrade() -> None:
    for name in _KEYS:
        op.execute(f"ALTER TABLE affiliate RENAME COLUMN {name} TO {name}_hash")
    empty = sa.text("''")
    op.add_column("affiliate", sa.Column("sealed_page_keys", sa.LargeBinary(), nullable=False, server_default=empty))
    _rewrite(_sealed)


def downgrade() -> None:
    _rewrite(_opened)
    op.execute("ALTER TABLE affiliate DROP COLUMN sealed_page_keys")
    for name in _KEYS:
        op.execute(f"ALTER TABLE affiliate RENAME COLUMN {name}_hash TO {name}")


def _rewrite(change) -> None:
    """Change every row, in batches so that no table has to fit into memory."""
    names = ("id", "account_id", "code", "dashboard_key_hash", "preferences_key_hash", "sealed_page_keys")
    affiliate = sa.table("affiliate", *(sa.column(name) for name in names[:-1]), sa.column(names[-1], sa.LargeBinary()))
    columns, bind, keyring, last = affiliate.c, op.get_bind(), None, 0
    while True:
        query = sa.select(affiliate).where(columns.id > last).order_by(columns.id).limit(_AT_ONCE)
        rows = bind.execute(query).all()
        if not rows:
            return
        keyring = keyring or _keyring(bind)
        statement = sa.update(affiliate).where(columns.id == sa.bindparam("row"))
        bind.execute(statement, [{"row": one.id, **change(keyring, one)} for one in rows])
        last = rows[-1].id


def _keyring(bind: sa.Connection) -> Vault:
    """Return the vault, unless its keys are not those of this database: the links of later emails would be lost."""
    sealed = bind.exec_driver_sql("SELECT sealed FROM key_check WHERE id = 1").scalar()
    try:
        if sealed is not None:
            vault().open(bytes(sealed), {"kind": "key-check"})
    except DecryptionError:
        raise ConfigError(
            "The keyring does not fit this database, so the keys of affiliates' pages cannot be sealed. "
            "Put the right key back into SIGNET_KEYS or the file keys, and migrate again."
        ) from None
    return vault()


def _binding(row: sa.Row) -> dict[str, str | int]:
    return {"kind": "affiliate-page-keys", "account": row.account_id, "code": row.code}


def _sealed(keyring: Vault, row: sa.Row) -> dict[str, object]:
    dashboard, preferences = row.dashboard_key_hash, row.preferences_key_hash
    return {
        "sealed_page_keys": keyring.seal(f"{dashboard}\n{preferences}", _binding(row)),
        "dashboard_key_hash": hashlib.sha256(dashboard.encode()).hexdigest()[:_HASH_CHARS],
        "preferences_key_hash": hashlib.sha256(preferences.encode()).hexdigest()[:_HASH_CHARS],
    }


def _opened(keyring: Vault, row: sa.Row) -> dict[str, object]:
    dashboard, _, preferences = keyring.open(bytes(row.sealed_page_keys), _binding(row)).partition("\n")
    return {"dashboard_key_hash": dashboard, "preferences_key_hash": preferences, "sealed_page_keys": b""}
