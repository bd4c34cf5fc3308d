"""The receivers' domains of the newest messages, and what bounced by day."""

from __future__ import annotations

from datetime import timedelta

import pytest

from portal.deliveries import domains
from portal.outbox.models import Status
from portal.rate_limit import RateLimit
from portal.web import owner_limits

from .conftest import account_of

pytestmark = pytest.mark.both_databases


def test_the_newest_messages_are_counted_by_domain(owner, stranger, enqueue, monkeypatch):
    enqueue(recipient="old@old.example")
    for number in range(3):
        enqueue(recipient=f"p{number}@big.example", status=Status.SENT)
    enqueue(recipient="p@big.example", status=Status.FAILED)
    enqueue("copperpot", recipient="other@other.example")
    enqueue(recipient="p@small.example")
    monkeypatch.setattr(domains, "MAX_MESSAGES", 5)
    found = domains.read(account_of().id)
    assert found.counted == 5
    assert [(row.domain, row.emails, row.accepted, row.failed) for row in found.rows] == [
        ("big.example", 4, 3, 1),
        ("small.example", 1, 0, 0),
    ]
    page = owner.get("/deliveries").get_data(as_text=True)
    assert "By the receiver’s domain" in page
    assert "3 (75.0 %)" in page


def test_the_script_gets_the_results_alone_within_a_budget(owner, enqueue, monkeypatch):
    enqueue(recipient="pia@visitors.example")
    for url in ("/deliveries?q=pia", "/affiliates?q=pia"):
        part = owner.get(url, headers={"X-Requested-With": "fetch"}).get_data(as_text=True)
        assert 'id="results"' in part or url.startswith("/aff")
        assert "<nav" not in part.partition('id="results"')[0]
        assert "<h1" not in part
    monkeypatch.setattr(owner_limits, "LIVE_SEARCHES", RateLimit("live-search", 3, timedelta(minutes=1)))
    answers = [owner.get("/deliveries", headers={"X-Requested-With": "fetch"}).status_code for _ in range(3)]
    assert answers == [200, 429, 429], "two were counted above"
    assert owner.get("/deliveries").status_code == 200
