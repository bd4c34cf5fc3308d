"""Host overrides: dialled without a look-up, verified by the certificate of the overridden host."""

from __future__ import annotations

import socket
from dataclasses import replace
from ipaddress import ip_address

import pytest

from portal.smtp.failure import Reason, Stage, SubmissionFailure
from portal.smtp.network.dial import provider_host_overrides
from portal.smtp.network.guard import EgressPolicy, HostOverride, resolve_allowed
from portal.smtp.protocol.session import Session
from portal.smtp.server import Security

from ..badserver import THREAD_TIMEOUT_S, BadServer, ca_file, disconnect, server_at

HERE = ip_address("127.0.0.1")
NAME = "smtp.mailgun.org"


@pytest.fixture(autouse=True)
def _forbid_look_ups(monkeypatch: pytest.MonkeyPatch) -> None:
    def looked_up(name: str, *_args: object, **_more: object) -> None:
        raise AssertionError(f"{name} was looked up")

    monkeypatch.setattr(socket, "getaddrinfo", looked_up)


def policy(*overrides: HostOverride) -> EgressPolicy:
    return EgressPolicy(ca_file=ca_file(), host_overrides=overrides)


@pytest.mark.parametrize("typed", [NAME, "SMTP.Mailgun.org", "smtp.mailgun.org."])
def test_an_overridden_host_is_dialled_at_its_target_without_a_look_up(typed: str) -> None:
    with BadServer(disconnect) as bad:
        allowed = policy(HostOverride(NAME, 587, HERE, bad.port))
        server = replace(server_at(587, host=typed), policy=allowed)
        assert resolve_allowed(typed, 587, allowed, THREAD_TIMEOUT_S) == (HERE,)
        with pytest.raises(SubmissionFailure) as met:
            Session(server).open()
        assert met.value.stage is Stage.GREETING
        assert bad.connections == 1


def test_other_ports_of_an_overridden_host_are_refused() -> None:
    with BadServer(disconnect) as bad:
        server = server_at(2525, host=NAME)
        server = replace(server, policy=policy(HostOverride(NAME, 587, HERE, bad.port)))
        with pytest.raises(SubmissionFailure) as met:
            Session(server).open()
        assert (met.value.stage, met.value.reason) == (Stage.CONNECT, Reason.CONNECT_REFUSED)
        assert bad.connections == 0


def test_the_target_is_not_allowed_as_an_address() -> None:
    allowed = policy(HostOverride(NAME, 587, HERE, 2587))
    for host, port in [("127.0.0.1", 587), ("127.0.0.1", 2587), ("[::1]", 2587)]:
        with pytest.raises(SubmissionFailure) as met:
            resolve_allowed(host, port, allowed, THREAD_TIMEOUT_S)
        assert met.value.reason is Reason.TARGET_REFUSED


def test_a_forbidden_port_stays_forbidden_for_an_overridden_host() -> None:
    with pytest.raises(SubmissionFailure) as met:
        resolve_allowed(NAME, 6379, policy(HostOverride(NAME, 587, HERE, 2587)), THREAD_TIMEOUT_S)
    assert met.value.reason is Reason.TARGET_REFUSED


def test_an_override_never_permits_plaintext() -> None:
    with pytest.raises(SubmissionFailure) as met:
        resolve_allowed(
            NAME, 587, policy(HostOverride(NAME, 587, HERE, 2587)), THREAD_TIMEOUT_S, plaintext=True
        )
    assert met.value.reason is Reason.TARGET_REFUSED


def test_the_certificate_must_name_the_host_and_not_its_target() -> None:
    with BadServer(lambda peer: peer.encrypt("good")) as bad:  # it is for localhost
        server = server_at(465, Security.IMPLICIT_TLS, host=NAME)
        with pytest.raises(SubmissionFailure) as met:
            Session(replace(server, policy=policy(HostOverride(NAME, 465, HERE, bad.port)))).open()
        assert (met.value.stage, met.value.reason) == (Stage.TLS, Reason.CERTIFICATE_NAME)


def test_each_port_is_sent_to_the_target_port_with_the_same_encryption() -> None:
    found = provider_host_overrides(
        HERE, ["smtp.sendgrid.net", "SMTP.gmail.com"], starttls_port=1, tls_port=2
    )
    assert {(one.host, one.port, one.target_port) for one in found} == {
        ("smtp.sendgrid.net", 587, 1),
        ("smtp.sendgrid.net", 2525, 1),
        ("smtp.sendgrid.net", 25, 1),
        ("smtp.sendgrid.net", 465, 2),
        ("smtp.gmail.com", 587, 1),
        ("smtp.gmail.com", 465, 2),
    }
    assert {one.address for one in found} == {HERE}


@pytest.mark.parametrize("name", ["smtp.example.com", "localhost", "smpt.mailgun.org", "127.0.0.1"])
def test_a_host_outside_the_catalogue_raises_its_name(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        provider_host_overrides(HERE, [NAME, name], starttls_port=1, tls_port=2)
