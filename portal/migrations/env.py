"""How Alembic reaches our tables: always online, through the app's own engine."""

from __future__ import annotations

from alembic import context
from flask import current_app
from sqlalchemy.types import TypeEngine

from portal.db import Base, UTCDateTime


def _render(kind: str, item: object, _autogen: object) -> str | bool:
    """Write our own column types as plain ones, so that an old migration outlives the code."""
    if kind == "type" and isinstance(item, UTCDateTime):
        return "sa.DateTime(timezone=True)"
    if kind == "type" and isinstance(item, TypeEngine) and getattr(item, "enums", None):
        return f"sa.String(length={item.length})"
    return False


def run() -> None:
    """Apply or compare within one transaction."""
    engine = current_app.extensions["migrate"].db.engine
    with engine.connect() as connection:
        context.configure(
            connection=connection,
            target_metadata=Base.metadata,
            render_as_batch=True,
            render_item=_render,
        )
        with context.begin_transaction():
            context.run_migrations()
        connection.commit()


run()
