"""Which way an account's mail takes, and that the portal's own mail never takes an account's."""

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

SECRET_LINK = "http://127.0.0.1/reset/a-link-nobody-else-may-see"


def raw(server):
    return bytes(server.messages[-1])


def test_the_platform_sends_for_the_programme_with_replies_to_the_owner(owner, servers):
    enqueue_message(account_id(), "m")
    drain_queue(account_id())
    sent = raw(servers.two)
    assert b"From: Brightleaf via Signet <affiliates@signet.example>" in sent
    assert b"Reply-To: ada@brightleaf.example" in sent
    assert b"MAIL FROM:<affiliates@signet.example>" in bytes(servers.two.received)
    assert b"signet.example>" in next(line for line in sent.split(b"\r\n") if line.startswith(b"Message-ID"))


def test_a_live_version_sends_as_the_owner_s_own_domain(owner, live, servers):
    enqueue_message(live.account_id, "m")
    drain_queue(live.account_id)
    sent = raw(servers.one)
    assert b"From: Brightleaf <info@brightleaf.example>" in sent
    assert b"Reply-To" not in sent
    assert not servers.two.messages


def test_the_portal_s_own_mail_never_takes_an_account_s_server(owner, live, servers):
    before = servers.one.connections
    ident = enqueue_message(None, "reset:1", text=SECRET_LINK, html="")
    drain_queue(0)
    assert message(ident).status is Status.SENT
    assert servers.one.connections == before
    assert b"From: Signet <affiliates@signet.example>" in raw(servers.two)
    assert b"a-link-nobody-else-may-see" in raw(servers.two)


def test_the_portal_s_own_mail_does_not_go_elsewhere_when_its_server_is_down(owner, live, servers):
    servers.two.script = answering(GREETING=b"421 4.3.2 Too busy\r\n")
    before = servers.one.connections
    enqueue_message(None, "reset:1", text=SECRET_LINK)
    drain_queue(0)
    assert servers.one.connections == before


@pytest.mark.parametrize("verdict", [b"250 2.0.0 Ok\r\n", b"554 5.6.0 Refused\r\n"])
def test_the_portal_s_own_mail_is_sealed_and_then_wiped(app, owner, servers, config, verdict):
    servers.two.script = answering(DOT=verdict)
    ident = enqueue_message(None, "reset:1", text=SECRET_LINK, html=f"<a href='{SECRET_LINK}'>x</a>")
    row = message(ident)
    assert "a-link" not in row.text + row.html + row.subject
    drain_queue(0)
    row = message(ident)
    assert row.status in (Status.SENT, Status.FAILED)
    assert (row.text, row.html) == ("", "")
    assert "a-link" not in attempts(ident)[0].transcript


def test_the_portal_s_own_mail_is_in_nobody_s_deliveries(owner, live, servers):
    ident = enqueue_message(
        None, "reset:1", recipient="ada@brightleaf.example", subject="Choose a new password"
    )
    drain_queue(0)
    assert "Choose a new password" not in owner.get("/deliveries").get_data(as_text=True)
    assert owner.get(f"/deliveries/{ident}").status_code == 404


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


def test_trouble_of_the_platform_holds_its_own_queue_only(owner, live, servers):
    servers.two.script = answering(AUTH=b"535 5.7.8 no\r\n")
    enqueue_message(None, "reset:1")
    enqueue_message(live.account_id, "m")
    drain_queue(0)
    drain_queue(live.account_id)
    assert queue(None).held_at
    assert queue(live.account_id).held_at is None
    assert "Welcome, m" in subjects(servers.one)


def test_without_any_sender_mail_waits_and_says_why(app, owner):
    config = get_state(app).config
    get_state(app).config = replace(config, platform=replace(config.platform, server=""))
    ident = enqueue_message(account_id(), "m")
    drain_queue(account_id())
    assert message(ident).status is Status.HELD
    assert queue(account_id()).hold_diagnosis["code"] == "no-platform-sender"
    assert "Nobody sends at the moment" in owner.get("/settings/email-preferences").get_data(as_text=True)


def test_a_version_of_another_account_is_no_way_out(owner, live):
    with pytest.raises(NoRoute):
        routing.route_for(live.account_id + 1, live.id)


def test_the_trouble_is_said_on_every_page(owner, live, servers):
    servers.one.script = answering(AUTH=b"535 5.7.8 no\r\n")
    enqueue_message(live.account_id, "m")
    drain_queue(live.account_id)
    because = queue(live.account_id).hold_diagnosis
    for page in ("/settings/email-preferences", "/deliveries"):
        html = owner.get(page).get_data(as_text=True)
        assert "1 email has waited" in html
        assert because["cause"][:20] in html
