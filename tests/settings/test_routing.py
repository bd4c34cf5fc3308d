"""The route of an account's mail; the portal's own mail never uses an account's route."""

from dataclasses import replace

import pytest
from sqlalchemy import text

from portal.db import db
from portal.outbox.models import Status
from portal.outbox.routing import NoRoute
from portal.outbox.sending.drain import drain_queue
from portal.settings import routing
from portal.state import get_state
from tests.outbox.support import answering, attempts, enqueue_message, message, queue, subjects
from tests.settings.conftest import account_id

SECRET_LINK = "http://127.0.0.1/reset/a-secret-link"


def raw(server):
    return bytes(server.messages[-1])


def test_the_platform_sends_in_the_name_of_the_programme_with_replies_to_the_owner(owner, servers):
    enqueue_message(account_id(), "m")
    drain_queue(account_id())
    sent = raw(servers.two)
    assert b"From: Brightleaf via Signet <affiliates@signet.example>" in sent
    assert b"Reply-To: ada@brightleaf.example" in sent
    assert b"MAIL FROM:<affiliates@signet.example>" in bytes(servers.two.received)
    assert b"signet.example>" in next(line for line in sent.split(b"\r\n") if line.startswith(b"Message-ID"))


def test_a_live_version_sends_from_the_owner_s_own_domain(owner, live, servers):
    enqueue_message(live.account_id, "m")
    drain_queue(live.account_id)
    sent = raw(servers.one)
    assert b"From: Brightleaf <info@brightleaf.example>" in sent
    assert b"Reply-To" not in sent
    assert not servers.two.messages


def test_the_portal_s_own_mail_never_uses_an_account_s_server(owner, live, servers):
    before = servers.one.connections
    id_ = enqueue_message(None, "reset:1", text=SECRET_LINK, html="")
    drain_queue(0)
    assert message(id_).status is Status.SENT
    assert servers.one.connections == before
    assert b"From: Signet <affiliates@signet.example>" in raw(servers.two)
    assert b"a-secret-link" in raw(servers.two)


def test_the_portal_s_own_mail_uses_no_other_server_when_its_own_is_down(owner, live, servers):
    servers.two.script = answering(GREETING=b"421 4.3.2 Too busy\r\n")
    before = servers.one.connections
    enqueue_message(None, "reset:1", text=SECRET_LINK)
    drain_queue(0)
    assert servers.one.connections == before


@pytest.mark.parametrize("reply", [b"250 2.0.0 Ok\r\n", b"554 5.6.0 Refused\r\n"])
def test_the_portal_s_own_mail_is_sealed_and_then_wiped(app, owner, servers, config, reply):
    servers.two.script = answering(DOT=reply)
    id_ = enqueue_message(None, "reset:1", text=SECRET_LINK, html=f"<a href='{SECRET_LINK}'>x</a>")
    row = message(id_)
    assert "a-secret-link" not in row.text + row.html + row.subject
    drain_queue(0)
    row = message(id_)
    assert row.status in (Status.SENT, Status.FAILED)
    assert (row.text, row.html) == ("", "")
    assert "a-secret-link" not in attempts(id_)[0].transcript


def test_the_portal_s_own_mail_is_not_in_an_owner_s_delivery_log(owner, live, servers):
    id_ = enqueue_message(
        None, "reset:1", recipient="ada@brightleaf.example", subject="Choose a new password"
    )
    drain_queue(0)
    assert "Choose a new password" not in owner.get("/deliveries").get_data(as_text=True)
    assert owner.get(f"/deliveries/{id_}").status_code == 404


def test_a_body_moved_to_another_message_does_not_open(owner, servers):
    mine, theirs = (
        enqueue_message(None, "reset:1", text=SECRET_LINK),
        enqueue_message(None, "reset:2", text="Hello"),
    )
    body = message(mine).text
    db.session.execute(
        text("UPDATE outbox_message SET text = :body WHERE id = :id"), {"body": body, "id": theirs}
    )
    db.session.commit()
    drain_queue(0)
    assert message(theirs).status is Status.FAILED
    assert len(servers.two.messages) == 1


def test_a_failure_of_the_platform_s_server_holds_its_own_queue_only(owner, live, servers):
    servers.two.script = answering(AUTH=b"535 5.7.8 no\r\n")
    enqueue_message(None, "reset:1")
    enqueue_message(live.account_id, "m")
    drain_queue(0)
    drain_queue(live.account_id)
    assert queue(None).held_at
    assert queue(live.account_id).held_at is None
    assert "Welcome, m" in subjects(servers.one)


def test_without_a_route_mail_is_held_with_a_reason(app, owner):
    config = get_state(app).config
    get_state(app).config = replace(config, platform=replace(config.platform, server=""))
    id_ = enqueue_message(account_id(), "m")
    drain_queue(account_id())
    assert message(id_).status is Status.HELD
    assert queue(account_id()).hold_diagnosis["code"] == "no-platform-sender"
    page = owner.get("/settings/email-preferences").get_data(as_text=True)
    assert 'data-code="no-sender"' in page
    assert "This portal has no sender of its own yet" in page


def test_a_version_of_another_account_is_no_route(owner, live):
    with pytest.raises(NoRoute):
        routing.route_for(live.account_id + 1, live.id)


def test_a_held_queue_is_shown_on_every_page(owner, live, servers):
    servers.one.script = answering(AUTH=b"535 5.7.8 no\r\n")
    enqueue_message(live.account_id, "m")
    drain_queue(live.account_id)
    diagnosis = queue(live.account_id).hold_diagnosis
    for page in ("/settings/email-preferences", "/deliveries"):
        html = owner.get(page).get_data(as_text=True)
        assert "1 email waiting" in html
        assert diagnosis["cause"][:20] in html
