"""An operator's orders over the outbox of all accounts: shown first, then given."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape

import pytest
from flask import Flask
from sqlalchemy import select

from portal.clock import utcnow
from portal.db import db
from portal.operations import orders
from portal.outbox import queue
from portal.outbox.models import OutboxMessage, Queue, Status
from tests.operations.conftest import id_of
from tests.outbox.support import enqueue_message
from tests.pages import LintingClient

PAGE = "/operator/outbox/orders"
HELD = {"code": "login-refused", "cause": "The server did not accept the password.", "whose_move": "owner"}


def statuses() -> list[str]:
    db.session.rollback()
    found = list(db.session.scalars(select(OutboxMessage.status).order_by(OutboxMessage.id)))
    db.session.rollback()
    return [one.value for one in found]


def show(operator: LintingClient, **fields: str) -> str:
    answer = operator.get(PAGE, query_string={"show": "1", "action": "retry", "age": "any", **fields})
    assert answer.status_code == 200
    return " ".join(answer.get_data(as_text=True).split())


def give(operator: LintingClient, page: str) -> str:
    """Press the button of a preview; return the page that follows."""
    form = page[page.index('id="preview"') :]
    names = ("action", "account", "status", "age", "at", "csrf_token")
    fields = {}
    for name in names:
        found = re.search(rf'name="{name}" value="([^"]*)"', form)
        assert found, name
        fields[name] = unescape(found[1])
    answer = operator.post(PAGE, data=fields, follow_redirects=True)
    assert answer.status_code == 200
    return answer.get_data(as_text=True)


def test_a_retry_is_shown_by_account_and_leaves_what_is_queued_later(
    operator: LintingClient, stranger: LintingClient
) -> None:
    own, other = id_of("brightleaf"), id_of("copperpot")
    for number, account_id in enumerate((own, other, other)):
        enqueue_message(account_id, f"m{number}")
    for row in db.session.scalars(select(OutboxMessage)):
        row.status = Status.FAILED
    db.session.commit()
    page = show(operator, status="failed")
    assert "3 emails would be tried again" in page
    assert page.index("copperpot") < page.index("brightleaf"), "the largest first"
    assert statuses() == ["failed"] * 3, "a preview changes nothing"
    late = enqueue_message(own, "late")
    db.session.get_one(OutboxMessage, late).status = Status.FAILED
    db.session.commit()
    assert "Signet is trying 3 emails again" in give(operator, page)
    assert statuses() == ["queued"] * 3 + ["failed"]
    assert "There were no matching emails any more" in give(operator, page), "the second click"


def test_one_account_s_old_emails_are_cancelled(operator: LintingClient, stranger: LintingClient) -> None:
    own, other = id_of("brightleaf"), id_of("copperpot")
    for number, account_id in enumerate((own, other, other)):
        enqueue_message(account_id, f"m{number}")
    rows = db.session.scalars(select(OutboxMessage).order_by(OutboxMessage.id)).all()
    rows[0].created_at = rows[1].created_at = utcnow() - timedelta(hours=25)
    db.session.commit()
    page = show(operator, action="cancel", account="copperpot", age="day")
    assert "One email is cancelled." in give(operator, page)
    assert statuses() == ["queued", "cancelled", "queued"]


def test_a_stopped_queue_is_released(operator: LintingClient, stranger: LintingClient) -> None:
    account_id = id_of("copperpot")
    enqueue_message(account_id, "one")
    queue.hold(account_id, HELD, now=utcnow())
    db.session.commit()
    assert "action=release&amp;account=copperpot" in operator.get("/operator/outbox").get_data(as_text=True)
    assert "Nothing matches" in show(operator, action="release", age="week")
    page = show(operator, action="release", account="copperpot")
    assert "One queue would be released" in page
    assert "One queue is released." in give(operator, page)
    assert db.session.get_one(Queue, account_id).held_at is None
    assert "Nothing matches" in show(operator, action="release")


def test_the_portal_s_own_emails_are_an_account(operator: LintingClient) -> None:
    enqueue_message(None, "own")
    assert "@portal" in show(operator, action="cancel", account="@portal")
    assert "Nothing matches" in show(operator, action="cancel", account="brightleaf")


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"account": "nobody"}, "account"),
        ({"account": "x" * 61}, "account"),
        ({"action": "delete"}, "action"),
        ({"age": "decade"}, "age"),
        ({"status": "held"}, "status"),
        ({"action": "release", "status": "queued"}, "status"),
    ],
)
def test_a_wrong_order_has_an_error_and_changes_nothing(
    operator: LintingClient, fields: dict[str, str], field: str
) -> None:
    enqueue_message(id_of("brightleaf"), "one")
    sent = {"action": "retry", "account": "", "status": "", "age": "any", "at": "x"} | fields
    for answer in (
        operator.get(PAGE, query_string=sent | {"show": "1"}),
        operator.submit(PAGE, sent, page=f"{PAGE}?action=cancel&show=1&age=any"),
    ):
        assert answer.status_code == 422
        assert f'id="{field}-error"' in answer.get_data(as_text=True)
    assert statuses() == ["queued"]


def test_an_order_on_the_page_is_bounded(operator: LintingClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orders, "MAX_EMAILS", 1)
    for key in ("one", "two"):
        enqueue_message(id_of("brightleaf"), key)
    page = show(operator, action="cancel")
    assert "at most 1 emails" in page
    sent = {"action": "cancel", "account": "", "status": "", "age": "any", "at": ""}
    assert operator.submit(PAGE, sent, page="/operator/accounts").status_code == 422
    assert statuses() == ["queued"] * 2
    for at in ("0001-01-01T00:00:00+00:00", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"):
        old = sent | {"age": "week", "at": at}
        assert operator.submit(PAGE, old, page="/operator/accounts").status_code == 303
    assert statuses() == ["queued"] * 2, "no email is that old"


def test_only_operators_give_orders(app: Flask, operator: LintingClient, stranger: LintingClient) -> None:
    enqueue_message(id_of("brightleaf"), "one")
    sent = {"action": "cancel", "account": "", "status": "", "age": "any", "at": ""}
    assert stranger.get(PAGE).status_code == app.test_client().get(PAGE).status_code == 404
    assert stranger.submit(PAGE, sent, page="/account").status_code == 404
    assert operator.post(PAGE, data=sent).status_code == 400, "without the form's token"
    assert statuses() == ["queued"]
