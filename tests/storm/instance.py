"""An instance of the portal in a folder of its own, with accounts that have live settings, and its workers.

It is run as an operator runs it: by its environment, its commands and its tables. Storms and benchmarks use it.
"""

from __future__ import annotations

import os
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
from portal.clock import utcnow
from portal.config import Config
from portal.db import close_connections, db
from portal.outbox.queue import NewMessage, enqueue_row
from portal.settings import credentials
from portal.settings.models import SmtpSettings, VersionState

ROOT = Path(__file__).resolve().parents[2]
FLASK = [sys.executable, "-m", "flask", "--app", "wsgi"]
_AT_ONCE = 500  # messages owed by one commit


@dataclass
class Worker:
    """One ``flask worker``. It greets mail servers by its name, so that their log tells which worker it was."""

    name: str
    process: subprocess.Popen[bytes]

    def kill(self) -> None:
        """End it at once, whatever it is doing."""
        self.process.kill()
        self.process.wait(20)

    def ask_to_end(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    @property
    def runs(self) -> bool:
        return self.process.poll() is None


@dataclass
class Instance:
    """An instance whose accounts may hand mail in, unencrypted, at these ports of this machine."""

    folder: Path
    ports: Sequence[int]
    database_url: str = ""
    more: Mapping[str, str] = field(default_factory=dict)  # further variables

    def __post_init__(self) -> None:
        bootstrap.make_secrets(self.folder)
        self.app: Flask = create_app(Config.from_env(self.env, self.folder))
        bootstrap.migrate(self.app)
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
            **self.more,
        }

    def add_accounts(self, ports: Iterable[int]) -> list[int]:
        """Make an account for each port whose live settings lead there; return their ids."""
        with self.app.app_context():
            return [self._add_account(number, port) for number, port in enumerate(ports, 1)]

    def _add_account(self, number: int, port: int) -> int:
        now = utcnow()
        account = Account(slug=f"account-{number}", name=f"Programme {number}", created_at=now)
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
            state=VersionState.LIVE,
            created_at=now,
            live_since=now,
        )
        credentials.seal(version, "a password")
        db.session.add(version)
        ident = account.id
        db.session.commit()
        return ident

    def owe(self, messages: Iterable[tuple[int, NewMessage]]) -> None:
        """Owe messages, each to its account, some hundreds a commit."""
        with self.app.app_context():
            for number, (account, new) in enumerate(messages, 1):
                enqueue_row(account, new, now=utcnow())
                if number % _AT_ONCE == 0:
                    db.session.commit()
            db.session.commit()

    def start_worker(self, name: str, threads: int = 4, **variables: str) -> Worker:
        command = [*FLASK, "worker", "--threads", str(threads)]
        env = self.env | {"SIGNET_BASE_URL": f"https://{name}.storm.example", **variables}
        with self.log.open("ab") as log:
            return Worker(name, subprocess.Popen(command, cwd=ROOT, env=env, stdout=log, stderr=log))

    @contextmanager
    def workers(self, count: int, threads: int = 4, **variables: str) -> Iterator[list[Worker]]:
        """Run workers while the block runs, which may replace them in the list."""
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
