"""One-click unsubscribe links in the owner's weekly summary: no log-in, one mailbox, and reversible."""

from __future__ import annotations

import re
from email import message_from_bytes, policy
from itertools import count
from urllib.parse import urlsplit

import pytest
from sqlalchemy import select

from portal.affiliates import suppressions
from portal.affiliates.models import SuppressionReason
from portal.clock import utcnow
from portal.db import db
from portal.deliveries import resend
from portal.deliveries.resend import ResendRequest
from portal.events import event_log, weeks
from portal.events.dispatch import NewEvent, record_event
from portal.events.models import EmailDecision
from portal.events.types import EventType, Source
from portal.money import weekly_summary
from portal.money.weekly_totals import Totals
from portal.notices import further_mailboxes, recipients
from portal.notices.catalogue import CATALOGUE
from portal.outbox.models import OutboxMessage, Status
from portal.outbox.routing import Routing
from portal.outbox.sending.drain import drain_queue
from portal.state import get_state
from tests.notices.conftest import account_of, add_confirmed, owner_of
from tests.outbox.support import StubRoutes, honest
from tests.smtp.badserver import BadServer

ADA, BO = "ada@brightleaf.example", "bo@brightleaf.example"
WEEKLY = CATALOGUE["owner-weekly-summary"]
ONE_CLICK = {"List-Unsubscribe": "One-Click"}
BOUGHT = {"order": "A-1", "amount": "10.00", "currency": "EUR", "commission": "1.00"}


@pytest.fixture
def record(owner):
    """Return a function that records an event, and returns by recipient its message or the decision against one."""
    add_confirmed(account_of(), BO)
    numbers = count()

    def record(type_=EventType.WEEK_ENDED, values=None):
        week = weekly_summary.summary_values(Totals(leads=1), weeks.latest_due_week(utcnow(), "UTC"))
        values = values or week | {"new_affiliates": "1", "emails_sent": "2", "emails_failed": "0"}
        more = {"key": f"n{next(numbers)}", "source": Source.PLANNER, "now": utcnow()}
        recorded = record_event(NewEvent(account_of(), type_, None, values), **more)
        db.session.commit()
        mails = event_log.emails_by_event([recorded.event_id])[recorded.event_id]
        return {
            mail.recipient: db.session.get(OutboxMessage, mail.message_id)
            if mail.message_id
            else mail.decision
            for mail in mails
        }

    return record


def _path(message):
    return urlsplit(message.unsubscribe_url).path


def _status(message):
    message_id = message.id
    db.session.rollback()
    return db.session.get_one(OutboxMessage, message_id).status


def test_the_summary_is_sent_with_both_headers_and_the_link_in_its_footer(app, record):
    get_state(app).part(Routing).find = routes = StubRoutes()
    account_id, queued = account_of().id, record()
    with BadServer(honest()) as server:
        routes.send_to(account_id, server)
        drain_queue(account_id)
        arrived = [message_from_bytes(raw.lstrip(), policy=policy.default) for raw in server.messages]
    assert {mail["To"] for mail in arrived} == {f"Ada Fairweather <{ADA}>", BO}
    for mail in arrived:
        [mailbox] = mail["To"].addresses
        url = queued[mailbox.addr_spec].unsubscribe_url
        assert mail["List-Unsubscribe"] == f"<{url}>"
        assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
        assert f"Unsubscribe: {url}" in mail.get_body(["plain"]).get_content()
        assert f'href="{url}"' in mail.get_body(["html"]).get_content()


def test_each_mailbox_has_its_own_link_which_contains_no_mailbox(record):
    urls = {message.unsubscribe_url for message in record().values()}
    assert len(urls) == 2
    assert not any("ada" in url or "bo@" in url or "%40" in url for url in urls)


def test_transactional_emails_have_no_unsubscribe_link(record):
    assert {message.unsubscribe_url for message in record(EventType.PURCHASE, BOUGHT).values()} == {""}


def test_a_get_asks_and_changes_nothing(client, owner, stranger, record):
    for mailbox, question in ((ADA, "Switch off the weekly summary?"), (BO, "Stop weekly summaries?")):
        path = _path(record()[mailbox])
        for browser in (client, owner, stranger):
            answer = browser.get(path)
            page = answer.get_data(as_text=True)
            assert answer.status_code == 200
            assert question in page
            assert answer.headers["Referrer-Policy"] == "no-referrer"
            assert 'content="noindex, nofollow"' in page
            main = page[page.index("<main") : page.index("</main")]
            assert ADA not in main and BO not in main, "a forwarded link discloses no mailbox"
    assert recipients.is_enabled(account_of().id, WEEKLY)
    assert suppressions.find_suppression(account_of().id, BO) is None


@pytest.mark.both_databases
def test_one_click_of_the_owner_switches_the_summary_off_until_it_is_switched_on(client, owner, record):
    message = record()[ADA]
    for _ in range(2):
        answer = client.post(_path(message), data=ONE_CLICK)
        assert answer.status_code == 200
        assert "The weekly summary is off" in answer.get_data(as_text=True)
    assert _status(message) is Status.SUPPRESSED
    assert set(record().values()) == {EmailDecision.OFF}
    shown = owner.get("/automated-emails/owner-weekly-summary").get_data(as_text=True)
    assert "Weekly summary (to you) is off" in shown
    back = {"on": "1", "back": "list"}
    page = "/automated-emails"
    assert owner.submit("/automated-emails/owner-weekly-summary/switch", back, page=page).status_code == 303
    assert not set(record().values()) & set(EmailDecision)
    assert client.get(_path(message)).status_code == 200
    assert recipients.is_enabled(account_of().id, WEEKLY), "another GET of the old link changes nothing"


@pytest.mark.both_databases
def test_one_click_of_a_further_mailbox_suppresses_its_summaries_only(client, owner, record):
    queued = record()
    for _ in range(2):
        answer = client.post(_path(queued[BO]), data=ONE_CLICK)
        assert answer.status_code == 200
        assert "You are unsubscribed" in answer.get_data(as_text=True)
    assert (_status(queued[BO]), _status(queued[ADA])) == (Status.SUPPRESSED, Status.QUEUED)
    following = record()
    assert following[BO] is EmailDecision.SUPPRESSED
    assert following[ADA].status is Status.QUEUED
    assert not set(record(EventType.PURCHASE, BOUGHT).values()) & set(EmailDecision), (
        "transactional emails are still sent"
    )
    page = owner.get("/automated-emails").get_data(as_text=True)
    assert "Unsubscribed from the weekly summary." in page
    row = suppressions.find_suppression(account_of().id, BO)
    assert row.reason is SuppressionReason.UNSUBSCRIBED
    listed = "/affiliates/not-written-to"
    assert (
        owner.submit(f"{listed}/{row.id}/remove", {"why": "Bo asked for it"}, page=listed).status_code == 303
    )
    assert record()[BO].status is Status.QUEUED


def test_the_button_has_the_same_effect_as_one_click(client, record):
    path = _path(record()[BO])
    assert client.submit(path, {}).status_code == 200
    assert suppressions.find_suppression(account_of().id, BO).reason is SuppressionReason.UNSUBSCRIBED


def test_the_link_of_a_removed_mailbox_shows_a_page_and_changes_nothing(client, record):
    path = _path(record()[BO])
    account = account_of()
    further_mailboxes.remove(account.id, further_mailboxes.find_all(account.id)[0].id)
    for answer in (client.get(path), client.post(path, data=ONE_CLICK)):
        assert answer.status_code == 200
        assert "This address no longer gets summaries" in answer.get_data(as_text=True)
    assert suppressions.find_suppression(account.id, BO) is None
    assert recipients.is_enabled(account.id, WEEKLY)


@pytest.mark.parametrize(
    "alter",
    [
        lambda token: "x",
        lambda token: "",
        lambda token: token[:-1],
        lambda token: token[:-1] + next(c for c in "AEQgIU" if c != token[-1]),
        lambda token: token + "!",
        lambda token: re.sub(r"\.\d+\.", ".999.", token),
        lambda token: token.replace("owner-weekly-summary", "owner-new-purchase"),
        lambda token: token.replace("owner-weekly-summary", "x"),
        lambda token: token.rpartition(".")[0],
        lambda token: "." + token,
        lambda token: token + "%00",
        lambda token: token + "%F0%9F%98%80",
        lambda token: "A" * 5000,
        lambda token: "....",
    ],
)
def test_a_forged_or_altered_link_is_not_found(client, record, alter):
    path = _path(record()[ADA])
    base, _, token = path.rpartition("/")
    forged = f"{base}/{alter(token)}"
    for answer in (client.get(forged), client.post(forged, data=ONE_CLICK)):
        assert answer.status_code == 404
        assert "Page not found" in answer.get_data(as_text=True)
    assert recipients.is_enabled(account_of().id, WEEKLY)


def test_the_link_of_one_account_changes_nothing_in_another(client, stranger, record):
    record()
    client.post(_path(record()[ADA]), data=ONE_CLICK)
    assert recipients.is_enabled(account_of("copperpot").id, WEEKLY)


@pytest.mark.parametrize("render_again", [True, False])
def test_a_summary_sent_again_has_the_same_link(record, render_again):
    message = record()[ADA]
    copy = resend.send(
        message,
        owner_of(),
        ResendRequest(to_owner=True, render_again=render_again, key="a-key-of-a-form"),
        now=utcnow(),
    )
    assert copy.unsubscribe_url == message.unsubscribe_url


def test_the_preview_shows_the_unsubscribe_link_in_summaries_only(owner):
    for kind, has in (("owner-weekly-summary", True), ("owner-new-purchase", False)):
        shown = owner.get(f"/automated-emails/{kind}/html").get_data(as_text=True)
        assert (">Unsubscribe</a>" in shown) is has
        assert "Choose which emails you get" not in shown


def test_the_list_of_notices_shows_that_a_suppressed_mailbox_gets_none(owner, record):
    suppressions.add(account_of().id, BO, "", now=utcnow())
    page = owner.get("/automated-emails").get_data(as_text=True)
    assert "Gets no emails: it is on your list of blocked addresses." in page
    to_account = select(OutboxMessage.id).where(OutboxMessage.account_id.is_not(None))
    assert db.session.scalar(to_account) is None
