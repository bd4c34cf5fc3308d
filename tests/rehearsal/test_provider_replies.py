"""Simulated providers: reached through host overrides, recognised by SNI, with the replies of the real providers."""

import dataclasses
import smtplib
import socket
import ssl
from dataclasses import replace

import pytest

from portal.rehearsal import server
from portal.rehearsal.listeners import HOST, PASSWORD, ListenerKind
from portal.rehearsal.provider_replies import APP_PASSWORD, PROVIDERS, Login, describe_hosts, refusal_for
from portal.smtp.diagnosis.diagnose import diagnose
from portal.smtp.failure import Reason, Stage, SubmissionFailure
from portal.smtp.protocol.session import Session
from portal.smtp.server import Secret, Security, Server
from portal.state import get_state

from .conftest import TIMEOUT_S, config_in

NAMES = [host for one in PROVIDERS for host in one.hosts]
STARTTLS, IMPLICIT = Security.STARTTLS, Security.IMPLICIT_TLS
SPACED = "abcd efgh ijkl mnop"


@pytest.fixture(scope="module")
def simulating(tmp_path_factory):
    """Configuration of a portal whose rehearsal server simulates every provider that has replies."""
    with socket.create_server((HOST, 0)) as one, socket.create_server((HOST, 0)) as two:
        ports = {ListenerKind.STARTTLS: one.getsockname()[1], ListenerKind.TLS: two.getsockname()[1]}
    config = config_in(
        tmp_path_factory.mktemp("plays"),
        SIGNET_REHEARSAL_PLAYS=" ".join([*NAMES, "smtp.postmarkapp.com"]),
        SIGNET_REHEARSAL_STARTTLS_PORT=str(ports[ListenerKind.STARTTLS]),
        SIGNET_REHEARSAL_TLS_PORT=str(ports[ListenerKind.TLS]),
    )
    handle = server.start(
        config,
        {ListenerKind.PLAIN: 0, ListenerKind.EXPIRED: 0, ListenerKind.IMAP: 0, ListenerKind.CONSENT: 0},
    )
    yield config
    handle.stop()


def at(config, host, username, password, port=587, security=STARTTLS):
    limits = replace(config.limits, deadline=300.0, greeting=120.0)
    return Server(host, port, security, username, Secret(password), policy=config.policy, limits=limits)


def failure_of(settings):
    with pytest.raises(SubmissionFailure) as raised:
        Session(settings).open()
    return raised.value


ACCEPTED = [
    ("smtp.sendgrid.net", "apikey", PASSWORD),
    ("smtp.mailgun.org", "postmaster@mg.example.com", PASSWORD),
    ("smtp.mailgun.org", "postmaster@museum.example", PASSWORD),
    ("smtp.eu.mailgun.org", "postmaster@eu.example.com", PASSWORD),
    ("smtp.gmail.com", "you@example.com", APP_PASSWORD),
    ("smtp.postmarkapp.com", "anybody", PASSWORD),  # default replies
]


@pytest.mark.parametrize(("host", "username", "password"), ACCEPTED)
def test_what_the_provider_would_accept_is_accepted(simulating, host, username, password):
    with Session(at(simulating, host, username, password)) as session:
        assert session.stage_results[-1].stage is Stage.AUTH


@pytest.mark.parametrize(("port", "security"), [(587, STARTTLS), (465, IMPLICIT)])
@pytest.mark.parametrize(("host", "username", "password"), ACCEPTED[:-1])
def test_the_requested_name_is_known_on_both_listeners(simulating, host, username, password, port, security):
    with Session(at(simulating, host, username, password, port, security)) as session:
        assert session.stage_results[-1].stage is Stage.AUTH


REFUSED = [
    ("smtp.sendgrid.net", "ada@example.com", PASSWORD, "Bad username / password", "sendgrid-not-the-word"),
    ("smtp.sendgrid.net", "APIKEY", PASSWORD, "Bad username / password", "sendgrid-not-the-word"),
    ("smtp.sendgrid.net", "apikey", "SG.something", "Bad username / password", "sendgrid-key"),
    ("smtp.mailgun.org", "postmaster@eu.example.com", PASSWORD, "5.7.0 Auth", "mailgun-credentials"),
    ("smtp.eu.mailgun.org", "postmaster@mg.example.com", PASSWORD, "5.7.0 Auth", "mailgun-credentials"),
    ("smtp.mailgun.org", "postmaster@mg.example.com", "key-1", "5.7.0 Auth", "mailgun-credentials"),
    ("smtp.gmail.com", "you@example.com", "my own password", "InvalidSecondFactor", "gmail-app-password"),
    ("smtp.gmail.com", "you@example.com", PASSWORD, "InvalidSecondFactor", "gmail-app-password"),
    ("smtp.gmail.com", "you@example.com", SPACED, "BadCredentials", "gmail-credentials"),
    ("smtp.gmail.com", "you@example.com", "x" * 16, "BadCredentials", "gmail-credentials"),
    ("smtp.office365.com", "a@example.com", PASSWORD, "for the Tenant", "microsoft365-smtp-off-tenant"),
    ("smtp.office365.com", "a@example.com", "wrong", "incorrect", "microsoft365-credentials"),
    ("smtp.postmarkapp.com", "anybody", "wrong", "5.7.8 Username", ""),
]


@pytest.mark.parametrize(("host", "username", "password", "words", "code"), REFUSED)
def test_what_the_provider_would_refuse_is_refused_with_its_reply(
    simulating, host, username, password, words, code
):
    settings = at(simulating, host, username, password)
    failure = failure_of(settings)
    assert (failure.stage, failure.reason) == (Stage.AUTH, Reason.REPLIED)
    assert words in str(failure.reply)
    assert diagnose(failure, settings).code == code or not code


def test_each_listener_behaves_as_the_providers_port(simulating):
    login = ("smtp.sendgrid.net", "apikey", PASSWORD)
    for port in (587, 2525, 25):
        Session(at(simulating, *login, port)).open()
    assert failure_of(at(simulating, *login, 587, IMPLICIT)).reason is Reason.TLS_NOT_SPOKEN
    assert failure_of(at(simulating, *login, 465)).stage is Stage.GREETING


@pytest.mark.parametrize(("host", "port"), [("smtp.gmail.com", 2525), ("smtp.office365.com", 465)])
def test_a_port_the_provider_does_not_offer_is_closed(simulating, host, port):
    settings = at(simulating, host, "you@example.com", APP_PASSWORD, port)
    failure = failure_of(settings)
    assert (failure.stage, failure.reason) == (Stage.CONNECT, Reason.CONNECT_REFUSED)
    assert diagnose(failure, settings).code == "port-not-open"


def test_a_fault_selected_by_the_username_applies_under_every_name(simulating):
    failure = failure_of(at(simulating, "smtp.mailgun.org", "wrong-password@example.com", PASSWORD))
    assert "5.7.8 Username and password not accepted" in str(failure.reply)


def test_the_requested_name_is_known_from_any_client(simulating):
    smtp = smtplib.SMTP("localhost", simulating.rehearsal_starttls_port, timeout=TIMEOUT_S)
    smtp._host = "SMTP.SendGrid.net"  # smtplib sends it as SNI and verifies the certificate for it
    smtp.starttls(context=ssl.create_default_context(cafile=simulating.policy.ca_file))
    with pytest.raises(smtplib.SMTPAuthenticationError, match="Bad username / password"):
        smtp.login("ada@example.com", PASSWORD)
    smtp.close()


def test_concurrent_connections_keep_their_own_names(simulating):
    with (
        Session(at(simulating, "smtp.sendgrid.net", "apikey", PASSWORD)),
        Session(at(simulating, "smtp.gmail.com", "you@example.com", APP_PASSWORD)),
    ):
        assert failure_of(at(simulating, "smtp.gmail.com", "apikey", PASSWORD)).reply.code == 534


def test_without_a_name_any_username_is_accepted_with_the_password():
    assert refusal_for(Login("", "anybody", PASSWORD)) is None
    assert refusal_for(Login("localhost", "anybody", PASSWORD)) is None
    assert refusal_for(Login("localhost", "", PASSWORD)).startswith("535 ")


@pytest.mark.parametrize("host", NAMES)
def test_an_empty_username_is_refused_under_every_name(host):
    for password in ("", PASSWORD, APP_PASSWORD):
        assert refusal_for(Login(host, "", password)) is not None


def test_the_repr_of_a_login_hides_the_password():
    assert "canary" not in repr(Login("smtp.gmail.com", "you", "canary"))


def test_pages_name_the_simulated_providers(app, owner):
    config = get_state(app).config
    for url in ("/rehearsal/inbox", "/rehearsal/faults"):
        assert "also simulates" not in owner.get(url).text
    names = config_in(config.instance, SIGNET_REHEARSAL_PLAYS="smtp.mailgun.org, smtp.gmail.com")
    get_state(app).config = dataclasses.replace(config, policy=names.policy)
    assert "It also simulates smtp.mailgun.org, smtp.gmail.com." in owner.get("/rehearsal/inbox").text
    page = owner.get("/rehearsal/faults").text
    assert "Simulated providers" in page
    assert APP_PASSWORD in page


def test_every_simulated_name_has_a_description():
    rows = dict(describe_hosts([*NAMES, "smtp.postmarkapp.com"]))
    assert set(rows) == {*NAMES, "smtp.postmarkapp.com"}
    assert all(text.endswith(".") for text in rows.values())
