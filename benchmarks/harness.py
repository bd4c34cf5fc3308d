"""Harness of the benchmarks: an instance with accounts, a mail server, the compared products, printed tables."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from benchmarks.smtp import HERE, TEMPLATE, render
from portal.outbox.queue import NewMessage
from tests import databases
from tests.storm.instance import EXIT_TIMEOUT_S, Instance

DATABASES = ("sqlite", "postgresql")
TITLES = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}
WARM_UP = 100  # messages of each client that are not counted


class Sink:
    """The process of a mail server that accepts every message and records the times."""

    def __init__(self) -> None:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        command = [sys.executable, str(HERE / "sink.py"), "sink"]
        self._process = subprocess.Popen(command, text=True, **pipes)  # type: ignore[call-overload]
        self.port = int(self._process.stdout.readline())
        self._accepted_at: list[float] = []

    def accepted_at(self) -> list[float]:
        """Return the acceptance times since the last ``reset``, as Unix timestamps."""
        self._process.stdin.write("times\n")
        self._process.stdin.flush()
        self._accepted_at += json.loads(self._process.stdout.readline())
        return self._accepted_at

    def reset(self) -> None:
        self.accepted_at()
        self._accepted_at = []

    def wait_for(self, count: int, timeout_s: float = 600.0) -> list[float]:
        """Wait until ``count`` messages are accepted; return their times."""
        end = time.monotonic() + timeout_s
        while len(self.accepted_at()) < count:
            if time.monotonic() > end:
                raise TimeoutError(
                    f"{len(self._accepted_at)} of {count} messages accepted within {timeout_s:.0f} s"
                )
            time.sleep(0.1)
        return self._accepted_at

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait(EXIT_TIMEOUT_S)
        self._process.stdout.close()


@contextmanager
def run_sink() -> Iterator[Sink]:
    with closing(Sink()) as running:
        yield running


@contextmanager
def run_instance(database: str, ports: Sequence[int], **extra_env: str) -> Iterator[Instance]:
    """Yield an instance on this database that may submit mail to these loopback ports."""
    with tempfile.TemporaryDirectory(prefix="signet-bench-") as folder, database_url(database) as url:
        created = Instance(Path(folder) / "instance", sorted(set(ports)), url, extra_env)
        try:
            yield created
        finally:
            created.close()


@contextmanager
def database_url(database: str) -> Iterator[str]:
    """Yield the URL of a new PostgreSQL cluster with its default durability, or an empty one for SQLite."""
    if database == "sqlite":
        yield ""
        return
    with _durable_cluster() as running:
        with closing(running.connect()) as connection:
            connection.execute("CREATE DATABASE bench")
        yield running.url("bench")


@contextmanager
def _durable_cluster() -> Iterator[databases.Cluster]:
    binaries = databases.binaries()
    if binaries is None:
        sys.exit("PostgreSQL is not installed here; tests/postgresql.sh installs it on Debian.")
    with databases.cluster(binaries, databases.DURABLE) as running:
        yield running


def messages(accounts: Sequence[int], count: int, since: int = 0) -> Iterator[tuple[int, NewMessage]]:
    """Yield messages of 3.5 kB, one account after the other."""
    for number in range(since, since + count):
        yield (
            accounts[number % len(accounts)],
            NewMessage(
                kind="new-sign-up",
                key=f"bench-{number}",
                recipient=f"r{number}@example.net",
                recipient_name=f"Affiliate {number}",
                subject=render("subject", number),
                text=render("text", number),
                html=render("html", number),
            ),
        )


def rate(accepted_at: Sequence[float]) -> float:
    """Return messages per second, without the warm-up."""
    counted = accepted_at[WARM_UP:]
    return (len(counted) - 1) / (counted[-1] - counted[0])


@contextmanager
def install_post_office() -> Iterator[tuple[Path, str] | None]:
    """Install django-post_office temporarily; yield the environment's Python and the version, or None on failure."""
    with tempfile.TemporaryDirectory(prefix="signet-post-office-") as folder:
        venv.create(folder, with_pip=True)
        python = Path(folder) / "bin" / "python"
        install = [
            python,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "django-post_office",
            "psycopg[binary]",
        ]
        if subprocess.run(install, capture_output=True, check=False).returncode:
            print("pip could not install django-post_office, so it is omitted.")
            yield None
            return
        code = "from importlib.metadata import version; print(version('django-post_office'))"
        yield python, subprocess.check_output([python, "-c", code], text=True).strip()


def drain_post_office(python: Path, port: int, count: int, database: str = "sqlite") -> None:
    with tempfile.TemporaryDirectory(prefix="signet-post-office-") as folder, ExitStack() as stack:
        command = [python, HERE / "django_queue.py", folder, str(port), str(count)]
        if database == "postgresql":
            running = stack.enter_context(_durable_cluster())
            with closing(running.connect()) as connection:
                connection.execute("CREATE DATABASE post_office")
            command.append(str(running.folder))
        subprocess.run(command, input=json.dumps(TEMPLATE), text=True, check=True, capture_output=True)


def nodemailer_rate(module: str, port: int, count: int, connections: int) -> float:
    """Send ``count`` messages through nodemailer's pool; return messages per second."""
    command = ["node", str(HERE / "pool.mjs"), module, str(port), str(WARM_UP), str(count), str(connections)]
    done = subprocess.run(command, input=json.dumps(TEMPLATE), capture_output=True, text=True, check=True)
    return count / float(json.loads(done.stdout)["wall"])


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process has used, all its threads together."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def print_table(title: str, heads: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a Markdown table; the first column holds text, the others numbers."""
    print(f"\n{title}\n\n| {' | '.join(heads)} |\n|---|{'---:|' * (len(heads) - 1)}")
    for row in rows:
        print(f"| {' | '.join(map(str, row))} |", flush=True)


def percentile(values: Sequence[float], part: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * part))]
