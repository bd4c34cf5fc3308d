"""Which notices an account sends, and the further mailboxes for the notices to its owner."""

from __future__ import annotations

import re
import threading
from dataclasses import replace
from datetime import timedelta
from urllib.parse import urlsplit

import pytest
import time_machine
from sqlalchemy import select

from portal.clock import utcnow
from portal.db import db
from portal.notices import further_mailboxes, recipients
from portal.notices.catalogue import NEW_SIGN_UP
from portal.notices.models import NoticeSwitch
from portal.outbox.models import OutboxMessage
from portal.state import KEY
from tests.accounts.conftest import portal_emails
from tests.notices.conftest import account_of

LIST = "/automated-emails"


def _add(browser, mailbox):
    return browser.submit(f"{LIST}/mailboxes", {"mailbox": mailbox}, page=LIST)


def _path(text):
    """Return the path of the link in the email that asks for the confirmation."""
    (link,) = re.findall(r"https?://\S+", text)
    return urlsplit(link).path


def _asked():
    """Return recipient and path of each email that asks for a confirmation, the oldest first."""
    return [(recipient, _path(text)) for recipient, text in portal_emails("confirm-mailbox")]


def test_a_further_mailbox_gets_the_emails_to_the_owner_once_its_reader_presses_the_button(owner, client):
    assert _add(owner, "team@Brightleaf.example").status_code == 303
    ada = ("ada@brightleaf.example", "Ada Fairweather", "en")
    assert recipients.recipients_of(account_of()) == [ada]
    page = owner.get(LIST).get_data(as_text=True)
    assert "team@brightleaf.example" in page
    assert "Not confirmed" in page
    ((recipient, path),) = _asked()
    assert recipient == "team@brightleaf.example"
    client.get(path)
    assert recipients.recipients_of(account_of()) == [ada], "a mail scanner that opens links must not confirm"
    assert client.submit(path, {}).status_code == 303
    assert "The address is confirmed" in client.get(path).get_data(as_text=True)
    assert recipients.recipients_of(account_of()) == [ada, ("team@brightleaf.example", "", "en")]
    assert "Not confirmed" not in owner.get(LIST).get_data(as_text=True)


def test_a_link_expires_and_a_new_one_ends_the_old(owner, client):
    _add(owner, "team@brightleaf.example")
    ((_, old),) = _asked()
    with time_machine.travel(utcnow() + timedelta(days=7, minutes=1)):
        assert client.get(old).status_code == 404
    mailbox_id = further_mailboxes.find_all(account_of().id)[0].id
    assert owner.submit(f"{LIST}/mailboxes/{mailbox_id}/send-again", {}, page=LIST).status_code == 303
    (_, new) = _asked()[-1]
    assert client.get(old).status_code == 404
    assert client.get(new).status_code == 200


@pytest.mark.parametrize("token", ["x", "a" * 5000, "%00", "é"])
def test_an_invented_link_is_not_found(client, token):
    assert client.get(f"{LIST}/mailboxes/confirm/{token}").status_code == 404


def test_a_stranger_gets_three_of_these_emails_a_day_in_whatever_spelling(owner, stranger):
    for number in range(4):
        for browser in (owner, stranger):
            _add(browser, f"vic.tim+{number}@example.org")
    assert len(_asked()) == 3


def test_adding_and_removing_does_not_send_more(owner):
    for _ in range(6):
        _add(owner, "victim@example.org")
        for row in further_mailboxes.find_all(account_of().id):
            owner.submit(f"{LIST}/mailboxes/{row.id}/remove", {}, page=LIST)
    assert len(_asked()) == 3


def test_the_email_holds_no_name_of_an_unapproved_account(owner):
    account = account_of()
    account.approved_at = None
    db.session.commit()
    _add(owner, "team@brightleaf.example")
    ((_, text),) = portal_emails("confirm-mailbox")
    assert "Brightleaf" not in text


def test_the_link_is_not_shown_to_the_owner_where_the_portal_has_no_sender(app, owner):
    state = app.extensions[KEY]
    state.config = replace(state.config, platform=replace(state.config.platform, server=""))
    _add(owner, "team@brightleaf.example")
    message = db.session.scalars(select(OutboxMessage).where(OutboxMessage.kind == "confirm-mailbox")).one()
    assert message.account_id == account_of().id
    token = _path(message.text).rsplit("/", 1)[1]
    assert token not in owner.get(f"/deliveries/{message.id}").get_data(as_text=True)


@pytest.mark.parametrize(
    "invalid", ["", "no-domain", "a@b@c.example", "ADA@brightleaf.example", "a b@c.example"]
)
def test_an_invalid_or_known_mailbox_is_refused(owner, invalid):
    answer = _add(owner, invalid)
    assert answer.status_code == 422
    assert further_mailboxes.find_all(account_of().id) == []


def test_an_account_has_at_most_five_further_mailboxes(owner):
    for number in range(5):
        _add(owner, f"m{number}@brightleaf.example")
    page = owner.get(LIST).get_data(as_text=True)
    assert "which is the maximum" in page
    assert _add(owner, "one@more.example").status_code == 422
    assert len(further_mailboxes.find_all(account_of().id)) == 5


def test_a_mailbox_is_removed_only_by_its_own_account(owner, stranger, client):
    _add(owner, "team@brightleaf.example")
    mailbox_id = further_mailboxes.find_all(account_of().id)[0].id
    path = f"{LIST}/mailboxes/{mailbox_id}/remove"
    assert client.post(path).status_code in (303, 400)
    assert stranger.submit(path, {}, page=LIST).status_code == 404
    assert len(further_mailboxes.find_all(account_of().id)) == 1
    assert owner.submit(path, {}, page=LIST).status_code == 303
    assert further_mailboxes.find_all(account_of().id) == []


def test_concurrent_first_switches_insert_one_row(app, owner):
    account_id, failures = account_of().id, []
    db.session.commit()
    barrier = threading.Barrier(6)

    def switch_off() -> None:
        with app.app_context():
            barrier.wait()
            try:
                recipients.set_enabled(account_id, NEW_SIGN_UP, enabled=False)
            except Exception as failure:
                failures.append(failure)
            finally:
                db.session.remove()

    threads = [threading.Thread(target=switch_off) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert [row.enabled for row in db.session.scalars(select(NoticeSwitch))] == [False]
