"""Alembic environment: always online, over the app's own engine."""

from __future__ import annotations

from alembic import context
from flask import current_app
from sqlalchemy.types import TypeEngine

from portal.db import Base, UTCDateTime
from portal.deliveries.triggers import SUBJECT_INDEX
from portal.jobs.backend import TABLE_PREFIX


def _render(kind: str, item: object, _autogen: object) -> str | bool:
    """Render our own column types as standard ones, so that old migrations do not depend on present code."""
    if kind == "type" and isinstance(item, UTCDateTime):
        return "sa.DateTime(timezone=True)"
    if kind == "type" and isinstance(item, TypeEngine) and getattr(item, "enums", None):
        return f"sa.String(length={item.length})"
    return False


def _is_ours(name: str | None, kind: str, _parents: object) -> bool:
    """Exclude what is created outside the models: Huey's tables and the full-text index of the delivery log."""
    return kind not in ("table", "index") or not str(name).startswith((f"{TABLE_PREFIX}_", SUBJECT_INDEX))


def run() -> None:
    """Apply the migrations, or compare the tables with the models, in one transaction."""
    engine = current_app.extensions["migrate"].db.engine
    with engine.connect() as connection:
        if connection.dialect.name == "sqlite":  # sorting whole tables may not fit into memory
            connection.connection.cursor().execute("PRAGMA temp_store = DEFAULT")
        context.configure(
            connection=connection,
            target_metadata=Base.metadata,
            render_as_batch=True,
            render_item=_render,
            include_name=_is_ours,
        )
        with context.begin_transaction():
            if connection.dialect.name == "postgresql":  # of two concurrent set-ups the second waits
                connection.exec_driver_sql("SELECT pg_advisory_xact_lock(20110)")
            context.run_migrations()
        connection.commit()


run()
