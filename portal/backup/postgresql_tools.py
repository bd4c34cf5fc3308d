"""pg_dump and pg_restore. The password of the database is passed in the environment, never on the command line."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

from sqlalchemy.engine import URL, make_url

from ..jobs.backend import TABLE_PREFIX
from . import BackupError

if TYPE_CHECKING:
    from pathlib import Path


def dump(url: str, snapshot: str, target: Path) -> None:
    """Dump the database as an exported snapshot shows it, without the job queues. Raises BackupError."""
    _run("pg_dump", url, "--format=custom", f"--exclude-table={TABLE_PREFIX}_*", f"--snapshot={snapshot}",
         f"--file={target}")  # fmt: skip


def restore(url: str, source: Path) -> None:
    """Restore a dump into an empty database, completely or not at all. Raises BackupError."""
    _run("pg_restore", url, "--no-owner", "--no-privileges", "--exit-on-error", "--single-transaction",
         str(source))  # fmt: skip


def _run(program: str, url: str, *arguments: str) -> None:
    path = shutil.which(program)
    if path is None:
        raise BackupError(
            f"{program} is not installed here. Install PostgreSQL's client programs, in the version of the server or newer."
        )
    address, password = _without_password(url)
    environ = os.environ | ({"PGPASSWORD": password} if password else {})
    done = subprocess.run(  # noqa: S603 - a fixed program, no shell
        [path, f"--dbname={address}", *arguments],
        env=environ,
        capture_output=True,
        text=True,
        errors="replace",
    )
    if done.returncode:
        # Later lines may quote rows, which contain names and mailboxes.
        first = next(
            (line for line in done.stderr.splitlines() if "error" in line), f"status {done.returncode}"
        )
        raise BackupError(f"{program} failed. It printed: {first}")


def _without_password(url: str) -> tuple[str, str]:
    """Return the URL for libpq without its password, and the password."""
    parts = make_url(url)
    query = dict(parts.query)
    in_query = query.pop("password", "")
    password = str(parts.password or in_query or "")
    address = URL.create(
        "postgresql", parts.username, None, parts.host, parts.port, parts.database, query
    ).render_as_string(hide_password=False)
    return address, password
