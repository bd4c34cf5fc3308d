"""The rehearsal server: listeners, login, messages, limits and shutdown."""

import base64
import contextlib
import dataclasses
import json
import os
import signal
import smtplib
import socket
import ssl
import subprocess
import sys
import threading
from datetime import datetime

import pytest

from portal.rehearsal import server, store
from portal.rehearsal.listeners import CONSENT_VARIABLE, HOST, LISTENERS, PASSWORD, ListenerKind
from portal.rehearsal.smtp_handler import MAX_MESSAGE_BYTES, may_send_as

from .conftest import ANY_PORTS, MAIL, TIMEOUT_S, config_in

WORKING = [ListenerKind.STARTTLS, ListenerKind.TLS]


@pytest.mark.parametrize("kind", WORKING)
@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_a_message_is_accepted_and_stored_with_its_envelope(rehearsal, kind, mechanism):
    with rehearsal.dial(kind) as smtp:
        smtp.ehlo()
        smtp.user, smtp.password = "ada@example.org", PASSWORD
        smtp.auth(mechanism, getattr(smtp, f"auth_{mechanism.lower()}"))
        smtp.mail("bounces@example.org")
        smtp.rcpt("grace@example.net")
        code, text = smtp.data(MAIL)
    assert code == 250
    assert text.startswith(b"2.0.0 OK: queued as ")
    [path] = rehearsal.stored()
    assert path.read_bytes() == MAIL
    envelope = json.loads(path.with_suffix(".json").read_text())
    assert envelope["id"] == path.stem == text.decode().rpartition(" ")[2]
    assert envelope["sender"] == "bounces@example.org"
    assert envelope["recipients"] == ["grace@example.net"]
    assert envelope["username"] == "ada@example.org"
    assert envelope["tls"] == "TLSv1.3"
    assert envelope["port"] == rehearsal.handle.ports[kind]
    assert datetime.fromisoformat(envelope["received_at"]).utcoffset().total_seconds() == 0


def test_the_greeting_names_the_rehearsal(rehearsal):
    with socket.create_connection((HOST, rehearsal.handle.ports[ListenerKind.STARTTLS]), TIMEOUT_S) as raw:
        assert raw.recv(100) == b"220 localhost ESMTP Signet rehearsal\r\n"


@pytest.mark.parametrize("kind", WORKING)
def test_the_ehlo_keywords_are_those_of_a_provider(rehearsal, kind):
    with rehearsal.dial(kind) as smtp:
        smtp.ehlo()
        assert int(smtp.esmtp_features["size"]) == MAX_MESSAGE_BYTES
        assert {"8bitmime", "smtputf8", "pipelining"} <= set(smtp.esmtp_features)
        assert smtp.esmtp_features["auth"].split() == ["LOGIN", "OAUTHBEARER", "PLAIN", "XOAUTH2"]


def test_auth_is_not_offered_before_starttls(rehearsal):
    with smtplib.SMTP("localhost", rehearsal.handle.ports[ListenerKind.STARTTLS], timeout=TIMEOUT_S) as smtp:
        smtp.ehlo()
        assert smtp.has_extn("starttls")
        assert not smtp.has_extn("auth")
        token = base64.b64encode(f"\0ada\0{PASSWORD}".encode()).decode()
        assert smtp.docmd("AUTH", f"PLAIN {token}")[0] == 538
        assert smtp.mail("ada@example.org") == (530, b"5.7.0 Must issue a STARTTLS command first")


def test_the_plain_listener_offers_neither_encryption_nor_auth(rehearsal):
    with rehearsal.dial(ListenerKind.PLAIN) as smtp:
        assert not smtp.has_extn("starttls")
        assert not smtp.has_extn("auth")
        assert smtp.docmd("AUTH", "LOGIN")[0] == 538
        assert smtp.mail("ada@example.org")[0] == 530


def test_the_expired_listener_shows_an_expired_certificate(rehearsal):
    with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
        rehearsal.dial(ListenerKind.EXPIRED)
    rehearsal.dial().close()  # the other listeners still work


def test_a_client_without_the_authority_rejects_the_certificate(rehearsal):
    with (
        smtplib.SMTP("localhost", rehearsal.handle.ports[ListenerKind.STARTTLS], timeout=TIMEOUT_S) as smtp,
        pytest.raises(ssl.SSLCertVerificationError),
    ):
        smtp.starttls(context=ssl.create_default_context())


@pytest.mark.parametrize("kind", WORKING)
def test_commands_are_rejected_without_a_login(rehearsal, kind):
    with rehearsal.dial(kind) as smtp:
        smtp.ehlo()
        assert smtp.mail("ada@example.org") == (530, b"5.7.0 Authentication required")
        assert smtp.rcpt("grace@example.net")[0] == 530


@pytest.mark.parametrize("password", ["Rehearsal", "rehearsal ", "x", "pässword"])
def test_a_wrong_password_is_refused(rehearsal, password):
    smtp = rehearsal.dial()
    token = base64.b64encode(f"\0ada@example.org\0{password}".encode()).decode()
    assert smtp.docmd("AUTH", f"PLAIN {token}") == (535, b"5.7.8 Username and password not accepted")
    assert smtp.mail("ada@example.org")[0] == 530
    smtp.close()


def test_a_long_username_is_accepted(rehearsal):
    rehearsal.log_in(f"{'a' * 64}@{'long.' * 40}example.org").close()


def test_a_sender_of_another_domain_is_rejected(rehearsal):
    with rehearsal.log_in() as smtp:
        code, text = smtp.mail("ada@example.com")
    assert (code, text) == (
        553,
        b"5.7.1 <ada@example.com>: Sender address rejected: not owned by user ada@example.org",
    )


@pytest.mark.parametrize(
    ("username", "sender", "allowed"),
    [
        ("ada@example.org", "else@EXAMPLE.org", True),
        ("ada@bücher.example", "ada@xn--bcher-kva.example", True),
        ("ada@example.org", "ada@mail.example.org", False),
        ("ada@example.org", "<>", False),
        ("apikey", "ada@example.org", True),
        ("send-as@example.org", "ada@second.example", True),
        ("ada+send-as@example.org", "ada@second.example", True),
        ("platform@signet.example", "platform@signet.example", True),
    ],
)
def test_a_user_may_send_as_any_address_of_its_domain(username, sender, allowed):
    assert may_send_as(username, sender) is allowed


def test_a_non_ascii_address_requires_smtputf8(rehearsal):
    with rehearsal.log_in("apikey") as smtp:
        assert smtp.docmd("MAIL FROM:<ada@example.org>")[0] == 250
        smtp.command_encoding = "utf-8"
        assert smtp.docmd("RCPT TO:<grâce@example.net>")[0] == 553
        smtp.docmd("RSET")
        smtp.docmd("MAIL FROM:<adà@example.org> SMTPUTF8")
        assert smtp.docmd("RCPT TO:<grâce@example.net>")[0] == 250
        assert smtp.data(MAIL)[0] == 250
    [path] = rehearsal.stored()
    assert json.loads(path.with_suffix(".json").read_text())["recipients"] == ["grâce@example.net"]


def test_commands_may_be_pipelined(rehearsal):
    with rehearsal.log_in() as smtp:
        smtp.send(b"MAIL FROM:<ada@example.org>\r\nRCPT TO:<grace@example.net>\r\nDATA\r\n")
        assert [smtp.getreply()[0] for _ in range(3)] == [250, 250, 354]
        smtp.send(MAIL.replace(b"\r\n.", b"\r\n..") + b".\r\n")
        assert smtp.getreply()[0] == 250


def test_a_message_over_the_size_limit_is_refused_by_mail_and_by_data(rehearsal):
    with rehearsal.log_in() as smtp:
        assert smtp.mail("ada@example.org", [f"SIZE={MAX_MESSAGE_BYTES + 1}"])[0] == 552
        smtp.mail("ada@example.org")
        smtp.rcpt("grace@example.net")
        assert smtp.data((b"x" * 76 + b"\r\n") * (MAX_MESSAGE_BYTES // 78 + 1))[1].startswith(b"5.3.4 ")
    assert not rehearsal.stored()


@pytest.mark.parametrize(
    "line",
    [b"MAIL FROM:<@@@>", b'MAIL FROM:<"', b"RCPT TO:", b"\xff\xfe", b"AUTH PLAIN !!!", b"EHLO", b"X" * 5000],
)
def test_malformed_commands_get_an_error_reply_and_do_not_stop_the_server(rehearsal, line):
    with rehearsal.log_in() as smtp:
        smtp.send(line + b"\r\n")
        assert 400 <= smtp.getreply()[0] < 600
    assert rehearsal.submit()[-1].startswith("250 ")


def test_a_full_disk_causes_a_transient_reply(rehearsal):
    rehearsal.inbox.write_text("a file where the folder should be")
    assert rehearsal.submit()[-1].startswith("452 4.3.1 ")


def test_many_clients_are_served_concurrently(rehearsal):
    failures = []

    def send():
        try:
            assert rehearsal.submit()[-1].startswith("250 ")
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=send) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(rehearsal.stored()) == 20


def test_only_the_newest_messages_are_kept(rehearsal, monkeypatch):
    monkeypatch.setattr(store, "MAX_MESSAGES", 3)
    ids = [rehearsal.submit()[-1].rpartition(" ")[2] for _ in range(5)]
    assert [path.stem for path in rehearsal.stored()] == ids[2:]
    assert len(list(rehearsal.inbox.iterdir())) == 6


def test_the_server_listens_on_the_loopback_address_only(rehearsal):
    for port in rehearsal.handle.ports.values():
        with socket.socket() as probe:
            probe.settimeout(TIMEOUT_S)
            assert probe.connect_ex((HOST, port)) == 0
        with socket.socket() as other, pytest.raises(OSError):
            other.settimeout(TIMEOUT_S)
            other.connect(("127.0.0.2", port))


def test_stopping_disconnects_clients_and_frees_the_ports(config):
    handle = server.start(config, ANY_PORTS)
    client = socket.create_connection((HOST, handle.ports[ListenerKind.STARTTLS]), TIMEOUT_S)
    client.recv(100)
    handle.stop()
    client.settimeout(TIMEOUT_S)
    with contextlib.suppress(ConnectionResetError):
        assert client.recv(100) == b""
    server.start(config, handle.ports).stop()
    handle.stop()  # a second call has no effect


def test_the_server_does_not_start_when_it_is_switched_off(config):
    off = dataclasses.replace(config, rehearsal=False)
    with pytest.raises(server.RehearsalError, match="SIGNET_REHEARSAL=1"):
        server.start(off, ANY_PORTS)


@pytest.mark.parametrize("listener", LISTENERS, ids=lambda listener: listener.kind)
def test_a_port_in_use_is_reported_with_its_variable(config, listener):
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(server.RehearsalError) as raised:
            server.start(config, {**ANY_PORTS, listener.kind: port})
    assert f"Port {port} " in str(raised.value)
    assert listener.variable in str(raised.value)


def test_an_unwritable_folder_is_named(tmp_path):
    (tmp_path / "rehearsal").write_text("a file where the folder should be")
    with pytest.raises(server.RehearsalError, match="rehearsal"):
        server.start(config_in(tmp_path), ANY_PORTS)


PROGRAM = """
import sys
from pathlib import Path
from portal.config import Config
from portal.rehearsal import server
import os, logging
logging.basicConfig(level=logging.INFO)
server.run(Config.from_env(os.environ, Path(sys.argv[1])))
"""


def _program(folder, ports):
    names = [*(listener.variable for listener in LISTENERS), CONSENT_VARIABLE]
    env = os.environ | dict(zip(names, map(str, ports), strict=True))
    env |= {"SECRET_KEY": "k" * 40, "SIGNET_KEYS": "a:" + "A" * 43 + "=", "SIGNET_REHEARSAL": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(folder)], env=env, stderr=subprocess.PIPE, text=True
    )


def _free_ports(count):
    sockets = [socket.create_server((HOST, 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_program_stops_cleanly_on_a_signal(tmp_path, number):
    process = _program(tmp_path, _free_ports(5))
    for line in process.stderr:
        if "listens at" in line:
            break
    process.send_signal(number)
    stderr = process.communicate(timeout=TIMEOUT_S)[1]
    assert process.returncode == 0
    assert "Traceback" not in stderr


def test_the_program_exits_with_1_and_a_sentence_when_a_port_is_in_use(tmp_path):
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        process = _program(tmp_path, [port, *_free_ports(4)])
        stderr = process.communicate(timeout=TIMEOUT_S)[1]
    assert process.returncode == 1
    assert stderr == (
        f"Port {port} of 127.0.0.1 is taken by another program. "
        "Choose another port for the rehearsal server with SIGNET_REHEARSAL_STARTTLS_PORT.\n"
    )
