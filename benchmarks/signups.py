"""Sign-ups under load: the real page with form, token and enqueued email, compared with minimal views."""

from __future__ import annotations

import http.client
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from itertools import count as counting
from pathlib import Path
from urllib.parse import urlencode

from benchmarks.harness import cpu_seconds, messages, percentile, print_table, run_instance, run_sink
from portal.enrolment import signup_rules
from tests.journeys.running import free_port
from tests.storm.instance import ROOT

VISITORS = 8  # concurrent, one for each thread
WARM_UP_S = 3.0  # the bot check rejects a form that returns within two seconds
ROUNDS = 3
TIMEOUT_S = 600  # of a response and of gunicorn's start
HIDDEN_INPUT = re.compile(r'<input[^>]*type="hidden"[^>]*>')
CONTENT_LENGTH = re.compile(rb"(?i)content-length: (\d+)")
NAME, VALUE = re.compile(r'name="([^"]*)"'), re.compile(r'value="([^"]*)"')


@dataclass
class Load:
    """The response times of all visitors by status code, and the processor time of gunicorn."""

    seconds: dict[int, list[float]] = field(default_factory=dict)
    duration_s: float = 0.0  # of the measurement
    processor_s: float = 0.0

    @property
    def rate(self) -> float:
        return sum(len(found) for status, found in self.seconds.items() if status < 400) / self.duration_s

    @property
    def processor_ms(self) -> float:
        """Of one request, in milliseconds."""
        return 1000 * self.processor_s / max(1, sum(map(len, self.seconds.values())))


@dataclass(frozen=True)
class Server:
    """A running gunicorn: the port, and the id of its first process."""

    port: int
    pid: int

    def cpu_seconds(self) -> float:
        """Return the processor time of its worker processes so far."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        return sum(cpu_seconds(int(pid)) for pid in children.split())


class Visitor(threading.Thread):
    """Fetches the form once and submits it repeatedly, with another mailbox and address each time.

    Requests are written and responses parsed by hand, because the visitors share the processors with the portal.
    """

    numbers = counting()

    def __init__(self, port: int, path: str, start: float, end: float) -> None:
        super().__init__()
        self.port, self.path, self.measure_from, self.end = port, path, start, end
        self.results: list[tuple[int, float]] = []

    def run(self) -> None:
        head, fields = self.prepare()
        with socket.create_connection(("127.0.0.1", self.port), TIMEOUT_S) as connection:
            while (started := time.monotonic()) < self.end:
                connection.sendall(self.sign_up(head, fields))
                status = read_response(connection)
                if started >= self.measure_from:
                    self.results.append((status, time.monotonic() - started))

    def prepare(self) -> tuple[str, str]:
        """Return the first lines of each request, and the hidden fields of the form."""
        cookies, fields = self.form()
        head = (
            f"POST {self.path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nCookie: {cookies}\r\n"
            "Content-Type: application/x-www-form-urlencoded\r\n"
        )
        return head, fields

    def form(self) -> tuple[str, str]:
        """Return the cookies and the hidden fields of the form."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT_S)
        connection.request("GET", self.path)
        response = connection.getresponse()
        page = response.read().decode()
        cookies = "; ".join(line.split(";")[0] for line in response.headers.get_all("Set-Cookie") or ())
        hidden = {
            NAME.search(one)[1]: VALUE.search(one)[1]
            for one in HIDDEN_INPUT.findall(page)
            if VALUE.search(one)
        }
        connection.close()
        return cookies, urlencode(hidden | {"name": "Ada Fairweather", "consent": "y"})

    def sign_up(self, head: str, fields: str) -> bytes:
        number = next(Visitor.numbers)
        address = IPv4Address("10.0.0.0") + number  # another rate limit for each sign-up
        body = f"{fields}&mailbox=ada{number}%40mail.example"
        return f"{head}X-Forwarded-For: {address}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


def read_response(connection: socket.socket) -> int:
    """Read one response to its end; return the status code."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65536)
        if not more:
            raise ConnectionError("gunicorn closed the connection")
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(CONTENT_LENGTH.search(head)[1])
    while length > len(body):
        body += connection.recv(65536)
    return int(head[9:12])


def visit(server: Server, path: str, seconds: float, kind: type[Visitor] = Visitor) -> Load:
    """Let concurrent visitors submit the form, or do what their ``kind`` does, for ``seconds`` after a warm-up."""
    start = time.monotonic() + WARM_UP_S
    visitors = [kind(server.port, path, start, start + seconds) for _ in range(VISITORS)]
    for visitor in visitors:
        visitor.start()
    load = Load(duration_s=seconds, processor_s=processor_time(server, start, start + seconds))
    for visitor in visitors:
        visitor.join()
        for status, duration_s in visitor.results:
            load.seconds.setdefault(status, []).append(duration_s)
    return load


def processor_time(server: Server, start: float, end: float) -> float:
    """Wait until ``end``; return the processor time of gunicorn since ``start``, in seconds."""
    time.sleep(max(0.0, start - time.monotonic()))
    before = server.cpu_seconds()
    time.sleep(max(0.0, end - time.monotonic()))
    return server.cpu_seconds() - before


@contextmanager
def run_gunicorn(
    application: str, env: Mapping[str, str], cwd: Path, log: Path, processes: int = 1
) -> Iterator[Server]:
    """Run gunicorn as in docs/deployment.md, with the portal's gunicorn.conf.py, for the duration of the block."""
    port = free_port()
    command = [sys.executable, "-m", "gunicorn", application, "--bind", f"127.0.0.1:{port}"]
    command += ["--config", str(ROOT / "gunicorn.conf.py"), "--workers", str(processes)]
    env = {**env, "PYTHONPATH": str(ROOT)}
    with (
        log.open("ab") as file,
        subprocess.Popen(command, cwd=cwd, env=env, stdout=file, stderr=file) as process,
    ):
        try:
            wait_for_response(port)
            yield Server(port, process.pid)
        finally:
            process.terminate()


def wait_for_response(port: int) -> None:
    end = time.monotonic() + TIMEOUT_S
    while time.monotonic() < end:
        with suppress(OSError):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
            connection.request("GET", "/")
            connection.getresponse().read()
            return
        time.sleep(0.1)
    raise TimeoutError("gunicorn does not answer")


def compare_signups(seconds: int = 4) -> None:
    """Compare sign-ups with minimal views, while the worker sends only their emails and while a queue drains."""
    views = {
        "a minimal view that commits a row, Flask and sqlite3": lambda: minimal_view(WITH_SQLITE3, seconds),
        "the same with Flask-SQLAlchemy": lambda: minimal_view(WITH_SQLALCHEMY, seconds),
        "sign-up, worker running": lambda: portal(seconds, backlog=0),
        "sign-up without confirmation": lambda: portal(seconds, backlog=0, confirm=False),
        "sign-up while 6,000 messages drain": lambda: portal(seconds, backlog=6_000),
        "without SIGNET_CPU: the view with Flask-SQLAlchemy": lambda: minimal_view(
            WITH_SQLALCHEMY, seconds, pinned=False
        ),
        "without SIGNET_CPU: sign-up, worker running": lambda: portal(seconds, backlog=0, pinned=False),
    }
    loads: dict[str, list[Load]] = {name: [] for name in views}
    for _ in range(ROUNDS):
        for name, measure in views.items():
            loads[name].append(measure())
    with_sqlite3, with_sqlalchemy, *_ = loads.values()
    print_table(
        f"Sign-ups on SQLite, {VISITORS} concurrent visitors, gunicorn with 8 threads",
        (
            "view",
            "requests/s",
            "of the view with sqlite3",
            "of the one with Flask-SQLAlchemy",
            "processor, ms a request",
            "times that of Flask-SQLAlchemy",
            "p50, ms",
            "p99, ms",
            "responses other than 303",
        ),
        [row(name, rounds, with_sqlite3, with_sqlalchemy) for name, rounds in loads.items()],
    )


def fastest(rounds: list[Load]) -> Load:
    return max(rounds, key=lambda load: load.rate)


def least_processor_ms(rounds: list[Load]) -> float:
    return min(load.processor_ms for load in rounds)


def row(
    name: str, rounds: list[Load], with_sqlite3: list[Load], with_sqlalchemy: list[Load]
) -> tuple[object, ...]:
    load, processor_ms = fastest(rounds), least_processor_ms(rounds)
    redirects = load.seconds.get(303, [])
    median, late = (percentile(redirects, part) * 1000 for part in (0.5, 0.99))
    others = {status: len(seconds) for status, seconds in load.seconds.items() if status != 303}
    ratios = (f"{load.rate / fastest(one).rate:.2f}" for one in (with_sqlite3, with_sqlalchemy))
    times = processor_ms / least_processor_ms(with_sqlalchemy)
    processor = (f"{processor_ms:.2f}", f"{times:.2f}")
    return (name, f"{load.rate:,.0f}", *ratios, *processor, f"{median:.1f}", f"{late:.1f}", others or 0)


def cpu(number: int, *, pinned: bool) -> dict[str, str]:
    """Return the variable that binds a process to one CPU: 0 is the first of this process, -1 the last."""
    return {"SIGNET_CPU": str(sorted(os.sched_getaffinity(0))[number]) if pinned else ""}


def portal(seconds: float, *, backlog: int, confirm: bool = True, pinned: bool = True) -> Load:
    with run_sink() as sink, run_instance("sqlite", [sink.port], SIGNET_TRUSTED_PROXIES="1") as instance:
        accounts = instance.add_accounts([sink.port] * 4)
        with instance.app.app_context():
            signup_rules.save_rules(accounts[0], signup_rules.Rules(confirm=confirm))
        instance.enqueue(messages(accounts, backlog))
        env = instance.env | cpu(0, pinned=pinned)
        with (
            instance.workers(1, **cpu(-1, pinned=pinned)),
            run_gunicorn("wsgi:app", env, ROOT, instance.log) as server,
        ):
            load = visit(server, "/join/account-1", seconds)
        assert "database is locked" not in instance.log.read_text()
        return load


WITH_SQLITE3 = """
import sqlite3, threading
from flask import Flask, redirect, request

app, here = Flask(__name__), threading.local()

def connection():
    if not hasattr(here, "connection"):
        here.connection = sqlite3.connect("minimal.sqlite", timeout=15, isolation_level=None)
        here.connection.execute("PRAGMA journal_mode = WAL")
        here.connection.execute("PRAGMA synchronous = FULL")
    return here.connection

connection().execute("CREATE TABLE IF NOT EXISTS person (id INTEGER PRIMARY KEY, name TEXT, mailbox TEXT)")

@app.get("/join")
def form():
    return "<form></form>"

@app.post("/join")
def join():
    row = (request.form["name"], request.form["mailbox"])
    database = connection()
    database.execute("BEGIN IMMEDIATE")
    database.execute("INSERT INTO person (name, mailbox) VALUES (?, ?)", row)
    database.execute("COMMIT")
    return redirect("/thanks", 303)
"""

WITH_SQLALCHEMY = """
import os
from flask import Flask, redirect, request
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Engine, event

app = Flask(__name__)
app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{os.getcwd()}/minimal.sqlite?timeout=15"
db = SQLAlchemy(app)

@event.listens_for(Engine, "connect")
def connected(connection, _record):
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")

class Person(db.Model):
    id = db.Column(db.Integer, primary_key=True)
    name = db.Column(db.String(100))
    mailbox = db.Column(db.String(254))

with app.app_context():
    db.create_all(bind_key=None)

@app.get("/join")
def form():
    return "<form></form>"

@app.post("/join")
def join():
    db.session.add(Person(name=request.form["name"], mailbox=request.form["mailbox"]))
    db.session.commit()
    return redirect("/thanks", 303)
"""


# The portal's gunicorn.conf.py reads these values from the application.
PORTAL_CONFIG = """
import os
from types import SimpleNamespace
cpu = os.environ["SIGNET_CPU"]
app.extensions["signet"] = SimpleNamespace(config=SimpleNamespace(cpu=int(cpu) if cpu else None))
"""


def minimal_view(code: str, seconds: float, *, pinned: bool = True) -> Load:
    with tempfile.TemporaryDirectory(prefix="signet-minimal-") as folder:
        (Path(folder) / "minimal.py").write_text(code + PORTAL_CONFIG)
        env = {**os.environ, **cpu(0, pinned=pinned)}
        with run_gunicorn("minimal:app", env, Path(folder), Path(folder) / "log") as server:
            return visit(server, "/join", seconds)
