"""The databases of the tests: a file for SQLite, and a PostgreSQL of this run's own on a private socket."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from portal.config import Config
from portal.db.urls import is_postgresql

URL = "SIGNET_TEST_DATABASE_URL"  # tells make_config, in a worker's process too
_BINARIES = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/usr/local/pgsql/bin",
    "/opt/homebrew/opt/postgresql*/bin",
)
FAST = (
    "fsync=off",  # what was committed survives the end of the server all the same, not that of the machine
    "full_page_writes=off",
    "autovacuum=off",
    "shared_buffers=32MB",
    "max_connections=200",
)
DURABLE = ("max_connections=200",)  # as an operator has it


def binaries() -> Path | None:
    """Return the folder of the newest PostgreSQL here, or None."""
    found = [
        path for pattern in _BINARIES for path in Path("/").glob(pattern[1:]) if (path / "initdb").exists()
    ]
    on_path = shutil.which("initdb")
    found += [Path(on_path).resolve().parent] if on_path else []
    return max(found, key=_version, default=None)


def _version(folder: Path) -> int:
    digits = "".join(letter for letter in folder.parent.name if letter.isdigit())
    return int(digits or 0)


@dataclass
class Cluster:
    """A running server. Its only door is a socket in a folder of its own."""

    folder: Path
    binaries: Path
    settings: tuple[str, ...] = FAST
    process: subprocess.Popen[bytes] | None = None

    def url(self, name: str) -> str:
        return f"postgresql://postgres@/{name}?host={self.folder}"

    def connect(self, name: str = "postgres") -> psycopg.Connection[Any]:
        return psycopg.connect(host=str(self.folder), user="postgres", dbname=name, autocommit=True)

    def start(self) -> None:
        """Run it. Called by the main thread: the server ends with the thread that started it."""
        own = ("listen_addresses=", f"unix_socket_directories={self.folder}")
        options = [word for setting in (*own, *self.settings) for word in ("-c", setting)]
        command = [
            *_as_somebody(),
            str(self.binaries / "postgres"),
            "-D",
            str(self.folder / "data"),
            *options,
        ]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder)
        end = time.monotonic() + 30
        while True:
            try:
                return self.connect().close()
            except psycopg.OperationalError:
                if time.monotonic() > end or self.process.poll() is not None:
                    raise RuntimeError((self.folder / "log").read_text()[-2000:]) from None
                time.sleep(0.02)

    def stop(self, how: str = "INT") -> None:
        """End the server: INT politely, QUIT at once, so that it recovers as after a crash."""
        if self.process is not None:
            self.process.send_signal({"INT": signal.SIGINT, "QUIT": signal.SIGQUIT}[how])
            self.process.wait(20)
            self.process = None


def _as_somebody() -> list[str]:
    """PostgreSQL refuses to be run by root, so somebody without rights runs it; it ends with its parent."""
    words = ["setpriv", "--pdeathsig", "QUIT"] if shutil.which("setpriv") else []
    if os.geteuid() != 0:
        return words
    return [*words, f"--reuid={_somebody().pw_uid}", f"--regid={_somebody().pw_gid}", "--clear-groups"]


def _somebody() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return pwd.getpwnam("nobody")


@contextmanager
def cluster(found: Path, settings: tuple[str, ...] = FAST) -> Iterator[Cluster]:
    """Make a PostgreSQL in a folder of its own, run it, and take it away again."""
    folder = Path(tempfile.mkdtemp(prefix="signet-pg-"))
    try:
        if os.geteuid() == 0:
            os.chown(folder, _somebody().pw_uid, _somebody().pw_gid)
        initdb = [str(found / "initdb"), "-D", str(folder / "data"), "-U", "postgres", "-A", "trust"]
        subprocess.run(
            [*_as_somebody(), *initdb, "-E", "UTF8", "--locale=C", "--no-sync"],
            check=True,
            capture_output=True,
            cwd=folder,
        )
        made = Cluster(folder, found, settings)
        made.start()
        try:
            yield made
        finally:
            made.stop("QUIT")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def forget_everything(cluster: Cluster, name: str) -> None:
    """Make a database as new: nobody at it, every table empty, every number from one."""
    with closing(cluster.connect(name)) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()",
            [name],
        )
        connection.execute(_EMPTY)


# Deleting from tables that are nearly empty takes a tenth of what TRUNCATE does.
_EMPTY = """
DO $$ DECLARE one record; BEGIN
  SET LOCAL session_replication_role = replica;
  FOR one IN SELECT relname FROM pg_class
             WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND relname <> 'alembic_version'
  LOOP EXECUTE format('DELETE FROM %I', one.relname); END LOOP;
  FOR one IN SELECT relname FROM pg_class WHERE relkind = 'S' AND relnamespace = 'public'::regnamespace
  LOOP EXECUTE format('ALTER SEQUENCE %I RESTART', one.relname); END LOOP;
END $$
"""


def missing() -> None:
    """Leave a test of PostgreSQL out, or fail it where it is required."""
    reason = "PostgreSQL is not installed here (tests/postgresql.sh installs it on Debian)"
    if os.environ.get("SIGNET_REQUIRE_POSTGRESQL") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


# -- what other processes do to a database, in the words of either


def plain_connection(config: Config) -> Any:
    """Connect as another program would, beside SQLAlchemy."""
    if is_postgresql(config.database_url):
        return psycopg.connect(config.database_url.replace("+psycopg", "", 1), autocommit=True)
    path = config.instance / "portal.sqlite"
    return sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)


def lock_against_writers(config: Config) -> Any:
    """Let nobody write until what is returned is closed."""
    other = plain_connection(config)
    if is_postgresql(config.database_url):
        other.execute("BEGIN")
        tables = "outbox_message, delivery_attempt, outbox_queue, settings_check, smtp_settings"
        other.execute(f"LOCK TABLE {tables} IN EXCLUSIVE MODE")
    else:
        other.execute("PRAGMA busy_timeout = 5000")  # a worker may be writing in this very moment
        other.execute("BEGIN IMMEDIATE")
    return other


def assert_no_open_transaction(config: Config) -> None:
    """Fail when any other connection holds a transaction open."""
    with closing(plain_connection(config)) as other:
        if not is_postgresql(config.database_url):
            other.execute("BEGIN IMMEDIATE")
            other.execute("ROLLBACK")
            return
        rows = other.execute(
            "SELECT state, query FROM pg_stat_activity WHERE datname = current_database() "
            "AND pid <> pg_backend_pid() AND xact_start IS NOT NULL AND backend_type = 'client backend'"
        ).fetchall()
        assert rows == []
