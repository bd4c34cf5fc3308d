"""Sign-ups under load: the real page with its form, token and email owed, beside a bare view that commits a row."""

from __future__ import annotations

import http.client
import os
import re
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
from tests.journeys.running import free_port
from tests.storm.instance import ROOT

VISITORS = 4  # at once
WARM_UP = 1.0  # seconds
ROUNDS = 3
HIDDEN = re.compile(r'<input[^>]*type="hidden"[^>]*>')
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
    """Fetches the form once and sends it again and again, for somebody else each time."""

    numbers = counting()

    def __init__(self, port: int, path: str, start: float, end: float) -> None:
        super().__init__()
        self.port, self.path, self.start_at, self.end = port, path, start, end
        self.seen: list[tuple[int, float]] = []

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request("GET", self.path)
        answer = connection.getresponse()
        page = answer.read().decode()
        cookies = "; ".join(line.split(";")[0] for line in answer.headers.get_all("Set-Cookie") or ())
        fields = {
            NAME.search(one)[1]: VALUE.search(one)[1] for one in HIDDEN.findall(page) if VALUE.search(one)
        }
        while (began := time.monotonic()) < self.end:
            status = self.sign_up(connection, fields, {"Cookie": cookies})
            if began >= self.start_at:
                self.seen.append((status, time.monotonic() - began))
        connection.close()

    def sign_up(
        self, connection: http.client.HTTPConnection, fields: Mapping[str, str], headers: Mapping[str, str]
    ) -> int:
        number = next(Visitor.numbers)
        network = str(IPv4Address("10.0.0.0") + number)  # whoever signs up lives elsewhere
        form = fields | {"name": "Ada Fairweather", "mailbox": f"ada{number}@mail.example", "consent": "y"}
        more = {"Content-Type": "application/x-www-form-urlencoded", "X-Forwarded-For": network}
        connection.request("POST", self.path, urlencode(form), {**headers, **more})
        answer = connection.getresponse()
        answer.read()
        return answer.status


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
    """Run gunicorn as docs/deployment.md does while the block runs."""
    port = free_port()
    command = [sys.executable, "-m", "gunicorn", application, "--bind", f"127.0.0.1:{port}", "--threads", "8"]
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
    """Compare sign-ups with a bare view, at rest (the worker sends their mail only) and while a queue drains."""
    bare, real, draining = Load(), Load(), Load()
    for _ in range(ROUNDS):
        bare = max(bare, bare_view(seconds), key=lambda load: load.rate if load.asked else 0)
        real = max(real, portal(seconds, backlog=0), key=lambda load: load.rate if load.asked else 0)
    draining = portal(seconds, backlog=6_000)
    named = {
        "a bare view that commits a row": bare,
        "sign-up, worker running": real,
        "sign-up while 6,000 drain": draining,
    }
    table(
        f"Sign-ups on SQLite, {VISITORS} visitors at once, gunicorn with 8 threads",
        ("what", "a second", "of the bare view", "p50, ms", "p99, ms", "answers that were no 303"),
        [row(what, load, bare) for what, load in named.items()],
    )


def row(what: str, load: Load, bare: Load) -> tuple[object, ...]:
    fine = load.seconds.get(303, [])
    median, late = (percentile(fine, part) * 1000 for part in (0.5, 0.99))
    others = {status: len(took) for status, took in load.seconds.items() if status != 303}
    return (
        what,
        f"{load.rate:,.0f}",
        f"{load.rate / bare.rate:.2f}",
        f"{median:.1f}",
        f"{late:.1f}",
        others or 0,
    )


def portal(seconds: float, *, backlog: int) -> Load:
    with sink() as taking, instance("sqlite", [taking.port], SIGNET_TRUSTED_PROXIES="1") as made:
        accounts = made.add_accounts([taking.port] * 4)
        made.owe(messages(accounts, backlog))
        with made.workers(1), served("wsgi:app", made.env, ROOT, made.log) as port:
            load = visit(port, "/join/account-1", seconds)
        assert "database is locked" not in made.log.read_text(), (
            "somebody was told that the database is locked"
        )
        return load


BARE = """
import sqlite3, sys, threading
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


def bare_view(seconds: float) -> Load:
    with tempfile.TemporaryDirectory(prefix="signet-bare-") as folder:
        (Path(folder) / "bare.py").write_text(BARE)
        with served("bare:app", dict(os.environ), Path(folder), Path(folder) / "log") as port:
            return visit(port, "/join", seconds)
