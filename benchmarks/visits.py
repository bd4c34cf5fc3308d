"""What 300 visits a second through short links cost a sign-up, at 20 sign-ups a second on the same portal."""

from __future__ import annotations

import itertools
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field

from sqlalchemy import select

from benchmarks.harness import percentile, print_table, run_instance, run_sink
from benchmarks.signups import (
    TIMEOUT_S,
    WARM_UP_S,
    Server,
    Visitor,
    cpu,
    processor_time,
    read_response,
    run_gunicorn,
)
from portal.accounts.models import Account
from portal.affiliates.models import AffiliateState
from portal.clock import utcnow
from portal.db import db
from portal.enrolment.signup import new_affiliate
from tests.storm.instance import ROOT

SIGN_UPS, VISITS = 20, 300  # a second
CONNECTIONS = 4  # that visits share
AFFILIATES = 500
ROUNDS = 3
ONE, TWO, OWN = "one process", "two processes", "one process, and one of their own for short links"
SERVING = (ONE, TWO, OWN)
BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


@dataclass
class Measured:
    """The seconds of each sign-up, and of each round the part of a processor that gunicorn used."""

    durations: list[float] = field(default_factory=list)
    processors: list[float] = field(default_factory=list)


class PacedVisitor(Visitor):
    """Signs people up at a constant rate; the time of each counts from the moment at which it was due."""

    def run(self) -> None:
        head, fields = self.prepare()
        with socket.create_connection(("127.0.0.1", self.port), TIMEOUT_S) as connection:
            for due in pace(SIGN_UPS, self.measure_from, self.end):
                connection.sendall(self.sign_up(head, fields))
                self.results.append((read_response(connection), time.monotonic() - due))


class Clicks(threading.Thread):
    """Opens short links at a constant rate over one connection."""

    def __init__(self, port: int, codes: list[str], start: float, end: float) -> None:
        super().__init__()
        self.port, self.codes, self.start_at, self.end = port, itertools.cycle(codes), start, end
        self.statuses: list[int] = []

    def run(self) -> None:
        with socket.create_connection(("127.0.0.1", self.port), TIMEOUT_S) as connection:
            for number, _ in enumerate(pace(VISITS / CONNECTIONS, self.start_at, self.end)):
                head = f"GET /r/{next(self.codes)} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\n"
                address = f"10.{number % 200}.{id(self) % 200}.1"
                connection.sendall(
                    f"{head}User-Agent: {BROWSER}\r\nX-Forwarded-For: {address}\r\n\r\n".encode()
                )
                self.statuses.append(read_response(connection))


def pace(rate: float, start: float, end: float) -> Iterator[float]:
    """Yield the moments from ``start`` to ``end`` at this rate, each once it has come."""
    for number in itertools.count():
        due = start + number / rate
        if due >= end:
            return
        time.sleep(max(0.0, due - time.monotonic()))
        yield due


def compare_visits(seconds: int = 10) -> None:
    """Compare the time of a sign-up without and with visits, in turns: of one process, of two, and with one for visits alone."""
    for serving in SERVING:
        compare_with(serving, seconds)


def compare_with(serving: str, seconds: int) -> None:
    """Processes that answer alone are bound to a CPU; two of one gunicorn would share it, so the system chooses theirs."""
    alone, beside, clicks = Measured(), Measured(), []
    with ExitStack() as stack:
        sink = stack.enter_context(run_sink())
        instance = stack.enter_context(run_instance("sqlite", [sink.port], SIGNET_TRUSTED_PROXIES="1"))
        accounts = instance.add_accounts([sink.port])
        with instance.app.app_context():
            codes = add_affiliates(accounts[0])
        processes = 2 if serving == TWO else 1
        pinned = processes == 1
        stack.enter_context(instance.workers(1, **cpu(-1, pinned=pinned)))
        env = instance.env | cpu(0, pinned=pinned)
        server = stack.enter_context(run_gunicorn("wsgi:app", env, ROOT, instance.log, processes))
        short_links = server
        if serving == OWN:
            other = instance.env | cpu(-1, pinned=True)
            short_links = stack.enter_context(run_gunicorn("wsgi:app", other, ROOT, instance.log))
        for _ in range(ROUNDS):
            measure(server, short_links, [], seconds, alone, clicks)
            measure(server, short_links, codes, seconds, beside, clicks)
    medians = [percentile(measured.durations, 0.5) for measured in (alone, beside)]
    print_table(
        f"{SIGN_UPS} sign-ups a second on SQLite, {serving}",
        ("visits a second", "sign-ups", "p50, ms", "p99, ms", "times as long", "of a processor"),
        [
            (
                name,
                len(measured.durations),
                f"{median * 1000:.1f}",
                f"{percentile(measured.durations, 0.99) * 1000:.1f}",
                f"{median / medians[0]:.2f}",
                f"{min(measured.processors):.1%}",
            )
            for name, measured, median in zip((0, VISITS), (alone, beside), medians, strict=True)
        ],
    )
    print(f"\nvisits answered: {len(clicks):,}, all redirected: {set(clicks) == {302}}")


def measure(
    server: Server, short_links: Server, codes: list[str], seconds: float, into: Measured, clicks: list[int]
) -> None:
    """Measure sign-ups, with visits of these codes if there are any."""
    start = time.monotonic() + WARM_UP_S
    end = start + seconds
    visitor = PacedVisitor(server.port, "/join/account-1", start, end)
    # Visits begin earlier, so that the sign-ups are measured beside all of them.
    others = [Clicks(short_links.port, codes, start - 1, end) for _ in range(CONNECTIONS)] if codes else []
    for thread in (visitor, *others):
        thread.start()
    into.processors.append(processor_time(server, start, end) / seconds)
    for thread in (visitor, *others):
        thread.join()
    clicks += [status for thread in others for status in thread.statuses]
    assert {status for status, _ in visitor.results} == {303}, "each sign-up was taken"
    into.durations += [duration for _, duration in visitor.results]


def add_affiliates(account_id: int) -> list[str]:
    """Give the account a shop and active affiliates; return their codes. Commits."""
    account = db.session.scalars(select(Account).where(Account.id == account_id)).one()
    account.shop_url, account.approved_at, now = "https://shop.example/", utcnow(), utcnow()
    added = [new_affiliate(account, "Grace Hopper", f"grace{n}@x.example", now) for n in range(AFFILIATES)]
    for affiliate in added:
        affiliate.state = AffiliateState.ACTIVE
    db.session.add_all(added)
    codes = [affiliate.code for affiliate in added]
    db.session.commit()
    return codes
