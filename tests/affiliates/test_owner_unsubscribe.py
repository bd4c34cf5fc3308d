"""The owner's weekly summary can be ended from within: one click, no log-in, one mailbox, and never for good."""

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
from portal.events import event_log, weekly_summary, weeks
from portal.events.dispatch import NewEvent, record_event
from portal.events.models import EmailDecision
from portal.events.types import EventType, Source
from portal.events.weekly_totals import Totals
from portal.notices import recipients
from portal.notices.catalogue import CATALOGUE
from portal.outbox.models import OutboxMessage, Status
from portal.outbox.routing import Routing
from portal.outbox.sending.drain import drain_queue
from portal.state import get_state
from tests.notices.conftest import account_of, owner_of
from tests.outbox.support import StubRoutes, honest
from tests.smtp.badserver import BadServer

ADA, BO = "ada@brightleaf.example", "bo@brightleaf.example"
WEEKLY = CATALOGUE["owner-weekly-summary"]
ONE_CLICK = {"List-Unsubscribe": "One-Click"}
BOUGHT = {"order": "A-1", "amount": "10.00", "currency": "EUR", "commission": "1.00"}


@pytest.fixture
def happen(owner):
    """Let a week end, or something else happen; return the messages owed by recipient, or why there is none."""
    recipients.add_mailbox(account_of(), BO, now=utcnow())
    numbers = count()

    def happen(type_=EventType.WEEK_ENDED, values=None):
        week = weekly_summary.summary_values(Totals(leads=1), weeks.latest_due_week(utcnow(), "UTC"))
        values = values or week | {"new_affiliates": "1", "emails_sent": "2", "emails_failed": "0"}
        more = {"key": f"n{next(numbers)}", "source": Source.PLANNER, "now": utcnow()}
        done = record_event(NewEvent(account_of(), type_, None, values), **more)
        db.session.commit()
        mails = event_log.emails_by_event([done.event.id])[done.event.id]
        return {
            mail.recipient: db.session.get(OutboxMessage, mail.message_id)
            if mail.message_id
            else mail.decision
            for mail in mails
        }

    return happen


def _path(message):
    return urlsplit(message.unsubscribe_url).path


def _status(message):
    ident = message.id
    db.session.rollback()
    return db.session.get_one(OutboxMessage, ident).status


def test_the_summary_leaves_with_both_headers_and_the_link_in_its_footer(app, happen):
    get_state(app).part(Routing).find = routes = StubRoutes()
    account_id, owed = account_of().id, happen()
    with BadServer(honest()) as server:
        routes.send_to(account_id, server)
        drain_queue(account_id)
        arrived = [message_from_bytes(raw.lstrip(), policy=policy.default) for raw in server.messages]
    assert {mail["To"] for mail in arrived} == {f"Ada Fairweather <{ADA}>", BO}
    for mail in arrived:
        [mailbox] = mail["To"].addresses
        url = owed[mailbox.addr_spec].unsubscribe_url
        assert mail["List-Unsubscribe"] == f"<{url}>"
        assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
        assert f"Unsubscribe: {url}" in mail.get_body(["plain"]).get_content()
        assert f'href="{url}"' in mail.get_body(["html"]).get_content()


def test_each_mailbox_has_an_address_of_its_own_which_names_no_mailbox(happen):
    urls = {message.unsubscribe_url for message in happen().values()}
    assert len(urls) == 2
    assert not any("ada" in url or "bo@" in url or "%40" in url for url in urls)


def test_what_just_happened_is_told_without_a_way_out(happen):
    assert {message.unsubscribe_url for message in happen(EventType.PURCHASE, BOUGHT).values()} == {""}


def test_looking_asks_and_changes_nothing_whoever_looks(client, owner, stranger, happen):
    for mailbox, words in ((ADA, "Switch the weekly summary off?"), (BO, "No more weekly summaries?")):
        path = _path(happen()[mailbox])
        for browser in (client, owner, stranger):
            answer = browser.get(path)
            page = answer.get_data(as_text=True)
            assert answer.status_code == 200
            assert words in page
            assert answer.headers["Referrer-Policy"] == "no-referrer"
            assert 'content="noindex, nofollow"' in page
            main = page[page.index("<main") : page.index("</main")]
            assert ADA not in main and BO not in main, "a link that is passed on tells no address"
    assert recipients.is_enabled(account_of().id, WEEKLY)
    assert suppressions.find_suppression(account_of().id, BO) is None


@pytest.mark.both_databases
def test_one_click_of_the_owner_switches_it_off_and_the_switch_turns_it_on_again(client, owner, happen):
    message = happen()[ADA]
    for _ in range(2):
        answer = client.post(_path(message), data=ONE_CLICK)
        assert answer.status_code == 200
        assert "The weekly summary is off" in answer.get_data(as_text=True)
    assert _status(message) is Status.SUPPRESSED
    assert set(happen().values()) == {EmailDecision.OFF}
    shown = owner.get("/automated-emails/owner-weekly-summary").get_data(as_text=True)
    assert "Weekly summary (to you) is off" in shown
    back = {"on": "1", "back": "list"}
    page = "/automated-emails"
    assert owner.submit("/automated-emails/owner-weekly-summary/switch", back, page=page).status_code == 303
    again_owed = happen()
    assert not set(again_owed.values()) & set(EmailDecision)
    assert client.get(_path(message)).status_code == 200
    assert recipients.is_enabled(account_of().id, WEEKLY), "looking at the old address again changes nothing"


@pytest.mark.both_databases
def test_one_click_of_a_further_mailbox_spares_it_the_summaries_alone(client, owner, happen):
    owed = happen()
    for _ in range(2):
        answer = client.post(_path(owed[BO]), data=ONE_CLICK)
        assert answer.status_code == 200
        assert "You are unsubscribed" in answer.get_data(as_text=True)
    assert (_status(owed[BO]), _status(owed[ADA])) == (Status.SUPPRESSED, Status.QUEUED)
    following = happen()
    assert following[BO] is EmailDecision.SUPPRESSED
    assert following[ADA].status is Status.QUEUED
    assert not set(happen(EventType.PURCHASE, BOUGHT).values()) & set(EmailDecision), (
        "what happens is still told"
    )
    page = owner.get("/automated-emails").get_data(as_text=True)
    assert "Unsubscribed from the weekly summary." in page
    row = suppressions.find_suppression(account_of().id, BO)
    assert row.reason is SuppressionReason.UNSUBSCRIBED
    listed = "/affiliates/not-written-to"
    assert owner.submit(f"{listed}/{row.id}/remove", {}, page=listed).status_code == 303
    assert happen()[BO].status is Status.QUEUED


def test_the_button_does_what_one_click_does(client, happen):
    path = _path(happen()[BO])
    assert client.submit(path, {}).status_code == 200
    assert suppressions.find_suppression(account_of().id, BO).reason is SuppressionReason.UNSUBSCRIBED


def test_a_mailbox_that_was_removed_meanwhile_is_told_so_and_nothing_changes(client, happen):
    path = _path(happen()[BO])
    account = account_of()
    recipients.remove_mailbox(account.id, recipients.further_mailboxes(account.id)[0].id)
    for answer in (client.get(path), client.post(path, data=ONE_CLICK)):
        assert answer.status_code == 200
        assert "This address gets no more summaries" in answer.get_data(as_text=True)
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
def test_a_forged_or_altered_address_opens_nothing(client, happen, alter):
    path = _path(happen()[ADA])
    base, _, token = path.rpartition("/")
    forged = f"{base}/{alter(token)}"
    for answer in (client.get(forged), client.post(forged, data=ONE_CLICK)):
        assert answer.status_code == 404
        assert "Page not found" in answer.get_data(as_text=True)
    assert recipients.is_enabled(account_of().id, WEEKLY)


def test_the_address_of_one_account_does_nothing_in_another(client, stranger, happen):
    happen()
    client.post(_path(happen()[ADA]), data=ONE_CLICK)
    assert recipients.is_enabled(account_of("copperpot").id, WEEKLY)


@pytest.mark.parametrize("render_again", [True, False])
def test_another_copy_of_a_summary_can_be_ended_as_well(happen, render_again):
    message = happen()[ADA]
    copy = resend.send(
        message,
        owner_of(),
        ResendRequest(to_owner=True, render_again=render_again, key="a-key-of-a-form"),
        now=utcnow(),
    )
    assert copy.unsubscribe_url == message.unsubscribe_url


def test_the_preview_shows_the_way_out_of_the_summary_alone(owner):
    for kind, has in (("owner-weekly-summary", True), ("owner-new-purchase", False)):
        shown = owner.get(f"/automated-emails/{kind}/html").get_data(as_text=True)
        assert (">Unsubscribe</a>" in shown) is has
        assert "Choose which emails you get" not in shown


def test_the_list_says_of_a_mailbox_on_the_list_that_it_gets_nothing(owner, happen):
    suppressions.add(account_of().id, BO, "", now=utcnow())
    page = owner.get("/automated-emails").get_data(as_text=True)
    assert "Gets none of them: it is on your list of those not written to." in page
    assert db.session.scalar(select(OutboxMessage.id)) is None
