"""Checks that the database can be used: all migrations are applied, and the keyring opens its sealed values."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from sqlalchemy import LargeBinary, inspect
from sqlalchemy.orm import Mapped, mapped_column

from ..about import ROOT
from ..env import ConfigError
from ..smtp.protocol.reply import plain_text
from ..vault import DecryptionError, Vault, key_id
from . import Base, db, insert, read_only

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MIGRATIONS = ROOT / "portal" / "migrations"
KEY_CHECK_BINDING: Mapping[str, str | int] = {"kind": "key-check"}


class KeyCheck(Base):
    """One sealed word: it opens only with a keyring that fits this database."""

    __tablename__ = "key_check"
    id: Mapped[int] = mapped_column(primary_key=True)
    sealed: Mapped[bytes] = mapped_column(LargeBinary)


def is_current() -> bool:
    """Return whether every migration has been applied. Reads Alembic's table without Alembic."""
    with read_only(), db.engine.connect() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return False
        applied = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalars().all()
    return list(applied) == [_newest_migration()]


@cache
def _newest_migration() -> str:
    """Return the number of the newest migration, with which the names of their files begin."""
    return max(path.name.partition("_")[0] for path in (MIGRATIONS / "versions").glob("[0-9]*.py"))


def keys_open(vault: Vault) -> bool:
    """Return whether the keyring opens this database. A database that was never set up counts as not opened."""
    row = db.session.get(KeyCheck, 1)
    try:
        return row is not None and bool(vault.open(row.sealed, KEY_CHECK_BINDING))
    except DecryptionError:
        return False
    finally:
        db.session.rollback()


def check_keys(vault: Vault, instance: Path | str) -> None:
    """Check that the keyring opens this database; on first use, seal the word that later checks open.

    Raises:
        ConfigError: The keyring does not fit. The message names the missing key if its id can be read.
    """
    row = db.session.get(KeyCheck, 1)
    if row is None:
        # If two processes set up the database at once, the first row stays, and the second one's keyring has to open it.
        first = insert(KeyCheck).values(id=1, sealed=vault.seal("signet", KEY_CHECK_BINDING))
        db.session.execute(first.on_conflict_do_nothing())
        db.session.commit()
        row = db.session.get_one(KeyCheck, 1)
    try:
        vault.open(row.sealed, KEY_CHECK_BINDING)
    except DecryptionError:
        raise ConfigError(
            "The keyring does not fit this database: saved passwords could not be opened. "
            f"{_missing_key(vault, row.sealed)}"
            f"Put the right key back into SIGNET_KEYS or {instance}/keys."
        ) from None
    finally:
        db.session.rollback()


def _missing_key(vault: Vault, sealed: bytes) -> str:
    """Return a sentence that names the key by its id, which is no secret, if the id can be read."""
    try:
        name = plain_text(key_id(sealed))
    except DecryptionError:
        return ""
    if name in vault.key_ids:
        return f"The key called {name} in the keyring is not the one that sealed them. "
    return f"They are sealed under key {name}, which is not in the keyring. "
