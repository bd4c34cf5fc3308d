"""The advanced settings reach the wire; invalid ones get an error beside their field and nothing typed is lost."""

from __future__ import annotations

import re
import threading
import unicodedata
from dataclasses import replace
from html import unescape

import pytest

from portal.db import db
from portal.outbox.models import Status
from portal.outbox.sending.drain import drain_queue
from portal.settings import credentials
from portal.settings.models import VersionState
from portal.settings.routing import version_route
from portal.state import get_state
from tests.cases import in_one_test
from tests.outbox.support import answering, enqueue_message, in_context, join, message, wait_for
from tests.settings.conftest import PAGE, save, text_of, versions, work

ADVANCED = {
    "ehlo_name": "Mail.Brightleaf.example",
    "envelope_sender": "bounces@return.brightleaf.example",
    "messages_per_connection": "1",
    "reply_seconds": "600",
    "headers": "x-pm-message-stream: broadcast\nX-SES-Configuration-Set: affiliates",
}


def test_advanced_settings_reach_the_server_and_the_message(owner, form, servers):
    assert save(owner, form, **ADVANCED).status_code == 303
    work()
    (version,) = versions()
    assert version.state is VersionState.LIVE
    received = bytes(servers.one.received)
    assert b"EHLO mail.brightleaf.example\r\n" in received
    assert b"MAIL FROM:<bounces@return.brightleaf.example>" in received
    raw = servers.one.messages[-1]
    assert b"From: Brightleaf <info@brightleaf.example>" in raw
    assert b"\r\nX-PM-Message-Stream: broadcast\r\n" in raw
    assert b"\r\nX-SES-CONFIGURATION-SET: affiliates\r\n" in raw


def test_a_return_path_with_a_reference_reaches_the_server(owner, form, servers):
    too_long = save(owner, form, envelope_sender=f"{'b' * 33}{{ref}}@return.brightleaf.example")
    assert too_long.status_code == 422
    assert "is longer than 64" in unescape(text_of(too_long))
    assert save(owner, form, envelope_sender="bounces+{ref}@return.brightleaf.example").status_code == 303
    work()
    assert versions()[-1].state is VersionState.LIVE
    received = bytes(servers.one.received)
    reference = re.search(rb"X-Signet-Ref: ([0-9a-f]{32})", servers.one.messages[-1])[1]
    assert b"MAIL FROM:<bounces+" + reference + b"@return.brightleaf.example>" in received
    assert "bounces+{ref}@return.brightleaf.example" in unescape(text_of(owner.get(PAGE)))


def test_a_refused_return_address_leads_to_its_field(owner, form, servers):
    servers.one.script = answering(RCPT=b"553 5.7.1 Sender address rejected: not owned by user\r\n")
    save(owner, form, envelope_sender="bounces@return.brightleaf.example")
    work()
    page = text_of(owner.get(PAGE))
    assert "The server refused the Return address." in page
    assert "bounces@return.brightleaf.example" in page
    assert 'id="envelope_sender-error"' in page
    assert re.search(r'id="advanced"\s+open', page)


def test_the_form_shows_the_saved_advanced_settings(owner, form):
    save(owner, form, **ADVANCED)
    page = unescape(text_of(owner.get(PAGE)))
    for value in (
        "mail.brightleaf.example",
        "bounces@return.brightleaf.example",
        "X-PM-Message-Stream: broadcast",
    ):
        assert value in page
    assert save(owner, form, password="", **ADVANCED).status_code == 303
    columns = ("ehlo_name", "envelope_sender", "messages_per_connection", "reply_seconds", "headers")
    one, two = versions()
    assert [getattr(one, name) for name in columns] == [getattr(two, name) for name in columns]


def test_a_connection_carries_as_many_messages_as_the_settings_say(owner, form, servers):
    save(owner, form, messages_per_connection="2")
    work()
    before = servers.one.connections
    for number in range(5):
        enqueue_message(versions()[0].account_id, f"m{number}")
    drain_queue(versions()[0].account_id)
    assert len(servers.one.messages) == 6
    assert servers.one.connections - before == 3


def test_a_provider_s_card_presets_the_messages_of_a_connection(app, owner, form):
    known = {"provider": "sendgrid", "host": "smtp.sendgrid.net", "port": "587", "security": "starttls"}
    save(owner, form, **known, username="apikey")
    save(owner, form, **known, username="apikey", password="", messages_per_connection="7")
    routes = [version_route(db.session.merge(version)) for version in versions()]
    assert [route.messages_per_connection for route in routes] == [5000, 7]
    assert "opens a new connection. If empty: 5,000." in text_of(owner.get(PAGE))


def test_an_ehlo_name_belongs_to_the_server(owner, form):
    save(owner, form, ehlo_name="mail.brightleaf.example")
    save(owner, form, ehlo_name="mail.brightleaf.example", host="smtp.example.com", port="587")
    save(owner, form, ehlo_name="new.brightleaf.example", host="smtp.example.org", port="587")
    assert [version.ehlo_name for version in versions()] == [
        "mail.brightleaf.example",
        "",
        "new.brightleaf.example",
    ]


@in_one_test(
    ("field", "value"),
    [
        ("ehlo_name", "portal example"),
        ("ehlo_name", "[not-an-address]"),
        ("ehlo_name", "[IPv6:fe80::1%é and more]"),
        ("envelope_sender", "bounces"),
        ("messages_per_connection", "0"),
        ("messages_per_connection", "many"),
        ("messages_per_connection", "1001"),
        ("reply_seconds", "59"),
        ("reply_seconds", "601"),
        ("reply_seconds", "٦٠"),
        ("headers", "Bcc: eve@example.net"),
        ("headers", "X-SMTPAPI: {}"),
        ("headers", "X-PM-Tag"),
        ("headers", "X-PM-Tag: ä"),
        ("headers", "X-PM-Tag: " + "x" * 201),
        ("headers", "X-PM-Tag: a\nx-pm-tag: b"),
        ("headers", "\n".join(f"X-{name}: 1" for name in "ABCDEF")),
        ("headers", "X-PM-Tag: a\rBcc: eve@example.net"),
        ("headers", "x" * 3000),
    ],
)
def test_an_invalid_advanced_value_has_an_error_beside_its_field_in_the_open_part(owner, form, field, value):
    answer = save(owner, form, **{field: value})
    html = text_of(answer)
    assert answer.status_code == 422
    assert f'id="{field}-error"' in html
    assert re.search(r'id="advanced"\s+open', html)
    assert not versions()


def test_an_address_becomes_a_literal_that_servers_read(owner, form):
    typed = ("[192.0.2.1]", "192.0.2.1", "[2001:db8::1]", "2001:db8::1", "[ipv6:2001:DB8:0::1]")
    for one in typed:
        assert save(owner, form, ehlo_name=one).status_code == 303
    assert [one.ehlo_name for one in versions()] == [*["[192.0.2.1]"] * 2, *["[IPv6:2001:db8::1]"] * 3]


def test_at_most_five_headers_are_kept(owner, form):
    names = ["X-PM-Tag", "X-Mailgun-Tag", "X-MC-Tags", "X-Mailin-Tag", "Feedback-ID", "X-MJ-CustomID"]
    text = "\n".join(f"{name}: 1" for name in names)
    assert save(owner, form, headers=text).status_code == 422
    assert save(owner, form, headers=text.rpartition("\n")[0]).status_code == 303
    assert len(versions()[0].headers) == 5


def test_a_password_is_composed_before_it_is_sealed(owner, form):
    typed = unicodedata.normalize("NFD", "pässwörd")
    save(owner, form, password=f"{typed}\u00a0x")
    assert credentials.open_password(versions()[0]) == "pässwörd x"


def test_a_refused_password_beyond_ascii_gets_a_hint(owner, form, servers):
    servers.one.script = answering(AUTH=b"535 5.7.8 Username and Password not accepted\r\n")
    save(owner, form, password="pässwörd")
    work()
    assert "characters that servers store in different ways" in text_of(owner.get(PAGE))
    save(owner, form, password="plain")
    work()
    assert "characters that servers store in different ways" not in text_of(owner.get(PAGE))


@pytest.fixture
def slow(app, owner, form, servers):
    """Live settings with a long reply time, whose server accepts a message only after its lease and deadline."""
    save(owner, form, reply_seconds="600")
    work()
    state = get_state(app)
    state.config = replace(state.config, lease=6.0, limits=replace(state.config.limits, deadline=4.5))
    servers.one.script = answering(DOT=_accept_late)
    return versions()[0]


def _accept_late(peer, _line):
    peer.pause(10)
    peer.send(b"250 2.0.0 Ok: queued as late1\r\n")


@pytest.mark.thorough
def test_a_server_that_accepts_after_the_lease_gets_each_message_once(app, slow, servers):
    id_ = enqueue_message(slow.account_id, "m")
    before = len(servers.one.messages)
    thread = threading.Thread(target=in_context(app, drain_queue, slow.account_id))
    thread.start()
    wait_for(lambda: len(servers.one.messages) > before)
    while thread.is_alive():  # another worker looks for work all the time
        drain_queue(slow.account_id)
        thread.join(0.5)
    join(thread)
    assert message(id_).status is Status.SENT
    assert len(servers.one.messages) == before + 1


@pytest.mark.thorough
def test_a_check_waits_for_a_server_that_accepts_after_the_lease(app, owner, slow, servers):
    before = len(servers.one.messages)
    owner.submit(f"{PAGE}/versions/1/check", {}, page=PAGE)
    work()
    assert len(servers.one.messages) == before + 1
    assert "steps passed" in text_of(owner.get(PAGE))
