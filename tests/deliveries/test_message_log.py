"""The delivery log: tabs, pages, and whose messages it lists."""

from __future__ import annotations

import re

import pytest

from portal.clock import utcnow
from portal.db import db
from portal.outbox.models import OutboxMessage, Outcome, Status
from portal.outbox.queue import NewMessage, enqueue_row


def _listed(page: str) -> list[int]:
    return [int(found) for found in re.findall(r'href="/deliveries/(\d+)"', page)]


def _link(page: str, rel: str) -> str:
    found = re.search(rf'rel="{rel}"\s+href="([^"]+)"', page)
    return found.group(1).replace("&amp;", "&") if found else ""


def _page(browser, url="/deliveries") -> str:
    answer = browser.get(url)
    assert answer.status_code == 200
    return answer.get_data(as_text=True)


def test_nobody_is_sent_to_log_in(client):
    answer = client.get("/deliveries?status=held")
    assert answer.status_code == 303
    assert answer.location.startswith("/log-in")


def test_an_owner_sees_the_own_messages_only(owner, stranger, owe):
    mine, theirs = owe("brightleaf"), owe("copperpot")
    assert _listed(_page(owner)) == [mine.id]
    assert _listed(_page(stranger)) == [theirs.id]


def test_the_mail_of_the_portal_itself_is_nobodys_to_read(owner, owe):
    new = NewMessage(
        "password-reset", "reset:1", "ada@brightleaf.example", "Reset", "https://127.0.0.1/secret"
    )
    ident = enqueue_row(None, new, now=utcnow()).id
    db.session.commit()
    assert _listed(_page(owner)) == []
    for path in (f"/deliveries/{ident}", f"/deliveries/{ident}/html"):
        assert owner.get(path).status_code == 404


@pytest.mark.parametrize("status", ["queued", "sending", "sent", "held", "failed"])
def test_a_tab_shows_its_status_and_every_tab_its_count(owner, owe, status):
    rows = {
        one.value: [owe(status=one) for _ in range(2)]
        for one in Status
        if one.value in ["queued", "sending", "sent", "held", "failed"]
    }
    page = _page(owner, f"/deliveries?status={status}")
    assert _listed(page) == [row.id for row in reversed(rows[status])]
    assert page.count('<span class="tab-count">2</span>') == 5
    assert '<span class="tab-count">10</span>' in page
    assert 'aria-current="page"' in page


@pytest.mark.parametrize(
    "status", ["nonsense", "", "SENT", "suppressed", "sent'--", "%00", "sent&status=held", "\u202e"]
)
def test_a_bogus_filter_is_a_page(owner, owe, status):
    owe()
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
def test_a_bogus_page_is_a_page(owner, owe, query):
    owe()
    assert owner.get(f"/deliveries?{query}").status_code == 200


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("", "No email has been sent yet"),
        ("?status=queued", "Nothing is waiting"),
        ("?status=sending", "Nothing is being sent at this moment"),
        ("?status=sent", "No email has been accepted yet"),
        ("?status=held", "Nothing is on hold"),
        ("?status=failed", "No email has failed"),
        ("?status=failed&before=1", "Nothing further"),
    ],
)
def test_an_empty_list_says_what_would_stand_there(owner, query, said):
    assert said in _page(owner, f"/deliveries{query}")


def test_pages_lead_there_and_back_and_keep_the_filter(owner, owe):
    ids = [owe(status=Status.SENT if n % 2 else Status.HELD).id for n in range(240)]
    held = [ident for n, ident in reversed(list(enumerate(ids))) if n % 2 == 0]
    first = _page(owner, "/deliveries?status=held")
    assert "status=held" in _link(first, "next")
    assert _link(first, "prev") == ""
    second = _page(owner, _link(first, "next"))
    third = _page(owner, _link(second, "next"))
    assert _listed(first) + _listed(second) + _listed(third) == held
    assert _link(third, "next") == ""
    assert _listed(_page(owner, _link(third, "prev"))) == _listed(second)
    assert "status=held" in _link(second, "prev")
    assert _listed(_page(owner, _link(second, "prev"))) == _listed(first)


def test_a_page_stays_what_it_was_while_messages_arrive(owner, owe):
    for _ in range(120):
        owe()
    older = _link(_page(owner), "next")
    before = _listed(_page(owner, older))
    for _ in range(30):
        owe()
    again = _page(owner, older)
    assert _listed(again) == before
    newest = db.session.query(db.func.max(OutboxMessage.id)).scalar()
    newer = _listed(_page(owner, _link(again, "prev")))
    assert newer[-1] == before[0] + 1
    assert newest not in newer


def test_tests_and_checks_are_labelled(owner, owe):
    owe()
    assert "Test email" not in _page(owner)
    owe(is_test=True)
    owe(forced_version_id=1)
    page = _page(owner)
    assert page.count("Test email") == page.count("Check email") == 1


def test_the_servers_last_reply_is_listed(owner, owe, tried):
    message = owe(status=Status.SENT)
    tried(message, Outcome.DEFERRED, 1, reply_code=451, reply_text="Greylisted")
    tried(
        message, Outcome.ACCEPTED, 2, reply_code=250, enhanced_code="2.0.0", reply_text="Ok: queued as 4Xyz"
    )
    page = _page(owner)
    assert "250 2.0.0 Ok: queued as 4Xyz" in page
    assert "Greylisted" not in page


def test_the_words_for_sent_promise_no_more_than_is_known(owner, owe, tried):
    tried(owe(status=Status.SENT))
    page = _page(owner)
    assert ">Accepted</span>" in page
    assert "Delivered" not in page
