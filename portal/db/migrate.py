"""Applies, reverts and marks migrations. It imports Alembic, which a running portal or worker has no use for.

Each function needs an app context, in whose database it works (see portal/migrations/env.py). It raises the errors of
Alembic and of the database.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from alembic import command
from alembic.config import Config

from .readiness import MIGRATIONS

if TYPE_CHECKING:
    from pathlib import Path


def upgrade(directory: Path | str = MIGRATIONS, revision: str = "head") -> None:
    """Apply the migrations up to ``revision``. Commits."""
    command.upgrade(_config(directory), revision)


def downgrade(directory: Path | str, revision: str) -> None:
    """Revert the migrations after ``revision``. Commits."""
    command.downgrade(_config(directory), revision)


def stamp(directory: Path | str = MIGRATIONS, revision: str = "head") -> None:
    """Mark the tables as those of ``revision`` without applying anything. Commits."""
    command.stamp(_config(directory), revision)


def _config(directory: Path | str) -> Config:
    config = Config()
    config.set_main_option("script_location", str(directory).replace("%", "%%"))
    return config
