"""Databases of the tests: a SQLite file, or a PostgreSQL server of this run on a private socket."""

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

START_TIMEOUT_S = 180
URL = "SIGNET_TEST_DATABASE_URL"  # read by make_config, also in worker processes
_BINARIES = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/usr/local/pgsql/bin",
    "/opt/homebrew/opt/postgresql*/bin",
)
FAST = (
    "fsync=off",  # commits survive a crash of the server, but not of the machine
    "full_page_writes=off",
    "autovacuum=off",
    "jit=off",  # tables without statistics seem large, so that PostgreSQL would compile statements about three rows
    "wal_level=minimal",
    "max_wal_senders=0",
    "shared_buffers=32MB",
    "max_connections=200",
)
DURABLE: tuple[str, ...] = ("max_connections=200",)  # as in production


# A file system in memory: on a disk, most of the time of a test would be spent waiting for it.
MEMORY = Path("/dev/shm")


def has_room(folder: Path) -> bool:
    """Return whether the files of a run may be made in a folder."""
    return folder.is_dir() and os.access(folder, os.W_OK) and shutil.disk_usage(folder).free > 2 * 1024**3


def binaries() -> Path | None:
    """Return the folder of the newest installed PostgreSQL, or None."""
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
    """A PostgreSQL server that listens only on a Unix socket in its own folder."""

    folder: Path
    binaries: Path
    settings: tuple[str, ...] = FAST
    process: subprocess.Popen[bytes] | None = None

    def url(self, name: str) -> str:
        return f"postgresql://postgres@/{name}?host={self.folder}"

    def connect(self, name: str = "postgres") -> psycopg.Connection[Any]:
        return psycopg.connect(host=str(self.folder), user="postgres", dbname=name, autocommit=True)

    def start(self) -> None:
        """Start the server. Call it in the main thread: the server ends with the thread that started it."""
        own = ("listen_addresses=", f"unix_socket_directories={self.folder}")
        options = [word for setting in (*own, *self.settings) for word in ("-c", setting)]
        command = [
            *_unprivileged_prefix(),
            str(self.binaries / "postgres"),
            "-D",
            str(self.folder / "data"),
            *options,
        ]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder)
        end = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                return self.connect().close()
            except psycopg.OperationalError:
                if time.monotonic() > end or self.process.poll() is not None:
                    raise RuntimeError((self.folder / "log").read_text()[-2000:]) from None
                time.sleep(0.02)

    def stop(self, how: str = "INT") -> None:
        """Stop the server: INT is a clean shutdown; after QUIT it recovers at its next start as after a crash."""
        if self.process is not None:
            self.process.send_signal({"INT": signal.SIGINT, "QUIT": signal.SIGQUIT}[how])
            self.process.wait(START_TIMEOUT_S)
            self.process = None


def _unprivileged_prefix() -> list[str]:
    """Return a command prefix: PostgreSQL refuses to run as root, and it should end with its parent process."""
    words = ["setpriv", "--pdeathsig", "QUIT"] if shutil.which("setpriv") else []
    if os.geteuid() != 0:
        return words
    return [
        *words,
        f"--reuid={_unprivileged_user().pw_uid}",
        f"--regid={_unprivileged_user().pw_gid}",
        "--clear-groups",
    ]


def _unprivileged_user() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return pwd.getpwnam("nobody")


@contextmanager
def cluster(found: Path, settings: tuple[str, ...] = FAST, *, kept: Path | None = None) -> Iterator[Cluster]:
    """Create and run a PostgreSQL server in a temporary folder; stop and delete it at the end.

    A ``kept`` folder is not deleted, and the next run uses its databases again.
    """
    in_memory = "fsync=off" in settings and has_room(MEMORY)
    with server_folder(in_memory=in_memory, kept=kept) as folder:
        if not (folder / "data").exists():
            initdb = [str(found / "initdb"), "-D", str(folder / "data"), "-U", "postgres", "-A", "trust"]
            run_unprivileged([*initdb, "-E", "UTF8", "--locale=C", "--no-sync"], folder)
        made = Cluster(folder, found, settings)
        made.start()
        try:
            yield made
        finally:
            made.stop("INT" if kept else "QUIT")


@contextmanager
def server_folder(*, in_memory: bool, kept: Path | None = None) -> Iterator[Path]:
    """Create a folder that PostgreSQL may write to; a temporary one is deleted at the end."""
    folder = kept or Path(tempfile.mkdtemp(prefix="signet-pg-", dir=MEMORY if in_memory else None))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if os.geteuid() == 0:
            os.chown(folder, _unprivileged_user().pw_uid, _unprivileged_user().pw_gid)
        yield folder
    finally:
        if not kept:
            shutil.rmtree(folder, ignore_errors=True)


def run_unprivileged(command: list[str], folder: Path) -> None:
    """Run one of PostgreSQL's commands in a folder, as the user that runs its server."""
    subprocess.run([*_unprivileged_prefix(), *command], check=True, capture_output=True, cwd=folder)


def create(connection: psycopg.Connection[Any], name: str, template: str = "template1") -> None:
    """Create a database as a copy of another one; one of the same name is dropped."""
    # Copying files is faster for a server without fsync than logging each page. Before version 15 there is no other way.
    strategy = " STRATEGY FILE_COPY" if connection.info.server_version >= 150_000 else ""
    connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
    connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"{strategy}')


def empty(cluster: Cluster, name: str) -> None:
    """Reset a database: end its connections, delete all rows and restart the sequences."""
    with closing(cluster.connect(name)) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()",
            [name],
        )
        connection.execute(_EMPTY)


# DELETE is ten times faster than TRUNCATE for a table of a few rows, but leaves what was deleted in the file, through which
# the next tests would search. setval only writes to a sequence; ALTER SEQUENCE makes a new file for it.
_EMPTY = """
DO $$ DECLARE one record; BEGIN
  SET LOCAL session_replication_role = replica;
  FOR one IN SELECT relname, pg_relation_size(oid) AS size FROM pg_class
             WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND relname <> 'alembic_version'
  LOOP
    IF one.size > 262144 THEN EXECUTE format('TRUNCATE %I CASCADE', one.relname);
    ELSIF one.size > 0 THEN EXECUTE format('DELETE FROM %I', one.relname);
    END IF;
  END LOOP;
  PERFORM setval(format('%I.%I', schemaname, sequencename)::regclass, start_value, false)
    FROM pg_sequences WHERE schemaname = 'public' AND last_value IS NOT NULL;
END $$
"""


def missing() -> None:
    """Skip a test because PostgreSQL is missing, or fail it where SIGNET_REQUIRE_POSTGRESQL is set."""
    reason = "PostgreSQL is not installed here (tests/postgresql.sh installs it on Debian)"
    if os.environ.get("SIGNET_REQUIRE_POSTGRESQL") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


# -- access to the database as by another process


def plain_connection(config: Config) -> Any:
    """Return a connection of another client, without SQLAlchemy."""
    if is_postgresql(config.database_url):
        return psycopg.connect(config.database_url.replace("+psycopg", "", 1), autocommit=True)
    path = config.instance / "portal.sqlite"
    return sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)


def lock_against_writers(config: Config) -> Any:
    """Block all writers until the returned connection is closed."""
    other = plain_connection(config)
    if is_postgresql(config.database_url):
        other.execute("BEGIN")
        tables = "outbox_message, delivery_attempt, outbox_queue, settings_check, smtp_settings"
        other.execute(f"LOCK TABLE {tables} IN EXCLUSIVE MODE")
    else:
        other.execute("PRAGMA busy_timeout = 300000")  # ms: a worker may be writing now
        other.execute("BEGIN IMMEDIATE")
    return other


def assert_no_open_transaction(config: Config) -> None:
    """Fail if another connection has an open transaction."""
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
