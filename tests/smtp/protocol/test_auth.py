"""AUTH: never in plaintext without permission, PLAIN before LOGIN, and success only by a 235 that answers AUTH."""

from __future__ import annotations

import base64
import socket
from dataclasses import replace
from ipaddress import ip_address

import pytest

from portal.smtp.failure import Reason, Stage, SubmissionFailure
from portal.smtp.network.dial import Deadline
from portal.smtp.protocol import auth, handshake
from portal.smtp.protocol.connection import SmtpConnection
from portal.smtp.protocol.reply import EhloFeatures
from portal.smtp.protocol.session import Session
from portal.smtp.protocol.transcript import Transcript
from portal.smtp.server import Mechanism, Secret, Security, Server

from ..badserver import (
    LIMITS,
    PASSWORD,
    USERNAME,
    Answer,
    BadServer,
    Peer,
    ehlo_reply,
    loopback,
    serve_correctly,
    server_at,
)

EARLY = b"235 2.7.0 Authentication successful\r\n"


def plaintext_server(port: int, mechanism: Mechanism = Mechanism.AUTOMATIC) -> Server:
    """Return settings that permit plaintext, because these tests do not depend on TLS."""
    return server_at(port, Security.PLAINTEXT, mechanism=mechanism)


def open_failure(server: Server) -> SubmissionFailure:
    with pytest.raises(SubmissionFailure) as raised:
        Session(server).open()
    return raised.value


def test_no_password_is_sent_in_plaintext_without_permission() -> None:
    client, peer = socket.socketpair()
    with client, peer:
        peer.sendall(EARLY)
        connection = SmtpConnection(client, LIMITS, Deadline(LIMITS.deadline), Transcript())
        with pytest.raises(SubmissionFailure) as raised:
            auth.authenticate(
                connection, server_at(1), EhloFeatures({"AUTH": "PLAIN LOGIN"}), plaintext_permitted=False
            )
        client.shutdown(socket.SHUT_WR)
        assert raised.value.reason is Reason.AUTH_NEEDS_TLS
        assert peer.recv(100) == b""


def test_a_plaintext_login_requires_the_operators_permission(monkeypatch) -> None:
    """The guard refuses such an address before it is dialled; the login does not rely on that."""
    monkeypatch.setattr(handshake, "resolve_allowed", lambda *_args, **_options: (ip_address("127.0.0.1"),))
    with BadServer(lambda peer: serve_correctly(peer, security=Security.PLAINTEXT)) as bad:
        server = replace(plaintext_server(bad.port), policy=loopback(bad.port, plaintext=False))
        failure = open_failure(server)
        assert (failure.stage, failure.reason) == (Stage.AUTH, Reason.AUTH_NEEDS_TLS)
        assert not bad.received_secret()
        assert b"AUTH" not in bad.received


@pytest.mark.parametrize("offer", [b"AUTH LOGIN PLAIN", b"AUTH PLAIN LOGIN", b"AUTH CRAM-MD5 LOGIN PLAIN"])
def test_plain_is_tried_before_login_and_nothing_after_it(offer: bytes) -> None:
    refusal = {"AUTH": b"535 5.7.8 bad credentials\r\n"}
    with BadServer(
        lambda peer: serve_correctly(peer, refusal, offers=(offer,), security=Security.PLAINTEXT)
    ) as bad:
        assert open_failure(plaintext_server(bad.port)).reason is Reason.REPLIED
        commands = [line for line in bytes(bad.received).split(b"\r\n") if line.startswith(b"AUTH")]
    token = base64.b64encode(f"\0{USERNAME}\0{PASSWORD}".encode())
    assert commands == [b"AUTH PLAIN " + token]


def test_login_is_used_if_plain_is_not_offered() -> None:
    with BadServer(
        lambda peer: serve_correctly(peer, offers=(b"AUTH LOGIN",), security=Security.PLAINTEXT)
    ) as bad:
        with Session(plaintext_server(bad.port)) as session:
            assert session.stage_results[-1].evidence["mechanism"] == "LOGIN"
        assert b"AUTH LOGIN\r\n" in bad.received


def after_the_username(peer: Peer, _line: bytes) -> None:
    peer.send(b"334 VXNlcm5hbWU6\r\n")
    peer.receive()
    peer.send(EARLY)


@pytest.mark.parametrize(
    ("mechanism", "answer"),
    [
        (Mechanism.LOGIN, EARLY),
        (Mechanism.LOGIN, after_the_username),
        (Mechanism.CRAM_MD5, EARLY),
        (Mechanism.PLAIN, EARLY),  # its password is too long for the command line
    ],
)
def test_a_235_before_the_password_was_sent_is_no_success(mechanism: Mechanism, answer: Answer) -> None:
    offers = (b"AUTH PLAIN LOGIN CRAM-MD5",)
    with BadServer(
        lambda peer: serve_correctly(peer, {"AUTH": answer}, offers=offers, security=Security.PLAINTEXT)
    ) as bad:
        server = plaintext_server(bad.port, mechanism)
        if mechanism is Mechanism.PLAIN:
            server = replace(server, password=Secret(PASSWORD * 30))
        failure = open_failure(server)
        assert (failure.stage, failure.reason) == (Stage.AUTH, Reason.GARBLED)
        assert failure.reply and failure.reply.code == 235
        assert not bad.received_secret()


def test_a_235_that_comes_with_the_ehlo_reply_is_no_success() -> None:
    answer = {"EHLO": ehlo_reply((b"AUTH PLAIN",)) + EARLY, "AUTH": b"535 5.7.8 bad credentials\r\n"}
    with BadServer(lambda peer: serve_correctly(peer, answer, security=Security.PLAINTEXT)) as bad:
        failure = open_failure(plaintext_server(bad.port))
        assert (failure.stage, failure.reason) == (Stage.AUTH, Reason.GARBLED)
        assert not bad.received_secret()


@pytest.mark.parametrize("code", [b"250", b"220", b"334"])
def test_no_reply_but_235_is_a_success(code: bytes) -> None:
    with BadServer(
        lambda peer: serve_correctly(peer, {"AUTH": code + b" ok\r\n"}, security=Security.PLAINTEXT)
    ) as bad:
        failure = open_failure(plaintext_server(bad.port))
    assert (failure.stage, failure.reason) == (Stage.AUTH, Reason.GARBLED)


@pytest.mark.parametrize(
    ("command", "stage"), [("EHLO", Stage.EHLO), ("MAIL", Stage.MAIL), ("RCPT", Stage.RCPT)]
)
def test_a_235_to_another_command_is_no_success(command: str, stage: Stage) -> None:
    with BadServer(lambda peer: serve_correctly(peer, {command: EARLY}, security=Security.PLAINTEXT)) as bad:
        session = Session(plaintext_server(bad.port))
        with pytest.raises(SubmissionFailure) as raised, session:
            session.verify_recipient("info@example.org", "bob@example.net")
    assert (raised.value.stage, raised.value.reason) == (stage, Reason.GARBLED)
