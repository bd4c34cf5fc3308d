"""Errors of programs, which people paste beside replies, get the diagnosis of the same situation in this portal."""

from __future__ import annotations

import json

import pytest

from portal.smtp.diagnosis.client_errors import client_failure, load_client_errors, port_in
from portal.smtp.diagnosis.diagnose import explain
from portal.smtp.diagnosis.explain_cli import explain_line, explain_reply
from portal.smtp.failure import Reason, Stage

CASES = [
    ("connect", "connect ECONNREFUSED 198.51.100.4:587", "connection-refused"),
    ("connect", "Connection to smtp.shop.example:587 failed (Connection refused)", "connection-refused"),
    ("connect", "[Errno 111] Connection refused", "connection-refused"),
    ("connect", "dial tcp 198.51.100.4:587: connect: connection refused", "connection-refused"),
    ("connect", "Connection timed out", "connection-timed-out"),
    ("connect", "dial tcp 198.51.100.4:465: i/o timeout", "connection-timed-out"),
    ("connect", "Could not connect to the mail server mail.shop.example, port: 25", "port-25-blocked"),
    ("connect", "OSError: [Errno 101] Network is unreachable", "unreachable"),
    ("resolve", "getaddrinfo ENOTFOUND smtp.shop.example", "host-unknown"),
    ("resolve", "socket.gaierror: [Errno -2] Name or service not known", "host-unknown"),
    ("connect", "dial tcp: lookup smtp.shop.example: no such host", "host-unknown"),
    ("resolve", "getaddrinfo EAI_AGAIN smtp.shop.example", "name-service-silent"),
    ("TLS", "SSL routines:ssl3_get_record:wrong version number", "tls-not-spoken"),
    ("TLS", "write EPROTO:SSL routines:wrong version number, smtp.shop.example:587", "plain-port-approached-encrypted"),
    ("TLS", "x509: certificate signed by unknown authority", "certificate-untrusted"),
    ("TLS", "certificate verify failed: self-signed certificate", "certificate-untrusted"),
    ("TLS", "certificate verify failed: certificate has expired", "certificate-expired"),
    ("TLS", "certificate verify failed: Hostname mismatch, certificate is not valid for 'mail.shop.example'", "certificate-name"),
    ("TLS", "tlsv1 alert protocol version", "tls-old-protocol"),
    ("TLS", "dh key too small", "tls-weak-key"),
    ("TLS", "unsafe legacy renegotiation disabled", "tls-legacy-renegotiation"),
    ("TLS", "sslv3 alert handshake failure", "tls-failed"),
    ("EHLO", "STARTTLS extension not supported by server.", "starttls-missing"),
    ("AUTH", "SMTP AUTH extension not supported by server.", "login-not-offered"),
    ("AUTH", "No suitable authentication method found.", "no-login-by-password"),
    ("AUTH", "Connection unexpectedly closed", "hung-up-during-login"),
    ("greeting", "Greeting never received", "mute-server"),
    ("greeting", "read tcp 10.0.0.2:4000->198.51.100.4:465: read: connection reset by peer", "mute-server"),
    ("DATA", "unexpected EOF", "hung-up-on-message"),
    ("DATA", "The peer has unexpectedly disconnected", "hung-up-on-message"),
    ("DATA", "DATA END command failed:", "hung-up-on-message"),
    ("connect", "SocketTimeoutException: connect timed out", "connection-timed-out"),
    ("connect", "Falha ao conectar: Conexão recusada (111)", "connection-refused"),
    ("connect", "Die Verbindung kam nicht zustande", "connection-timed-out"),
    ("connect", "access to the socket is forbidden by its permissions (10013)", "unreachable"),
    ("resolve", "getaddrinfo EAI_FAIL smtp.shop.example", "name-service-silent"),
    ("resolve", "queryA EREFUSED smtp.shop.example", "name-service-silent"),
    ("resolve", "Serveur de messagerie inconnu", "host-unknown"),
    ("resolve", "getaddrinfo failed: Temporary failure in name resolution", "name-service-silent"),
    ("DATA", "The remote host closed connection unexpectedly", "hung-up-on-message"),
    ("TLS", "The host name did not match the one in the SSL certificate", "certificate-name"),
    ("EHLO", "EHLO command failed: MAIL was called without being connected", "hung-up"),
    ("TLS", "The socket disconnected before secure TLS was established", "hung-up-during-tls"),
    ("TLS", "The TLS connection could not be established", "tls-failed"),
    ("AUTH", "use of closed network connection", "hung-up-during-login"),
    ("AUTH", "failed to connect, no password given", "credentials"),
    ("greeting", "HTTP/1.1 400 Bad Request", "web-server"),
    ("greeting", "* OK [CAPABILITY IMAP4rev1] ready", "reading-server"),
    ("greeting", "+OK ready", "reading-server"),
    ("EHLO", "Invalid greeting: who are you?", "garbled-before-login"),
    ("greeting", "the server gave an invalid reply", "garbled-before-login"),
]  # fmt: skip


@pytest.mark.parametrize(("stage", "text", "code"), CASES)
def test_an_error_of_a_program_gets_the_diagnosis_of_its_situation(stage: str, text: str, code: str) -> None:
    found = explain("smtp.shop.example", stage, text)
    assert found.code == code
    assert not any("port ," in one or "port ." in one for one in (found.cause, *found.fixes))


def test_a_port_that_the_error_names_is_the_port_of_the_sentences() -> None:
    found = explain("smtp.shop.example", "TLS", "smtp.shop.example:587: ssl3_get_record:wrong version number")
    assert found.fix == "Choose STARTTLS for port 587, or use port 465 with SSL/TLS."
    assert port_in("Could not open a socket, port: 465") == 465
    assert port_in("after 587 seconds") is None
    assert port_in("failed at 12:45") is None


@pytest.mark.parametrize(
    ("stage", "text"),
    [
        ("AUTH", "535 5.7.8 the authentication timed out"),
        ("RCPT TO", "450 4.4.1 connect to mx.example.net[198.51.100.4]:25: Connection timed out"),
        ("RCPT TO", "connect to mx.example.net[198.51.100.4]: Connection timed out"),
        ("DATA", "host mx.example.net: lost connection while sending"),
        ("TLS", "454 4.7.0 TLS not available"),
    ],
)
def test_a_reply_and_a_bounce_are_no_error_of_a_program(stage: str, text: str) -> None:
    found = explain("", stage, text)
    assert found.evidence["reason"] == "replied"


def test_the_stage_is_guessed_from_the_error() -> None:
    assert explain_reply("", "", "Error: connect ECONNREFUSED 198.51.100.4:587").code == "connection-refused"
    assert explain_reply("", "", "getaddrinfo ENOTFOUND smtp.shop.example").code == "host-unknown"
    line = json.dumps({"server": "", "stage": "TLS", "reply": "wrong version number"}).encode()
    assert explain_line(line).code == "tls-not-spoken"


def test_every_error_is_written_once_and_leads_to_a_diagnosis() -> None:
    seen: set[str] = set()
    for error in load_client_errors():
        assert error.reason is not Reason.REPLIED
        assert not seen & {*error.signatures, *error.phrases}
        seen |= {*error.signatures, *error.phrases}
    assert client_failure("550 5.1.1 no such user", Stage.RCPT) is None
