"""The queries of the pages of the delivery log, and whole pages, that the benchmarks time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from flask.testing import FlaskClient

from portal.accounts.models import Account
from portal.affiliates.models import AffiliateState
from portal.bounces import event_log
from portal.db import db
from portal.deliveries import export, message_log, stats
from portal.deliveries.filters import Filters
from portal.enrolment import listing
from portal.enrolment.listing import AffiliateFilters
from portal.outbox import overview
from tests.pages import csrf_token

MAILBOX, PASSWORD = "ada@brightleaf.example", "a bench of oak by the lake"
# No index answers these: they look for a part of a name or of an address among the affiliates (docs/benchmarks.md).
LINEAR = {
    *(f"affiliates: {name}" for name in ("a common word", "a word of one", "a word of none")),
    *(
        f"recipient: {name}"
        for name in ("beginning of few", "beginning of all", "part of an affiliate's name")
    ),
    *(f"anywhere: {name}" for name in ("word of one", "words of all", "beginning of all, failed", "none")),
    "beginning and notice",
    "queue id",
}


@dataclass(frozen=True)
class Sample:
    """An account and values that some of its messages have."""

    account: int
    days: float  # over which its messages are spread
    middle: int  # a message of the middle of that time
    oldest: int  # the id above which all but the oldest page is
    recipient: str
    beginning: str  # of the addresses of few
    queue_id: str
    header_id: str


def queries(sample: Sample, now: datetime) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Yield each query of the pages with its name."""

    def page(name: str, before: int | None = None, after: int | None = None, **args: str) -> Any:
        filters = Filters.read(args)
        return name, lambda: message_log.read_page(sample.account, filters, before=before, after=after)

    day = (now - timedelta(days=sample.days / 2)).date().isoformat()
    yield page("first page")
    yield page("middle page", before=sample.middle)
    yield page("last page", before=sample.oldest)
    yield page("back from the last page", after=sample.oldest)
    yield page("by status: accepted", status="sent")
    yield page("by status: failed", status="failed")
    yield page("by notice", kind="approved")
    yield page("by code: common", code="250")
    yield page("by code: rare", code="552")
    yield page("by code: none", code="421")
    yield page("by version: the oldest", version="1")
    yield page("by outcome: delivered", outcome="delivered")
    yield page("by outcome: hard", outcome="hard")
    yield page("by day", since=day, until=day)
    yield page("failed of a notice", status="failed", kind="payout-sent")
    yield page("two that never meet", status="failed", code="250")
    yield page("oldest version of one day", version="1", since=day, until=day)
    yield page("oldest version, later days", version="1", since=day)
    yield page("newest version, earlier days", version="5", until=day)
    yield page("recipient: whole", q=sample.recipient)
    yield page("recipient: beginning of few", q=sample.beginning)
    yield page("recipient: beginning of all", q="person")
    yield page("recipient: common domain", q="@mail1.example")
    yield page("recipient: rare domain", q="@rare0.example")
    yield page("recipient: none", q="unknown@nowhere.example")
    yield page("beginning and notice", q="person1", kind="approved")
    yield page("queue id", q=sample.queue_id)
    yield page("Message-ID", q=sample.header_id)
    yield page("subject: word of one", q="unicorn", by="subject")
    yield page("subject: words of all", q="welcome to brightleaf", by="subject")
    yield page("subject: word of none", q="platypus", by="subject")
    yield page("subject: common word, failed", q="welcome", by="subject", status="failed")
    yield page("anywhere: word of one", q="unicorn")
    yield page("anywhere: words of all", q="welcome to brightleaf")
    yield page("anywhere: beginning of all, failed", q="person", status="failed")
    yield page("anywhere: none", q="platypus")
    yield page("recipient: beginning, no affiliate", q="stranger@", by="recipient")
    yield page("recipient: domain, no affiliate", q="@nowhere.example", by="recipient")
    yield page("recipient: part of an affiliate's name", q="unicorn", by="recipient")
    yield from affiliates(sample.account)
    yield "statistics of 24 hours", lambda: stats.read(sample.account, "day", now=now)
    yield "statistics of 30 days", lambda: stats.read(sample.account, "month", now=now)
    yield (
        "waiting emails, for the banner",
        lambda: overview.count_waiting_of([sample.account], overview.MAX_SHOWN + 1),
    )
    yield "events of one message", lambda: event_log.of_message(sample.middle)
    yield (
        "events without a message",
        lambda: event_log.list_unmatched(sample.account, before=None, after=None),
    )
    yield "export: first 1,000", lambda: next(iter(export.batches(sample.account, Filters.read({}))))


def affiliates(account_id: int) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Yield the queries of the owner's list of affiliates, of which there is one for ten messages."""
    account = db.session.get_one(Account, account_id)
    db.session.expunge(account)
    for name, search, state in (
        ("all", "", None),
        ("active", "", AffiliateState.ACTIVE),
        ("a common word", "fairweather", None),
        ("a word of one", "unicorn", None),
        ("a word of none", "platypus", None),
    ):
        chosen = AffiliateFilters(search=search, state=state)
        yield f"affiliates: {name}", lambda chosen=chosen: listing.list_affiliates(account, chosen)


def pages(client: FlaskClient, sample: Sample) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Yield requests for whole pages with their names."""

    def page(name: str, query: str = "", path: str = "/deliveries") -> Any:
        def get() -> None:
            with client.application.app_context():
                assert client.get(f"{path}{query}").status_code == 200

        return f"GET {name}", get

    yield page("the log")
    yield page("the log, 30 days", "?span=month")
    yield page("the log, last page", f"?before={sample.oldest}")
    yield page("failed of a notice", "?status=failed&kind=payout-sent")
    yield page("a recipient", f"?q={sample.recipient}")
    yield page("emails that bounced", "?outcome=hard")
    yield page("a message", path=f"/deliveries/{sample.middle}")
    yield page("bounces", path="/settings/bounces")
    yield page("events without a message", path="/settings/bounces/events")
    yield page("words of a subject", "?q=welcome+to+brightleaf&by=subject")
    yield page("the affiliates", path="/affiliates")


def sign_in(client: FlaskClient, mailbox: str) -> None:
    """Log the client in; the owner has ``PASSWORD``."""
    with client.application.app_context():
        form = {"csrf_token": csrf_token(client.get("/log-in").get_data(as_text=True))}
        client.post("/log-in", data=form | {"mailbox": mailbox, "password": PASSWORD})
