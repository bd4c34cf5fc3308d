"""Sign-ups under load: the real page with its form, token and email owed, beside bare views that commit a row."""

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

from benchmarks.field import instance, messages, percentile, sink, table
from portal.enrolment import signup_rules
from tests.journeys.running import free_port
from tests.storm.instance import ROOT

VISITORS = 8  # at once: each of the threads has one to serve
WARM_UP = 3.0  # seconds; a form that comes back within two of them is asked for again, as from a robot
ROUNDS = 3
HIDDEN = re.compile(r'<input[^>]*type="hidden"[^>]*>')
LENGTH = re.compile(rb"(?i)content-length: (\d+)")
NAME, VALUE = re.compile(r'name="([^"]*)"'), re.compile(r'value="([^"]*)"')


@dataclass
class Load:
    """What visitors met: how long each answer took, by its status."""

    seconds: dict[int, list[float]] = field(default_factory=dict)
    asked: float = 0.0  # for so long

    @property
    def rate(self) -> float:
        return len(self.seconds.get(303, ())) / self.asked


class Visitor(threading.Thread):
    """Fetches the form once and sends it again and again, for somebody else each time.

    It writes requests and reads answers by hand, for it shares the processors with what it measures.
    """

    numbers = counting()

    def __init__(self, port: int, path: str, start: float, end: float) -> None:
        super().__init__()
        self.port, self.path, self.start_at, self.end = port, path, start, end
        self.seen: list[tuple[int, float]] = []

    def run(self) -> None:
        cookies, fields = self.form()
        head = (
            f"POST {self.path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nCookie: {cookies}\r\n"
            "Content-Type: application/x-www-form-urlencoded\r\n"
        )
        with socket.create_connection(("127.0.0.1", self.port), 30) as connection:
            while (began := time.monotonic()) < self.end:
                connection.sendall(self.sign_up(head, fields))
                status = answered(connection)
                if began >= self.start_at:
                    self.seen.append((status, time.monotonic() - began))

    def form(self) -> tuple[str, str]:
        """Return the cookies and the hidden fields of the form."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request("GET", self.path)
        answer = connection.getresponse()
        page = answer.read().decode()
        cookies = "; ".join(line.split(";")[0] for line in answer.headers.get_all("Set-Cookie") or ())
        hidden = {
            NAME.search(one)[1]: VALUE.search(one)[1] for one in HIDDEN.findall(page) if VALUE.search(one)
        }
        connection.close()
        return cookies, urlencode(hidden | {"name": "Ada Fairweather", "consent": "y"})

    def sign_up(self, head: str, fields: str) -> bytes:
        number = next(Visitor.numbers)
        network = IPv4Address("10.0.0.0") + number  # whoever signs up lives elsewhere
        body = f"{fields}&mailbox=ada{number}%40mail.example"
        return f"{head}X-Forwarded-For: {network}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


def answered(connection: socket.socket) -> int:
    """Read one answer to its end; return its status."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65536)
        if not more:
            raise ConnectionError("gunicorn hung up")
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(LENGTH.search(head)[1])
    while length > len(body):
        body += connection.recv(65536)
    return int(head[9:12])


def visit(port: int, path: str, seconds: float) -> Load:
    """Let visitors come at once for so long, after a moment in which everything warms up."""
    start = time.monotonic() + WARM_UP
    visitors = [Visitor(port, path, start, start + seconds) for _ in range(VISITORS)]
    for visitor in visitors:
        visitor.start()
    load = Load(asked=seconds)
    for visitor in visitors:
        visitor.join()
        for status, took in visitor.seen:
            load.seconds.setdefault(status, []).append(took)
    return load


@contextmanager
def served(application: str, env: Mapping[str, str], cwd: Path, log: Path) -> Iterator[int]:
    """Run gunicorn as docs/deployment.md does, with the portal's gunicorn.conf.py, while the block runs."""
    port = free_port()
    command = [sys.executable, "-m", "gunicorn", application, "--bind", f"127.0.0.1:{port}"]
    command += ["--config", str(ROOT / "gunicorn.conf.py")]
    env = {**env, "PYTHONPATH": str(ROOT)}
    with (
        log.open("ab") as file,
        subprocess.Popen(command, cwd=cwd, env=env, stdout=file, stderr=file) as process,
    ):
        try:
            wait_for_answer(port)
            yield port
        finally:
            process.terminate()


def wait_for_answer(port: int, within: float = 20.0) -> None:
    end = time.monotonic() + within
    while time.monotonic() < end:
        with suppress(OSError):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
            connection.request("GET", "/")
            connection.getresponse().read()
            return
        time.sleep(0.1)
    raise TimeoutError("gunicorn does not answer")


def signups(seconds: int = 4) -> None:
    """Compare sign-ups with bare views, at rest (the worker sends their mail only) and while a queue drains."""
    views = {
        "a bare view, Flask and sqlite3 by hand": lambda: bare_view(BY_HAND, seconds),
        "a bare view, Flask-SQLAlchemy": lambda: bare_view(BY_MODEL, seconds),
        "sign-up, worker running": lambda: portal(seconds, backlog=0),
        "sign-up that needs no confirmation": lambda: portal(seconds, backlog=0, confirm=False),
        "sign-up while 6,000 drain": lambda: portal(seconds, backlog=6_000),
        "without SIGNET_CPU: a bare view, Flask-SQLAlchemy": lambda: bare_view(
            BY_MODEL, seconds, pinned=False
        ),
        "without SIGNET_CPU: sign-up, worker running": lambda: portal(seconds, backlog=0, pinned=False),
    }
    best = dict.fromkeys(views, Load(asked=1))
    for _ in range(ROUNDS):
        for what, measure in views.items():
            best[what] = max(best[what], measure(), key=lambda load: load.rate)
    by_hand, by_model, *_ = best.values()
    table(
        f"Sign-ups on SQLite, {VISITORS} visitors at once, gunicorn with 8 threads",
        (
            "what",
            "a second",
            "of the view by hand",
            "of the one with models",
            "p50, ms",
            "p99, ms",
            "answers that were no 303",
        ),
        [row(what, load, by_hand, by_model) for what, load in best.items()],
    )


def row(what: str, load: Load, *bare: Load) -> tuple[object, ...]:
    fine = load.seconds.get(303, [])
    median, late = (percentile(fine, part) * 1000 for part in (0.5, 0.99))
    others = {status: len(took) for status, took in load.seconds.items() if status != 303}
    ratios = (f"{load.rate / one.rate:.2f}" for one in bare)
    return (what, f"{load.rate:,.0f}", *ratios, f"{median:.1f}", f"{late:.1f}", others or 0)


def cpu(number: int, *, pinned: bool) -> dict[str, str]:
    """Return the variable that lets a process run on one CPU alone: 0 is the first that exists, -1 the last."""
    return {"SIGNET_CPU": str(sorted(os.sched_getaffinity(0))[number]) if pinned else ""}


def portal(seconds: float, *, backlog: int, confirm: bool = True, pinned: bool = True) -> Load:
    with sink() as taking, instance("sqlite", [taking.port], SIGNET_TRUSTED_PROXIES="1") as made:
        accounts = made.add_accounts([taking.port] * 4)
        with made.app.app_context():
            signup_rules.save_rules(accounts[0], signup_rules.Rules(confirm=confirm))
        made.owe(messages(accounts, backlog))
        env = made.env | cpu(0, pinned=pinned)
        with (
            made.workers(1, **cpu(-1, pinned=pinned)),
            served("wsgi:app", env, ROOT, made.log) as port,
        ):
            load = visit(port, "/join/account-1", seconds)
        assert "database is locked" not in made.log.read_text(), (
            "somebody was told that the database is locked"
        )
        return load


BY_HAND = """
import sqlite3, threading
from flask import Flask, redirect, request

app, here = Flask(__name__), threading.local()

def connection():
    if not hasattr(here, "connection"):
        here.connection = sqlite3.connect("bare.sqlite", timeout=15, isolation_level=None)
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

BY_MODEL = """
import os
from flask import Flask, redirect, request
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Engine, event

app = Flask(__name__)
app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{os.getcwd()}/bare.sqlite?timeout=15"
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
    db.create_all()

@app.get("/join")
def form():
    return "<form></form>"

@app.post("/join")
def join():
    db.session.add(Person(name=request.form["name"], mailbox=request.form["mailbox"]))
    db.session.commit()
    return redirect("/thanks", 303)
"""


# What the portal's gunicorn.conf.py needs of an application.
SERVED_LIKE_THE_PORTAL = """
import os
from types import SimpleNamespace
cpu = os.environ["SIGNET_CPU"]
app.extensions["signet"] = SimpleNamespace(config=SimpleNamespace(cpu=int(cpu) if cpu else None))
"""


def bare_view(code: str, seconds: float, *, pinned: bool = True) -> Load:
    with tempfile.TemporaryDirectory(prefix="signet-bare-") as folder:
        (Path(folder) / "bare.py").write_text(code + SERVED_LIKE_THE_PORTAL)
        env = {**os.environ, **cpu(0, pinned=pinned)}
        with served("bare:app", env, Path(folder), Path(folder) / "log") as port:
            return visit(port, "/join", seconds)
