"""An instance of the portal in its own folder, with accounts that have live settings, and its workers.

It is controlled as an operator controls it: by environment variables, commands and tables. Used by the storm, the
chaos and the benchmarks.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from flask import Flask

from portal import bootstrap, create_app
from portal.accounts.models import Account
from portal.affiliates import erased
from portal.clock import utcnow
from portal.config import Config
from portal.db import close_connections, db
from portal.outbox.queue import NewMessage, enqueue_row
from portal.settings import credentials
from portal.settings.models import SmtpSettings, VersionState

ROOT = Path(__file__).resolve().parents[2]
FLASK = [sys.executable, "-m", "flask", "--app", "wsgi"]
EXIT_TIMEOUT_S = 600  # for a process that was ended; only a hanging process needs as long
LEASE_S = 6.0  # of a storm
_COMMIT_EVERY = 500  # enqueued messages


@dataclass
class Worker:
    """One ``flask worker``. Its EHLO name starts with its name, so that the mail servers' log identifies the worker."""

    name: str
    process: subprocess.Popen[bytes]
    instance: Instance

    def kill(self) -> None:
        """Send SIGKILL and wait for the exit."""
        self.process.kill()
        self.process.wait(EXIT_TIMEOUT_S)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.process.send_signal(signal.SIGTERM)


@dataclass
class Instance:
    """An instance whose accounts may submit mail, unencrypted, to these ports of the loopback address."""

    folder: Path
    ports: Sequence[int]
    database_url: str = ""
    extra_env: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        bootstrap.make_secrets(self.folder)
        self.app: Flask = create_app(Config.from_env(self.env, self.folder))
        bootstrap.migrate(self.app)
        with self.app.app_context():
            erased.ensure_key()  # as each start of a portal does
        self.log = self.folder / "workers.log"

    @property
    def env(self) -> dict[str, str]:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("SIGNET_", "MAIL_"))}
        ports = " ".join(map(str, self.ports))
        return inherited | {
            "SIGNET_INSTANCE": str(self.folder),
            "DATABASE_URL": self.database_url,
            "REDIS_URL": "",
            "MALLOC_ARENA_MAX": "1",  # as docs/deployment.md recommends
            "SIGNET_SMTP_PORTS": ports,
            "SIGNET_SMTP_PRIVATE": " ".join(f"127.0.0.1/32:{port}:plaintext" for port in self.ports),
            **self.extra_env,
        }

    def on_another_machine(self, name: str) -> Instance:
        """Return an instance with the same database and keys, in a folder of its own beside this one."""
        folder = self.folder.with_name(name)
        folder.mkdir(mode=0o700)
        for secret in ("secret_key", "keys"):
            shutil.copy(self.folder / secret, folder / secret)
        return Instance(folder, self.ports, self.database_url, self.extra_env)

    def add_accounts(self, ports: Iterable[int], reply_seconds: int | None = None) -> list[int]:
        """Create an account for each port, with live settings for it; return their ids. Commits."""
        with self.app.app_context():
            return [self._add_account(number, port, reply_seconds) for number, port in enumerate(ports, 1)]

    def _add_account(self, number: int, port: int, reply_seconds: int | None) -> int:
        now = utcnow()
        account = Account(
            slug=f"account-{number}", name=f"Programme {number}", created_at=now, sign_ups_at_once=100_000
        )
        db.session.add(account)
        db.session.flush()
        version = SmtpSettings(
            account_id=account.id,
            number=1,
            host="127.0.0.1",
            port=port,
            security="plaintext",
            mechanism="automatic",
            username="mailer",
            password_saved_at=now,
            domain=f"account-{number}.example",
            wrapped_user="info",
            reply_seconds=reply_seconds,
            state=VersionState.LIVE,
            created_at=now,
            live_since=now,
        )
        credentials.seal(version, "a password")
        db.session.add(version)
        id_ = account.id
        db.session.commit()
        return id_

    def enqueue(self, messages: Iterable[tuple[int, NewMessage]]) -> None:
        """Enqueue messages, each for its account. Commits every 500 messages."""
        with self.app.app_context():
            for number, (account, new) in enumerate(messages, 1):
                enqueue_row(account, new, now=utcnow())
                if number % _COMMIT_EVERY == 0:
                    db.session.commit()
            db.session.commit()

    def start_worker(self, name: str, threads: int = 4, **variables: str) -> Worker:
        command = [*FLASK, "worker", "--threads", str(threads)]
        env = self.env | {"SIGNET_BASE_URL": f"https://{name}.storm.example", **variables}
        with self.log.open("ab") as log:
            process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=log, stderr=log)
        return Worker(name, process, self)

    @contextmanager
    def workers(self, count: int, threads: int = 4, **variables: str) -> Iterator[list[Worker]]:
        """Run workers for the duration of the block, which may replace them in the list; kill all at its end."""
        running = [self.start_worker(f"w{number}-1", threads, **variables) for number in range(1, count + 1)]
        try:
            yield running
        finally:
            for worker in running:
                worker.kill()

    def close(self) -> None:
        with self.app.app_context():
            db.session.remove()
            close_connections()
