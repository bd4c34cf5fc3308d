"""The field of the measurements: an instance with its accounts, a server that takes everything, peers, tables."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from benchmarks.smtp import HERE, WORDS, filled
from portal.outbox.queue import NewMessage
from tests import databases
from tests.storm.instance import Instance

DATABASES = ("sqlite", "postgresql")
TITLES = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}
WARM_UP = 100  # messages that are not counted, whoever sends them


class Sink:
    """The server that takes everything, and remembers when."""

    def __init__(self) -> None:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        command = [sys.executable, str(HERE / "sink.py"), "sink"]
        self._process = subprocess.Popen(command, text=True, **pipes)  # type: ignore[call-overload]
        self.port = int(self._process.stdout.readline())
        self._moments: list[float] = []

    def moments(self) -> list[float]:
        """When each message was taken since the last ``forget``."""
        self._process.stdin.write("tell\n")
        self._process.stdin.flush()
        self._moments += json.loads(self._process.stdout.readline())
        return self._moments

    def forget(self) -> None:
        self.moments()
        self._moments = []

    def wait_for(self, count: int, within: float = 300.0) -> list[float]:
        """Wait until so many messages came; return when each did."""
        end = time.monotonic() + within
        while len(self.moments()) < count:
            if time.monotonic() > end:
                raise TimeoutError(f"{len(self._moments)} of {count} messages came within {within:.0f} s")
            time.sleep(0.1)
        return self._moments

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()


@contextmanager
def sink() -> Iterator[Sink]:
    with closing(Sink()) as running:
        yield running


@contextmanager
def instance(database: str, ports: Sequence[int], **more: str) -> Iterator[Instance]:
    """An instance on this database whose mail may go to these ports of this machine."""
    with tempfile.TemporaryDirectory(prefix="signet-bench-") as folder, database_url(database) as url:
        made = Instance(Path(folder) / "instance", sorted(set(ports)), url, more)
        try:
            yield made
        finally:
            made.close()


@contextmanager
def database_url(database: str) -> Iterator[str]:
    """A PostgreSQL of our own, durable as an operator's is; nothing is needed for SQLite."""
    if database == "sqlite":
        yield ""
        return
    found = databases.binaries()
    if found is None:
        sys.exit("PostgreSQL is not installed here; tests/postgresql.sh installs it on Debian.")
    with databases.cluster(found, databases.DURABLE) as running:
        with closing(running.connect()) as connection:
            connection.execute("CREATE DATABASE bench")
        yield running.url("bench")


def messages(accounts: Sequence[int], count: int, since: int = 0) -> Iterator[tuple[int, NewMessage]]:
    """Messages of 3.5 kB, account by turns."""
    for number in range(since, since + count):
        yield (
            accounts[number % len(accounts)],
            NewMessage(
                kind="new-sign-up",
                key=f"bench-{number}",
                recipient=f"r{number}@example.net",
                recipient_name=f"Affiliate {number}",
                subject=filled("subject", number),
                text=filled("text", number),
                html=filled("html", number),
            ),
        )


def rate(moments: Sequence[float]) -> float:
    """Messages for each second, once the first ones have warmed everything up."""
    counted = moments[WARM_UP:]
    return (len(counted) - 1) / (counted[-1] - counted[0])


@contextmanager
def post_office() -> Iterator[tuple[Path, str] | None]:
    """Yield the Python of a throwaway environment with django-post_office, and its version; or None."""
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
        ]
        if subprocess.run(install, capture_output=True, check=False).returncode:
            print("pip could not install django-post_office, so it is left out.")
            yield None
            return
        ask = "from importlib.metadata import version; print(version('django-post_office'))"
        yield python, subprocess.check_output([python, "-c", ask], text=True).strip()


def post_office_drains(python: Path, port: int, count: int) -> None:
    with tempfile.TemporaryDirectory(prefix="signet-post-office-") as folder:
        command = [python, HERE / "django_queue.py", folder, str(port), str(count)]
        subprocess.run(command, input=json.dumps(WORDS), text=True, check=True, capture_output=True)


def nodemailer_sends(module: str, port: int, count: int, connections: int) -> float:
    """Let nodemailer's pool send so many messages; return how many a second."""
    command = ["node", str(HERE / "pool.mjs"), module, str(port), str(WARM_UP), str(count), str(connections)]
    done = subprocess.run(command, input=json.dumps(WORDS), capture_output=True, text=True, check=True)
    return count / float(json.loads(done.stdout)["wall"])


def table(title: str, heads: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a small table; the first column holds words, the others figures."""
    print(f"\n{title}\n\n| {' | '.join(heads)} |\n|---|{'---:|' * (len(heads) - 1)}")
    for row in rows:
        print(f"| {' | '.join(map(str, row))} |", flush=True)


def percentile(values: Sequence[float], part: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * part))]
