"""The delivery log: tabs, pages, and access by account."""

from __future__ import annotations

import re

import pytest

from portal.clock import utcnow
from portal.db import db
from portal.outbox.models import OutboxMessage, Outcome, Status
from portal.outbox.queue import NewMessage, enqueue_row
from tests.cases import in_one_test

from .conftest import listed_ids


def _link(page: str, rel: str) -> str:
    found = re.search(rf'rel="{rel}"\s+href="([^"]+)"', page)
    return found.group(1).replace("&amp;", "&") if found else ""


def _page(browser, url="/deliveries") -> str:
    response = browser.get(url)
    assert response.status_code == 200
    return response.get_data(as_text=True)


def test_the_log_requires_a_login(client):
    response = client.get("/deliveries?status=held")
    assert response.status_code == 303
    assert response.location.startswith("/log-in")


def test_an_owner_sees_only_messages_of_the_own_account(owner, stranger, enqueue):
    mine, theirs = enqueue("brightleaf"), enqueue("copperpot")
    assert listed_ids(_page(owner)) == [mine.id]
    assert listed_ids(_page(stranger)) == [theirs.id]


def test_the_portals_own_mail_is_not_readable(owner, enqueue):
    new = NewMessage(
        "password-reset", "reset:1", "ada@brightleaf.example", "Reset", "https://127.0.0.1/secret"
    )
    message_id = enqueue_row(None, new, now=utcnow()).id
    db.session.commit()
    assert listed_ids(_page(owner)) == []
    for path in (f"/deliveries/{message_id}", f"/deliveries/{message_id}/html"):
        assert owner.get(path).status_code == 404


@pytest.mark.parametrize("status", ["queued", "sending", "sent", "held", "failed"])
def test_a_tab_shows_its_status_and_every_tab_its_count(owner, enqueue, status):
    rows = {
        status.value: [enqueue(status=status) for _ in range(2)]
        for status in Status
        if status.value in ["queued", "sending", "sent", "held", "failed"]
    }
    page = _page(owner, f"/deliveries?status={status}")
    assert listed_ids(page) == [row.id for row in reversed(rows[status])]
    assert page.count('<span class="tab-count">2</span>') == 5
    assert '<span class="tab-count">10</span>' in page
    assert 'aria-current="page"' in page


@in_one_test("status", ["nonsense", "", "SENT", "suppressed", "sent'--", "%00", "sent&status=held", "\u202e"])
def test_an_unknown_filter_is_ignored(owner, enqueue, status):
    enqueue()
    assert owner.get(f"/deliveries?status={status}").status_code == 200


@pytest.mark.parametrize(
    "query",
    [
        "before=x",
        "before=-1",
        "after=" + "9" * 50,
        "before=999999999999999999",
        "after=%00",
        "before=1&after=1",
    ],
)
def test_an_invalid_page_key_is_ignored(owner, enqueue, query):
    enqueue()
    assert owner.get(f"/deliveries?{query}").status_code == 200


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("", "No emails sent yet"),
        ("?status=queued", "No emails waiting"),
        ("?status=sending", "No emails being sent"),
        ("?status=sent", "No emails accepted yet"),
        ("?status=held", "No emails on hold"),
        ("?status=failed", "No emails failed"),
        ("?status=failed&before=1", "No more entries"),
    ],
)
def test_an_empty_list_shows_an_explanation(owner, query, text):
    assert text in _page(owner, f"/deliveries{query}")


def test_pages_link_in_both_directions_and_keep_the_filter(owner, enqueue):
    ids = [enqueue(status=Status.SENT if n % 2 else Status.HELD).id for n in range(240)]
    held = [message_id for n, message_id in reversed(list(enumerate(ids))) if n % 2 == 0]
    first = _page(owner, "/deliveries?status=held")
    assert "status=held" in _link(first, "next")
    assert _link(first, "prev") == ""
    second = _page(owner, _link(first, "next"))
    third = _page(owner, _link(second, "next"))
    assert listed_ids(first) + listed_ids(second) + listed_ids(third) == held
    assert _link(third, "next") == ""
    assert listed_ids(_page(owner, _link(third, "prev"))) == listed_ids(second)
    assert "status=held" in _link(second, "prev")
    assert listed_ids(_page(owner, _link(second, "prev"))) == listed_ids(first)


def test_a_page_is_stable_while_messages_arrive(owner, enqueue):
    for _ in range(120):
        enqueue()
    older = _link(_page(owner), "next")
    before = listed_ids(_page(owner, older))
    for _ in range(30):
        enqueue()
    again = _page(owner, older)
    assert listed_ids(again) == before
    newest_id = db.session.query(db.func.max(OutboxMessage.id)).scalar()
    newer = listed_ids(_page(owner, _link(again, "prev")))
    assert newer[-1] == before[0] + 1
    assert newest_id not in newer


def test_tests_and_checks_are_labelled(owner, enqueue):
    enqueue()
    assert "Test email" not in _page(owner)
    enqueue(is_test=True)
    enqueue(forced_version_id=1)
    page = _page(owner)
    assert page.count("Test email") == page.count("Check email") == 1


def test_the_servers_last_reply_is_listed_unless_it_accepted(owner, enqueue, add_attempt):
    message = enqueue(status=Status.SENT)
    waiting = enqueue()
    add_attempt(waiting, Outcome.DEFERRED, 1, reply_code=452, reply_text="Mailbox full")
    add_attempt(message, Outcome.DEFERRED, 1, reply_code=451, reply_text="Greylisted")
    add_attempt(
        message, Outcome.ACCEPTED, 2, reply_code=250, enhanced_code="2.0.0", reply_text="Ok: queued as 4Xyz"
    )
    page = _page(owner)
    assert "452 Mailbox full" in page
    assert "queued as 4Xyz" not in page
    assert "Greylisted" not in page


def test_a_sent_message_is_labelled_accepted_and_not_delivered(owner, enqueue, add_attempt):
    add_attempt(enqueue(status=Status.SENT))
    page = _page(owner)
    assert ">Accepted</span>" in page
    assert ">Delivered</span>" not in page
