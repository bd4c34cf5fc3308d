"""Sign-ups, events and visits on PostgreSQL, compared with a bare Flask view that commits one row there."""

from __future__ import annotations

import json
import os
import tempfile
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from benchmarks.harness import database_url, percentile, print_table, run_instance, run_sink
from benchmarks.signups import (
    PORTAL_CONFIG,
    ROUNDS,
    Load,
    Visitor,
    cpu,
    fastest,
    least_processor_ms,
    run_gunicorn,
    visit,
)
from benchmarks.visits import BROWSER, add_affiliates
from portal.api import tokens
from portal.clock import utcnow
from tests.storm.instance import ROOT

# A token may send 600 requests a minute, so each visitor has its own.
TOKENS = 8


class Shop(Visitor):
    """Reports one event after another, each about another order."""

    tokens: list[str]
    codes: list[str]
    _taken = iter(range(0))
    _lock = threading.Lock()

    def prepare(self) -> tuple[str, str]:
        with Shop._lock:
            token = Shop.tokens[next(Shop._taken) % len(Shop.tokens)]
        head = (
            f"POST {self.path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nAuthorization: Bearer {token}\r\n"
            "Content-Type: application/json\r\n"
        )
        return head, ""

    def sign_up(self, head: str, _fields: str) -> bytes:
        number = next(Visitor.numbers)
        data = {"order": f"A-{number}", "amount": "49.00", "currency": "EUR", "commission": "12.25"}
        code = Shop.codes[number % len(Shop.codes)]
        body = json.dumps({"event": "purchase", "affiliate": {"code": code}, "data": data})
        key = f'Idempotency-Key: "purchase-{number}"'
        return f"{head}{key}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


class Click(Visitor):
    """Opens one short link after another, each as another visitor."""

    codes: list[str]

    def prepare(self) -> tuple[str, str]:
        return f"Host: 127.0.0.1:{self.port}\r\nUser-Agent: {BROWSER}\r\n", ""

    def sign_up(self, head: str, _fields: str) -> bytes:
        number = next(Visitor.numbers)
        address = f"10.{number % 200}.{number // 200 % 200}.1"
        code = Click.codes[number % len(Click.codes)]
        return f"GET /r/{code} HTTP/1.1\r\n{head}X-Forwarded-For: {address}\r\n\r\n".encode()


def compare_requests(seconds: int = 4) -> None:
    """Compare requests of eight visitors at once with the bare view, in turns, on one PostgreSQL."""
    with ExitStack() as stack:
        sink = stack.enter_context(run_sink())
        instance = stack.enter_context(run_instance("postgresql", [sink.port], SIGNET_TRUSTED_PROXIES="1"))
        (account,) = instance.add_accounts([sink.port])
        with instance.app.app_context():
            Shop.codes = Click.codes = add_affiliates(account)
            now = utcnow()
            Shop.tokens = [
                tokens.create(account, now=now, name=f"Shop {n}", by="bench", form_key=f"bench-{n}")
                for n in range(TOKENS)
            ]
        stack.enter_context(instance.workers(1, **cpu(-1, pinned=True)))
        portal = stack.enter_context(
            run_gunicorn("wsgi:app", instance.env | cpu(0, pinned=True), ROOT, instance.log)
        )
        bare = stack.enter_context(bare_view(stack))
        kinds: dict[str, Callable[[], Load]] = {
            "a bare Flask view that commits a row": lambda: visit(bare, "/join", seconds),
            "sign-up, worker running": lambda: visit(portal, "/join/account-1", seconds),
            "event by the API, worker running": lambda: visit(portal, "/api/v1/events", seconds, Shop),
            "visit through a short link": lambda: visit(portal, "/r/", seconds, Click),
        }
        loads: dict[str, list[Load]] = {name: [] for name in kinds}
        for _ in range(ROUNDS):
            for name, measure in kinds.items():
                Shop._taken = iter(range(1_000_000))
                loads[name].append(measure())
    base, *_ = loads.values()
    print_table(
        "Requests on PostgreSQL, 8 concurrent visitors, gunicorn with 8 threads",
        (
            "request",
            "requests/s",
            "of the bare view",
            "processor, ms",
            "p50, ms",
            "p99, ms",
            "p99 / p50",
            "errors",
        ),
        [row(name, rounds, base) for name, rounds in loads.items()],
    )


def row(name: str, rounds: list[Load], base: list[Load]) -> tuple[object, ...]:
    load = fastest(rounds)
    times = [one for status, found in load.seconds.items() if status < 400 for one in found]
    median, late = (percentile(times, part) * 1000 for part in (0.5, 0.99))
    errors = {status: len(found) for status, found in load.seconds.items() if status >= 400}
    ratio = f"{load.rate / fastest(base).rate:.2f}"
    processor = f"{least_processor_ms(rounds):.2f}"
    return (
        name,
        f"{load.rate:,.0f}",
        ratio,
        processor,
        f"{median:.1f}",
        f"{late:.1f}",
        f"{late / median:.1f}",
        errors or 0,
    )


def bare_view(stack: ExitStack) -> object:
    """Return a context with the server of the bare view, on a PostgreSQL of its own."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="signet-minimal-")))
    url = stack.enter_context(database_url("postgresql"))
    (folder / "minimal.py").write_text(WITH_PSYCOPG + PORTAL_CONFIG)
    env = {**os.environ, "MINIMAL_DATABASE": url, **cpu(0, pinned=True)}
    return run_gunicorn("minimal:app", env, folder, folder / "log")


WITH_PSYCOPG = """
import os, threading
import psycopg
from flask import Flask, redirect, request

app, here = Flask(__name__), threading.local()

def connection():
    if not hasattr(here, "connection"):
        here.connection = psycopg.connect(os.environ["MINIMAL_DATABASE"])
    return here.connection

connection().execute("CREATE TABLE IF NOT EXISTS person (id bigserial PRIMARY KEY, name text, mailbox text)")
connection().commit()

@app.get("/join")
def form():
    return "<form></form>"

@app.post("/join")
def join():
    row = (request.form["name"], request.form["mailbox"])
    connection().execute("INSERT INTO person (name, mailbox) VALUES (%s, %s)", row)
    connection().commit()
    return redirect("/thanks", 303)
"""
