"""Make a backup of a running portal: one consistent state of the database, and the keys sealed apart from it."""

from __future__ import annotations

import sqlite3
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import select, text

from ..about import VERSION
from ..clock import utcnow
from ..db import db, read_only, read_write
from ..db.readiness import KeyCheck
from ..outbox.store import acceptance_log
from ..state import current_config
from . import BackupError, archive, postgresql_tools, sealed_keys

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy.engine import Connection

_MIGRATION = text("SELECT version_num FROM alembic_version")


def make(target: Path, keys: Path, passphrase: str) -> None:
    """Write the backup to ``target`` and the sealed keys to ``keys``; older files of these names are replaced.

    The portal and its workers may run. Raises BackupError; then no file is replaced by an incomplete one.
    """
    config = current_config()
    sealed = sealed_keys.seal(sealed_keys.Keys(config.secret_key, config.keyring), passphrase)
    with archive.private_draft(keys) as keys_draft, archive.private_draft(target) as draft:
        keys_draft.write_bytes(sealed)
        _write_archive(target, draft)
        archive.publish(keys_draft, keys)
        archive.publish(draft, target)


def _write_archive(target: Path, draft: Path) -> None:
    with archive.private_draft(target) as database:
        made_at = utcnow()
        with _snapshot() as (reader, accepted):
            migration = str(reader.execute(_MIGRATION).scalar_one())
            key_check = reader.execute(select(KeyCheck.sealed).where(KeyCheck.id == 1)).scalar_one()
            kind = _copy(reader, database)
        manifest = archive.Manifest(
            version=VERSION,
            made_at=made_at.isoformat(timespec="seconds"),
            database=kind,
            migration=migration,
            key_check=key_check.hex(),
            sha256=archive.sha256_of(database),
        )
        try:
            archive.write(draft, manifest, database, accepted)
        except OSError as error:
            raise BackupError(f"{target} cannot be written: {error.strerror}.") from None


@contextmanager
def _snapshot() -> Iterator[tuple[Connection, list[acceptance_log.Entry]]]:
    """Yield a connection whose transaction shows one state of the database, and the acceptances logged by then.

    The table may lag behind the acceptance log. No transaction commits while the log is read, so an acceptance is in
    this state of the database or in these entries: no message that was accepted before the backup leaves again.
    """
    engine = db.engine
    is_postgresql = engine.dialect.name == "postgresql"
    with engine.connect() as reader:
        if is_postgresql:
            reader = reader.execution_options(isolation_level="REPEATABLE READ")
        with read_write(), engine.connect() as gate, gate.begin():  # in SQLite this holds the write lock
            if is_postgresql:
                gate.execute(text("LOCK TABLE outbox_message IN SHARE MODE"))
            with read_only():
                reader.begin()
                if is_postgresql:
                    reader.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
                    reader.execute(text("SET LOCAL statement_timeout = 0"))
                reader.execute(_MIGRATION)  # the first query fixes the state that this transaction shows
            accepted = acceptance_log.all_entries()
        yield reader, accepted


def _copy(reader: Connection, target: Path) -> str:
    """Write the state that ``reader`` shows into a file; return the kind of database."""
    if reader.dialect.name == "postgresql":
        snapshot = str(reader.execute(text("SELECT pg_export_snapshot()")).scalar_one())
        postgresql_tools.dump(current_config().database_url, snapshot, target)
        return "postgresql"
    source: Any = reader.connection.driver_connection
    try:
        with closing(sqlite3.connect(target)) as copy:
            source.backup(copy)  # in one step, within the transaction of ``reader``
    except sqlite3.Error as error:
        raise BackupError(f"The database could not be copied: {error}.") from None
    return "sqlite"
