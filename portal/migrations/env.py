"""Alembic environment: always online, over the engine of the current app."""

from __future__ import annotations

from alembic import context

from portal.db import Base, db


def run() -> None:
    """Apply or revert migrations in one transaction."""
    with db.engine.connect() as connection:
        if connection.dialect.name == "sqlite":  # sorting whole tables may not fit into memory
            connection.connection.cursor().execute("PRAGMA temp_store = DEFAULT")
        context.configure(
            connection=connection, target_metadata=Base.metadata
        )  # for the names of constraints
        with context.begin_transaction():
            if connection.dialect.name == "postgresql":  # of two concurrent set-ups the second waits
                connection.exec_driver_sql("SELECT pg_advisory_xact_lock(20110)")
            context.run_migrations()
        connection.commit()


run()
