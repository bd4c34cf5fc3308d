"""SMTP Authentication: none, for relays that go by the portal's address, and the operator's rules for it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from portal.config import ConfigError
from portal.outbox.models import Status
from portal.outbox.sending.drain import drain_queue
from portal.settings import credentials
from portal.settings.models import VersionState
from portal.smtp.failure import Reason, Stage, SubmissionFailure
from portal.smtp.network.dial import takes_mail_without_login
from portal.smtp.network.guard import EgressPolicy
from portal.smtp.protocol.session import Session
from portal.smtp.server import Mechanism, Security
from tests.conftest import make_config
from tests.outbox.support import answering, enqueue_message, message
from tests.settings.conftest import PAGE, save, text_of, versions, work
from tests.smtp.badserver import BadServer, serve_correctly, server_at

NO_AUTH = (b"SIZE 100000", b"8BITMIME", b"ENHANCEDSTATUSCODES")


@pytest.fixture
def relay(form, servers):
    """The form for a server in the operator's network that offers no log-in."""
    servers.one.script = lambda peer: serve_correctly(peer, offers=NO_AUTH, security=Security.IMPLICIT_TLS)
    return form | {"mechanism": "none", "username": "", "password": "", "domain": "brightleaf.example"}


def test_a_listed_server_sends_without_a_log_in(owner, relay, servers):
    assert save(owner, relay).status_code == 303
    work()
    (version,) = versions()
    assert version.state is VersionState.LIVE
    assert b"AUTH" not in bytes(servers.one.received)
    page = text_of(owner.get(PAGE))
    assert "lets us send as info@brightleaf.example without a log-in." in page
    assert "no log-in" in page
    assert "8 steps passed. The server accepted the test email." in page
    id_ = enqueue_message(version.account_id, "m")
    drain_queue(version.account_id)
    assert message(id_).status is Status.SENT


def test_username_and_password_are_not_stored(owner, relay):
    save(owner, relay, username="ada@brightleaf.example", password="typed before")
    (version,) = versions()
    assert version.username == ""
    assert credentials.open_password(version) == ""


def test_a_domain_is_needed_because_there_is_no_username(owner, relay):
    answer = save(owner, relay, domain="", username="ada@brightleaf.example")
    assert answer.status_code == 422
    assert "Enter the domain your emails should come from" in text_of(answer)


def test_with_a_log_in_again_the_password_is_asked_for(owner, relay):
    save(owner, relay)
    answer = save(owner, relay, mechanism="automatic", username="ada@brightleaf.example")
    assert answer.status_code == 422
    assert "Enter the SMTP password." in text_of(answer)


def test_a_missing_username_names_the_choice_of_no_log_in_where_the_server_may_do_without(owner, form):
    relay = {
        "provider": "google-relay",
        "host": "smtp-relay.gmail.com",
        "port": "587",
        "security": "starttls",
    }
    page = text_of(save(owner, form, **relay, username="", password=""))
    assert "choose None under SMTP Authentication instead." in page
    assert "choose None" not in text_of(save(owner, form, username="", password=""))


def test_a_relay_by_address_needs_no_allowance(owner, form):
    assert takes_mail_without_login("smtp-relay.gmail.com", EgressPolicy())
    assert not takes_mail_without_login("smtp.gmail.com", EgressPolicy())
    assert takes_mail_without_login(
        "relay.example.com", EgressPolicy(hosts_without_login=frozenset({"relay.example.com"}))
    )


def test_the_operator_lists_public_relays_by_name(tmp_path):
    env = {"SIGNET_SMTP_WITHOUT_LOGIN": "Relay.example.com, relay2.example.com"}
    policy = make_config(tmp_path / "a", env=env).policy
    assert policy.hosts_without_login == {"relay.example.com", "relay2.example.com"}
    with pytest.raises(ConfigError, match="SIGNET_SMTP_WITHOUT_LOGIN"):
        make_config(tmp_path / "b", env={"SIGNET_SMTP_WITHOUT_LOGIN": "https://relay.example.com"})


def test_mail_to_a_public_server_without_a_log_in_is_refused_before_it_is_sent():
    with BadServer(lambda peer: serve_correctly(peer, offers=NO_AUTH)) as running:
        server = server_at(running.port, username=None, mechanism=Mechanism.NONE)
        session = Session(server)
        session.open()
        session.close()  # a private target needs no allowance
        session = Session(server)
        session._dial = lambda dial=session._dial: _as_public(session, dial)
        with pytest.raises(SubmissionFailure) as failure:
            session.open()
        running.wait_until_disconnected()
    assert (failure.value.stage, failure.value.reason) == (Stage.AUTH, Reason.LOGIN_REQUIRED)
    assert b"MAIL" not in bytes(running.received)


def _as_public(session, dial):
    """Connect to loopback, and take it for a public address: tests reach no other."""
    connection = dial()
    session._peer = replace(session._peer, needs_login=True)
    return connection


def test_a_refusal_without_a_log_in_is_explained(owner, relay, servers):
    servers.one.script = answering(
        MAIL=b"530 5.7.0 Authentication required\r\n",
    )
    save(owner, relay)
    work()
    page = text_of(owner.get(PAGE))
    assert "Without a log-in, this server will not take mail" in page


def test_a_relay_that_demands_a_log_in_leads_to_the_choice_of_the_log_in(owner, relay, servers):
    """The form shows no fields for username and password while there is no log-in."""
    servers.one.script = answering(MAIL=b"530 5.7.0 Must issue AUTH first\r\n")
    save(owner, relay)
    work()
    page = text_of(owner.get(PAGE))
    assert "Choose Automatic under SMTP Authentication, and enter username and password." in page
    assert 'id="mechanism-error"' in page
    assert 'id="username-error"' not in page
