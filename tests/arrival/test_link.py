"""A test email has a link *It arrived*; the button behind it marks the email received."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import time_machine
from flask import Flask
from sqlalchemy import select

from portal.accounts.tokens import hash_token
from portal.arrival import proofs
from portal.arrival.models import TestEmail
from portal.clock import utcnow
from portal.db import db
from portal.outbox.models import OutboxMessage
from tests.arrival.conftest import LINK, PAGE, link_of, the_test
from tests.outbox.support import answering
from tests.pages import LintingClient, csrf_token
from tests.settings.conftest import PAGE as SETTINGS
from tests.settings.conftest import Servers, save, text_of, work

pytestmark = pytest.mark.both_databases


def press(browser: LintingClient, link: str) -> int:
    page = browser.get(link).get_data(as_text=True)
    return browser.post(link, data={"csrf_token": csrf_token(page)}).status_code


def test_a_check_records_what_its_test_email_was_sent_as(checked: TestEmail) -> None:
    assert checked.version_number == 1
    assert checked.sender == "Brightleaf <info@brightleaf.example>"
    assert checked.return_path == "info@brightleaf.example"
    assert checked.header_id.endswith("@brightleaf.example>")
    assert checked.sent_at is not None
    assert checked.received_at is None


def test_the_link_changes_nothing_and_its_button_marks_the_email_received(
    app: Flask, owner: LintingClient, checked: TestEmail, client: LintingClient
) -> None:
    link = link_of(checked)
    token = link.rpartition("/")[2]
    assert checked.token_hash == hash_token(token), "only a hash is stored"
    for _ in range(2):
        answer = client.get(link)
        assert answer.status_code == 200
        assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert the_test().received_at is None, "scanners of mail servers open links"
    assert "Not confirmed yet" in text_of(owner.get(PAGE))
    assert press(client, link) == 303
    first = the_test().received_at
    assert first is not None
    page = text_of(client.get(link))
    assert "marked as received" in page
    assert "<form" not in page
    assert "Not confirmed yet" not in text_of(owner.get(PAGE))
    assert "Received" in text_of(owner.get(SETTINGS))


def test_a_second_click_is_fine_and_keeps_the_first_time(checked: TestEmail, client: LintingClient) -> None:
    link = link_of(checked)
    page = client.get(link).get_data(as_text=True)
    form = {"csrf_token": csrf_token(page)}
    assert client.post(link, data=form).status_code == 303
    first = the_test().received_at
    with time_machine.travel(utcnow() + timedelta(minutes=9)):
        assert client.post(link, data=form).status_code == 303
    assert the_test().received_at == first
    with time_machine.travel(utcnow() + timedelta(days=30)):
        assert client.get(link).status_code == 200, "a used link does not expire"
        assert proofs.mark_received(link.rpartition("/")[2], now=utcnow())
    assert the_test().received_at == first


def test_many_clicks_at_once_mark_it_once(app: Flask, checked: TestEmail) -> None:
    token = link_of(checked).rpartition("/")[2]

    def click(_: int) -> bool:
        with app.app_context():
            try:
                return proofs.mark_received(token, now=utcnow())
            finally:
                db.session.remove()

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(click, range(8)))
    assert the_test().received_at is not None


def test_an_expired_link_does_nothing(checked: TestEmail, client: LintingClient) -> None:
    link = link_of(checked)
    page = client.get(link).get_data(as_text=True)
    with time_machine.travel(utcnow() + proofs.LINK_LIFETIME):
        answer = client.get(link)
        assert answer.status_code == 410
        assert "expired" in text_of(answer)
        client.post(link, data={"csrf_token": csrf_token(page)})
    assert the_test().received_at is None


def test_an_unknown_link_is_not_found_and_a_button_needs_its_token(
    checked: TestEmail, client: LintingClient
) -> None:
    assert client.get("/arrived/" + "A" * 43).status_code == 404
    assert client.post(link_of(checked)).status_code == 400
    assert the_test().received_at is None


def test_test_emails_of_settings_and_editor_have_a_link_and_others_have_none(
    owner: LintingClient, checked: TestEmail
) -> None:
    owner.submit(f"{SETTINGS}/test", {"recipient": ""}, page=SETTINGS)
    text = {"subject": "Hi", "html": "<p>{{ link }} {{ first_name }}</p>", "text": "", "operation": "test"}
    assert owner.submit("/automated-emails/new-sign-up", text).status_code == 303
    work()
    db.session.rollback()
    rows = db.session.scalars(select(OutboxMessage).order_by(OutboxMessage.id)).all()
    assert [len(LINK.findall(row.text)) for row in rows] == [1, 1, 1]
    assert len({LINK.findall(row.text)[0] for row in rows}) == 3
    assert text_of(owner.get(PAGE)).count("Not confirmed yet") == 3
    assert "/arrived/" not in text_of(owner.get("/automated-emails/new-sign-up/html")), "not in a preview"


def test_a_failed_check_is_not_listed(owner: LintingClient, form: dict[str, str], servers: Servers) -> None:
    servers.one.script = answering(AUTH=b"535 5.7.8 no\r\n")
    save(owner, form)
    work()
    assert the_test().sent_at is None
    assert "No test email yet" in text_of(owner.get(PAGE))


def test_another_account_sees_nothing_of_it(stranger: LintingClient, checked: TestEmail) -> None:
    page = text_of(stranger.get(PAGE))
    assert "No test email yet" in page
    assert "brightleaf.example" not in page


def test_unused_rows_are_deleted_after_a_month(checked: TestEmail, client: LintingClient) -> None:
    later = utcnow() + timedelta(days=31)
    press(client, link_of(checked))
    proofs.delete_unused(later)
    assert the_test().id == checked.id
    db.session.get_one(TestEmail, checked.id).received_at = None
    db.session.commit()
    proofs.delete_unused(later)
    assert db.session.scalars(select(TestEmail)).all() == []
