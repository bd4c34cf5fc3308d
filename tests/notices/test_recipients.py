"""Which notices an account sends, and the further mailboxes for the notices to its owner."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import select

from portal.db import db
from portal.notices import recipients
from portal.notices.catalogue import NEW_SIGN_UP
from portal.notices.models import NoticeSwitch
from tests.notices.conftest import account_of

LIST = "/automated-emails"


def _add(browser, mailbox):
    return browser.submit(f"{LIST}/mailboxes", {"mailbox": mailbox}, page=LIST)


def test_further_mailboxes_get_the_emails_to_the_owner(owner):
    assert _add(owner, "team@Brightleaf.example").status_code == 303
    assert recipients.recipients_of(account_of()) == [
        ("ada@brightleaf.example", "Ada Fairweather"),
        ("team@brightleaf.example", ""),
    ]
    assert "team@brightleaf.example" in owner.get(LIST).get_data(as_text=True)


@pytest.mark.parametrize(
    "invalid", ["", "no-domain", "a@b@c.example", "ADA@brightleaf.example", "a b@c.example"]
)
def test_an_invalid_or_known_mailbox_is_refused(owner, invalid):
    answer = _add(owner, invalid)
    assert answer.status_code == 422
    assert recipients.further_mailboxes(account_of().id) == []


def test_an_account_has_at_most_five_further_mailboxes(owner):
    for number in range(5):
        _add(owner, f"m{number}@brightleaf.example")
    page = owner.get(LIST).get_data(as_text=True)
    assert "as many as there can be" in page
    assert _add(owner, "one@more.example").status_code == 422
    assert len(recipients.further_mailboxes(account_of().id)) == 5


def test_a_mailbox_is_removed_only_by_its_own_account(owner, stranger, client):
    _add(owner, "team@brightleaf.example")
    mailbox_id = recipients.further_mailboxes(account_of().id)[0].id
    path = f"{LIST}/mailboxes/{mailbox_id}/remove"
    assert client.post(path).status_code in (303, 400)
    assert stranger.submit(path, {}, page=LIST).status_code == 404
    assert len(recipients.further_mailboxes(account_of().id)) == 1
    assert owner.submit(path, {}, page=LIST).status_code == 303
    assert recipients.further_mailboxes(account_of().id) == []


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
