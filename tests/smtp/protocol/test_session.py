"""Sessions with a correct server: commands, stage results, transcripts and reuse of the connection."""

from __future__ import annotations

import base64
import copy
import hmac
import pickle
import tracemalloc
from dataclasses import replace
from functools import partial
from ipaddress import ip_address

import flask
import flask_mail
import pytest
from aiosmtpd.controller import Controller
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from portal.smtp.failure import Reason, Stage, SubmissionFailure
from portal.smtp.network.guard import EgressPolicy, HostOverride
from portal.smtp.probe.dry_run import probe
from portal.smtp.protocol.envelope import Envelope, check_message, dot_stuff, parse_queue_id
from portal.smtp.protocol.reply import EhloFeatures, Reply
from portal.smtp.protocol.session import Session
from portal.smtp.protocol.stages import StageResult, StageStatus
from portal.smtp.protocol.transcript import Transcript
from portal.smtp.server import Limits, Mechanism, Secret, Security

from ..badserver import (
    GREETING,
    LIMITS,
    MESSAGE,
    OFFER,
    PASSWORD,
    RECIPIENT,
    SENDER,
    SHORT_LIMITS,
    USERNAME,
    BadServer,
    Peer,
    context,
    disconnect,
    mute,
    repeat_endlessly,
    serve_correctly,
    server_at,
)

pytestmark = pytest.mark.thorough

PIPELINING = (*OFFER, b"PIPELINING")
_WITH_TOKEN = (Mechanism.XOAUTH2, Mechanism.OAUTHBEARER)
_WITHOUT_TOKEN = [stage for stage in Stage if stage is not Stage.CONSENT]


def commands(bad: BadServer) -> list[str]:
    """Return the commands a server received, without the TLS handshake and the message."""
    text = bytes(bad.received).decode("latin-1")
    return [
        line
        for line in text.split("\r\n")
        if line.split(" ")[0] in {"EHLO", "HELO", "AUTH", "MAIL", "RCPT", "DATA", "RSET", "QUIT"}
    ]


def failure_of(session: Session, message: bytes = MESSAGE) -> SubmissionFailure:
    with pytest.raises(SubmissionFailure) as met:
        session.open()
        session.submit(SENDER, RECIPIENT, message)
    return met.value


@pytest.mark.parametrize("security", list(Security))
@pytest.mark.parametrize("mechanism", [one for one in Mechanism if one not in _WITH_TOKEN])
def test_a_message_is_accepted_with_every_security_and_mechanism(
    security: Security, mechanism: Mechanism
) -> None:
    def cram(peer: Peer, line: bytes) -> None:
        peer.send(b"334 " + base64.b64encode(b"<1.2@mail>") + b"\r\n")
        digest = hmac.new(PASSWORD.encode(), b"<1.2@mail>", "md5").hexdigest()
        expected = base64.b64encode(f"{USERNAME} {digest}".encode()) + b"\r\n"
        peer.send(b"235 ok\r\n" if peer.receive() == expected else b"535 no\r\n")

    answers = {"AUTH": cram} if mechanism is Mechanism.CRAM_MD5 else {}
    offers = (b"SIZE 100000", b"AUTH PLAIN LOGIN CRAM-MD5")
    with BadServer(lambda peer: serve_correctly(peer, answers, offers=offers, security=security)) as bad:
        with Session(server_at(bad.port, security, mechanism=mechanism)) as session:
            acceptance = session.submit(SENDER, RECIPIENT, MESSAGE)
        assert acceptance.queue_id == "4XyZ1a2b"
        assert session.last_acceptance is acceptance
        assert bad.unstuffed() == MESSAGE
        assert commands(bad)[-1] == "QUIT"
        logins = 0 if mechanism is Mechanism.NONE else 1
        assert sum(line.startswith("AUTH") for line in commands(bad)) == logins


def test_an_independent_server_implementation_accepts_the_messages() -> None:
    accepted: list[tuple[str, list[str], bytes]] = []

    class Handler:
        async def handle_DATA(self, _server, _session, envelope) -> str:
            accepted.append((envelope.mail_from, envelope.rcpt_tos, envelope.content))
            return "250 2.0.0 OK queued as A1B2C3"

    controller = Controller(
        Handler(), hostname="127.0.0.1", port=0, tls_context=context("good"), require_starttls=True
    )
    controller.port = _free_port()
    controller.start()
    try:
        with Session(server_at(controller.port, username=None)) as session:
            assert session.submit(SENDER, RECIPIENT, MESSAGE).queue_id == "A1B2C3"
            session.begin_message()
            assert session.is_usable()
            session.submit("jürgen@münchen.de", RECIPIENT, MESSAGE)
    finally:
        controller.stop()
    assert accepted == [(SENDER, [RECIPIENT], MESSAGE), ("jürgen@xn--mnchen-3ya.de", [RECIPIENT], MESSAGE)]


def _free_port() -> int:
    with BadServer(mute) as bad:
        return bad.port


def test_the_observer_receives_the_result_of_every_stage() -> None:
    seen = []
    with BadServer(serve_correctly) as bad, Session(server_at(bad.port), seen.append) as session:
        session.submit(SENDER, RECIPIENT, MESSAGE)
        assert list(session.stage_results) == seen
    assert [r.stage for r in seen] == _WITHOUT_TOKEN
    assert {r.status for r in seen} == {StageStatus.PASSED}
    by_stage = {r.stage: r for r in seen}
    assert by_stage[Stage.CONNECT].sentence == f"localhost answered at 127.0.0.1, port {bad.port}."
    assert by_stage[Stage.TLS].sentence.startswith(
        "Encrypted with TLS 1.3; the certificate is for localhost and valid for "
    )
    assert by_stage[Stage.TLS].evidence["names"] == "localhost, 127.0.0.1"
    assert by_stage[Stage.AUTH].evidence["mechanism"] == "PLAIN"
    assert by_stage[Stage.EHLO].evidence["offered"] == "STARTTLS, 8BITMIME"
    assert by_stage[Stage.DATA].as_dict()["evidence"] == {"reply": "250 2.0.0 Ok: queued as 4XyZ1a2b"}


def test_a_certificate_for_another_name_shows_its_names() -> None:
    with BadServer(lambda peer: serve_correctly(peer, certificate="wrong name")) as bad:
        failure = failure_of(Session(server_at(bad.port)))
    assert failure.reason is Reason.CERTIFICATE_NAME
    assert failure.evidence["names"] == "smtp.other.example, *.other.example"


def test_an_expired_certificate_shows_its_last_day() -> None:
    with BadServer(lambda peer: serve_correctly(peer, certificate="expired")) as bad:
        failure = failure_of(Session(server_at(bad.port)))
    assert failure.evidence["until"][:3] == "202"


def test_the_operators_authority_is_trusted_for_private_targets_only() -> None:
    with BadServer(serve_correctly) as bad:
        server = server_at(bad.port)
        without = replace(server, policy=replace(server.policy, ca_file=None))
        assert failure_of(Session(without)).reason is Reason.CERTIFICATE_UNTRUSTED
        assert not bad.received_secret()


def test_an_unreadable_ca_file_is_a_failure_like_any_other() -> None:
    with BadServer(serve_correctly) as bad:
        server = server_at(bad.port)
        failure = failure_of(
            Session(replace(server, policy=replace(server.policy, ca_file="/nowhere/ca.pem")))
        )
    assert failure.reason is Reason.CERTIFICATE_UNTRUSTED


def test_a_refused_sender_has_its_own_sentence() -> None:
    with BadServer(lambda peer: serve_correctly(peer, {"MAIL": b"553 5.7.1 not yours\r\n"})) as bad:
        report = probe(server_at(bad.port), SENDER, RECIPIENT)
    assert not report.passed
    assert report.stages[-1].sentence == (
        "The log-in worked, but this server will not let it send as info@example.org."
    )
    assert report.stages[-1].evidence["reply"] == "553 5.7.1 not yours"


def test_a_session_without_a_login_has_its_own_sentence() -> None:
    with BadServer(serve_correctly) as bad:
        report = probe(server_at(bad.port, username=None), SENDER, RECIPIENT)
    assert report.passed
    results = {r.stage: r for r in report.stages}
    assert results[Stage.AUTH].status is StageStatus.SKIPPED
    assert results[Stage.MAIL].sentence == "The server lets us send as info@example.org without a log-in."


def test_a_probe_resets_and_sends_nothing() -> None:
    with BadServer(lambda peer: serve_correctly(peer, offers=PIPELINING)) as bad:
        report = probe(server_at(bad.port), SENDER, RECIPIENT)
        assert report.failure is None
        assert [line.split(" ")[0] for line in commands(bad)] == [
            "EHLO",
            "EHLO",
            "AUTH",
            "MAIL",
            "RCPT",
            "RSET",
            "QUIT",
        ]
        assert bad.messages == []
        assert "AUTH PLAIN [hidden]" in str(report.transcript)


def test_pipelined_commands_are_sent_in_one_segment() -> None:
    segments: list[bytes] = []

    def script(peer: Peer) -> None:
        serve_correctly(peer, {"MAIL": record_segment}, offers=PIPELINING)

    def record_segment(peer: Peer, line: bytes) -> None:
        segments.append(line + bytes(peer.buffer))
        peer.send(b"250 ok\r\n")

    with BadServer(script) as bad, Session(server_at(bad.port)) as session:
        session.submit(SENDER, RECIPIENT, MESSAGE)
    size = len(MESSAGE)
    assert segments == [
        b"MAIL FROM:<info@example.org> SIZE=%d\r\nRCPT TO:<bob@example.net>\r\nDATA\r\n" % size
    ]


def test_many_messages_share_a_connection_and_each_has_its_own_transcript() -> None:
    with (
        BadServer(lambda peer: serve_correctly(peer, offers=PIPELINING)) as bad,
        Session(server_at(bad.port)) as session,
    ):
        for number in range(20):
            session.submit(SENDER, f"r{number}@example.net", MESSAGE)
            transcript = session.transcript
            session.begin_message()
            assert session.is_usable()
            assert session.stage_results == ()
            assert f"r{number}@example.net" in str(transcript)
            assert f"r{number - 1}@example.net" not in str(transcript)
        assert (bad.connections, len(bad.messages)) == (1, 20)


def test_a_refused_message_leaves_a_clean_connection_for_the_next() -> None:
    answers = {
        "RCPT": lambda peer, line: peer.send(b"550 5.1.1 no\r\n" if b"gone" in line else b"250 ok\r\n")
    }
    with (
        BadServer(lambda peer: serve_correctly(peer, answers)) as bad,
        Session(server_at(bad.port)) as session,
    ):
        with pytest.raises(SubmissionFailure):
            session.submit(SENDER, "gone@example.net", MESSAGE)
        assert session.is_usable()
        session.submit(SENDER, RECIPIENT, MESSAGE)
        assert [line.split(" ")[0] for line in commands(bad)][3:] == [
            "MAIL",
            "RCPT",
            "RSET",
            "MAIL",
            "RCPT",
            "DATA",
        ]


def test_a_closed_session_fails_and_the_message_was_not_delivered() -> None:
    with BadServer(serve_correctly) as bad:
        session = Session(server_at(bad.port))
        session.open()
        session.close()
        session.close()
        assert not session.is_usable()
        with pytest.raises(SubmissionFailure) as met:
            session.submit(SENDER, RECIPIENT, MESSAGE)
        assert not met.value.ambiguous


@pytest.mark.parametrize("end", [disconnect, mute, b"500 no\r\n", b"\xff\r\n"])
def test_a_failing_quit_does_not_change_the_outcome_of_a_message(end) -> None:
    with BadServer(lambda peer: serve_correctly(peer, {"QUIT": end})) as bad:
        limits = replace(LIMITS, deadline=1e6, reply=1e6)  # a QUIT without its own timeout would never end
        with Session(server_at(bad.port, limits=limits)) as session:
            session.submit(SENDER, RECIPIENT, MESSAGE)
        assert session.last_acceptance is not None


def disconnect_in_the_message(peer: Peer, _line: bytes) -> None:
    peer.send(b"354 go\r\n")
    peer.receive(b"Subject")
    peer.disconnect()


def stop_reading(peer: Peer, _line: bytes) -> None:
    peer.send(b"354 go\r\n")
    peer.server.stopped.wait()


@pytest.mark.parametrize("interrupt", [disconnect_in_the_message, stop_reading])
def test_a_connection_lost_before_the_final_dot_is_not_ambiguous(interrupt) -> None:
    big = MESSAGE + b"x" * 70 + b"\r\n" + (b"y" * 900 + b"\r\n") * 20_000
    with BadServer(lambda peer: serve_correctly(peer, {"DATA": interrupt}, offers=(b"AUTH PLAIN",))) as bad:
        failure = failure_of(Session(server_at(bad.port, limits=SHORT_LIMITS)), big)
    assert failure.stage is Stage.DATA
    assert not failure.ambiguous


def test_an_endless_reply_is_not_stored() -> None:
    with BadServer(
        lambda peer: serve_correctly(peer, {"GREETING": repeat_endlessly(b"220-hello there\r\n")})
    ) as bad:
        tracemalloc.start()
        failure_of(Session(server_at(bad.port)))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 2**20


def test_helo_is_sufficient_without_tls_and_login() -> None:
    with BadServer(
        lambda peer: serve_correctly(peer, {"EHLO": b"502 no\r\n"}, security=Security.PLAINTEXT)
    ) as bad:
        with Session(server_at(bad.port, Security.PLAINTEXT, username=None)) as session:
            session.submit(SENDER, RECIPIENT, MESSAGE)
        assert "HELO portal.example.org" in commands(bad)
        assert failure_of(Session(server_at(bad.port, Security.PLAINTEXT))).stage is Stage.EHLO


def test_a_non_ascii_address_needs_a_server_with_smtputf8() -> None:
    with BadServer(serve_correctly) as bad, Session(server_at(bad.port)) as session:
        with pytest.raises(SubmissionFailure) as met:
            session.submit("jürgen@example.org", RECIPIENT, MESSAGE)
        assert (met.value.stage, met.value.reason) == (Stage.MAIL, Reason.NEEDS_SMTPUTF8)
        assert session.is_usable()
        session.submit(SENDER, RECIPIENT, MESSAGE)


def test_mail_parameters_depend_on_the_message_and_the_extensions() -> None:
    envelope = Envelope.parse(SENDER, RECIPIENT, ("RET=HDRS", "SIZE=1", "body=7BIT"))
    full = EhloFeatures({"SIZE": "100", "8BITMIME": ""})
    assert envelope.mail_command(full, "ü".encode()) == f"MAIL FROM:<{SENDER}> RET=HDRS SIZE=2 BODY=8BITMIME"
    assert envelope.mail_command(full, b"u") == f"MAIL FROM:<{SENDER}> RET=HDRS SIZE=1"
    assert envelope.mail_command(EhloFeatures(), "ü".encode()) == f"MAIL FROM:<{SENDER}> RET=HDRS"
    referring = replace(Envelope.parse(SENDER, "bob+a=b@example.net"), reference="00ff")
    assert referring.commands(full, b"u")[:2] == [
        f"MAIL FROM:<{SENDER}> SIZE=1",
        "RCPT TO:<bob+a=b@example.net>",
    ]
    assert referring.commands(EhloFeatures({"DSN": ""}), b"u")[:2] == [
        f"MAIL FROM:<{SENDER}> RET=HDRS ENVID=00ff",
        "RCPT TO:<bob+a=b@example.net> ORCPT=rfc822;bob+2Ba+3Db@example.net",
    ]
    for bad in ("X Y", "RET=\r\nRSET", "", "=x", "RET=ü"):
        with pytest.raises(ValueError, match="parameter"):
            Envelope.parse(SENDER, RECIPIENT, (bad,))


@pytest.mark.parametrize(
    "message", [b"a\nb\r\n", b"a\rb\r\n", b"a\r\r\nb", b"\n", b"a\0b\r\n", b"x" * 999 + b"\r\n", b"a\r"]
)
def test_a_malformed_message_is_refused_before_a_command_is_sent(message: bytes) -> None:
    with BadServer(serve_correctly) as bad, Session(server_at(bad.port)) as session:
        with pytest.raises(ValueError, match="The message"):
            session.submit(SENDER, RECIPIENT, message)
        assert session.is_usable()
        assert not [line for line in commands(bad) if line.startswith("MAIL")]


@pytest.mark.parametrize(
    ("username", "password"), [("a\0b", "x"), ("a", "x\0"), ("a", "\ud800secret"), ("a", None)]
)
def test_unencodable_credentials_are_refused_without_repeating_them(username, password) -> None:
    server = replace(server_at(1), username=username, password=Secret(password) if password else None)
    with pytest.raises(ValueError, match="password") as refusal:
        Session(server)
    assert "secret" not in repr(refusal.value)
    assert refusal.value.__context__ is None


def test_an_ehlo_name_with_a_line_break_is_refused() -> None:
    with pytest.raises(ValueError, match="EHLO"):
        Session(replace(server_at(1), ehlo_name="x\r\nMAIL FROM:<>"))


def test_a_long_password_is_sent_after_the_auth_command() -> None:
    long = "ü" * 400

    def long_plain(peer: Peer, line: bytes) -> None:
        assert line == b"AUTH PLAIN\r\n"
        peer.send(b"334 \r\n")
        response = base64.b64decode(peer.receive()).decode()
        peer.send(b"235 ok\r\n" if response == f"\0{USERNAME}\0{long}" else b"535 no\r\n")

    with BadServer(lambda peer: serve_correctly(peer, {"AUTH": long_plain})) as bad:
        session = Session(replace(server_at(bad.port), password=Secret(long)))
        session.open()
        assert session.stage_results[-1].status is StageStatus.PASSED
        session.close()


def test_an_observer_that_fails_leaves_no_socket_open() -> None:
    def raises_at(stage: Stage, result: StageResult) -> None:
        if result.stage is stage:
            raise LookupError

    with BadServer(serve_correctly) as bad:
        for stage in _WITHOUT_TOKEN:
            session = Session(server_at(bad.port), partial(raises_at, stage))
            with pytest.raises(LookupError):
                session.open()
                session.submit(SENDER, RECIPIENT, MESSAGE)
            assert not session.is_usable()


def test_a_session_serves_as_the_host_of_a_flask_mail_connection() -> None:
    class Connection(flask_mail.Connection):
        def configure_host(self):
            session = Session(server)
            session.open()
            return session

    app = flask.Flask(__name__)
    mail = flask_mail.Mail(app)
    with BadServer(serve_correctly) as bad, app.app_context():
        server = server_at(bad.port)
        with Connection(mail.state) as connection:
            session = connection.host
            connection.send(flask_mail.Message("Hi", [RECIPIENT], "Hello", sender=SENDER))
            assert session.last_acceptance.queue_id == "4XyZ1a2b"
        assert commands(bad)[-1] == "QUIT"
        assert b"Subject: Hi" in bad.messages[0]


def test_sendmail_takes_one_recipient_and_text_with_any_line_ends() -> None:
    with BadServer(serve_correctly) as bad, Session(server_at(bad.port)) as session:
        assert session.sendmail(SENDER, RECIPIENT, "Subject: x\n\nHällo\n") == {}
        assert bad.unstuffed() == "Subject: x\r\n\r\nHällo\r\n".encode()
        for recipients in ([], [RECIPIENT, "c@example.net"]):
            with pytest.raises(ValueError, match="one recipient"):
                session.sendmail(SENDER, recipients, b"")


SES = "0100018c0a1b2c3d-12345678-abcd-4321-9876-0123456789ab-000000"
QUEUE_IDS = {
    "2.0.0 Ok: queued as 4ABC123xyz": "4ABC123xyz",
    "OK id=1rXyZ2-0004Ab-C1": "1rXyZ2-0004Ab-C1",
    "2.0.0 41BNx0aB012345 Message accepted for delivery": "41BNx0aB012345",
    "2.0.0 OK  1700000000 d9443c01a7336-1d0f.7 - gsmtp": "d9443c01a7336-1d0f.7",
    "Great success": None,
    f"Ok {SES}": SES,
    "2.6.0 <a@b.outlook.com> [InternalId=1, Hostname=y] Queued mail for delivery": "a@b.outlook.com",
    "Ok": None,
    "Message accepted": None,
    "2.0.0 Ok: queued as <20260101.1@mg.example.org>": "20260101.1@mg.example.org",
}  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), QUEUE_IDS.items())
def test_the_queue_id_is_found_in_the_final_reply(text: str, expected: str | None) -> None:
    assert parse_queue_id(Reply.from_lines(250, [text])) == expected


def test_a_failure_survives_pickling_and_copying() -> None:
    failure = SubmissionFailure(
        Stage.DATA, Reason.REPLIED, Reply.from_lines(550, ["5.7.1 no"]), True, {"a": "b"}
    )
    for copied in (pickle.loads(pickle.dumps(failure)), copy.copy(failure)):
        assert (copied.stage, copied.reason, copied.reply, copied.ambiguous, copied.evidence) == (
            failure.stage, failure.reason, failure.reply, failure.ambiguous, failure.evidence,
        )  # fmt: skip


def test_a_transcript_is_bounded_and_clean() -> None:
    transcript = Transcript()
    for _ in range(500):
        transcript.add("S", "x\x1b\u202e" * 1000)
    assert len(str(transcript)) < 25_000
    assert transcript.entries[-1].text == "[the rest is not recorded]"
    assert "\x1b" not in str(transcript)


LINES = st.lists(
    st.binary(max_size=40).map(lambda b: b.translate(None, b"\r\n\0"))
    | st.sampled_from([b".", b"..", b". ", b""])
)


@given(LINES)
def test_dot_stuffing_is_reversible_for_any_body(lines: list[bytes]) -> None:
    message = b"".join(line + b"\r\n" for line in lines)
    check_message(message)
    stuffed = dot_stuff(message)
    assert stuffed.endswith(b".\r\n")
    sent = stuffed.removesuffix(b".\r\n").split(b"\r\n")
    assert b"." not in sent  # no line ends the message early
    assert b"\r\n".join(line[1:] if line.startswith(b".") else line for line in sent) == message


USUAL_REPLIES = (
    b"220 hi",
    b"250-a\r\n250 AUTH PLAIN",
    b"250 ok",
    b"235 ok",
    b"354 go",
    b"334 x",
    b"550 no",
    b"421 x",
    b"250",
)
UNUSUAL_REPLIES = (b"250 SIZE 99999999999999999999999", b"\xff\xff", b"250-", b"250 AUTH", b"")
BLOBS = st.binary(max_size=60) | st.sampled_from(
    [reply + b"\r\n" for reply in (*USUAL_REPLIES, *UNUSUAL_REPLIES)]
)


@given(st.lists(BLOBS, max_size=9))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_reply_of_a_server_raises_anything_but_a_submission_failure(blobs: list[bytes]) -> None:
    def script(peer: Peer) -> None:
        for number, blob in enumerate(blobs):
            peer.send(blob)
            if number < len(blobs) - 1:
                peer.receive(b"\n")
        peer.disconnect()

    limits = replace(LIMITS, deadline=0.3, greeting=0.05, reply=0.05)
    with BadServer(script) as bad:
        session = Session(server_at(bad.port, Security.PLAINTEXT, limits=limits))
        try:
            with session:
                session.submit(SENDER, RECIPIENT, MESSAGE)
        except SubmissionFailure as failure:
            assert failure.stage in Stage
        str(session.transcript).encode()


def test_a_greeting_after_twelve_seconds_is_waited_for() -> None:
    def greet_late(peer: Peer, _line: bytes) -> None:
        peer.pause(12)
        peer.send(GREETING)

    with BadServer(lambda peer: serve_correctly(peer, {"GREETING": greet_late})) as bad:
        report = probe(server_at(bad.port, limits=Limits()), SENDER, RECIPIENT)
    assert report.passed


def test_a_wait_ends_when_the_caller_no_longer_wants_it() -> None:
    asked: list[bool] = []

    def keep_waiting() -> bool:
        asked.append(True)
        return len(asked) < 2

    with BadServer(lambda peer: serve_correctly(peer, {"EHLO": mute})) as bad:
        session = Session(server_at(bad.port), keep_waiting=keep_waiting)
        failure = failure_of(session)
    assert (failure.stage, failure.reason) == (Stage.EHLO, Reason.CANCELLED)
    assert len(asked) == 2


def test_the_deadline_moves_for_the_reply_to_a_message_only() -> None:
    def accept_late(peer: Peer, _line: bytes) -> None:
        peer.pause(6)
        peer.send(b"250 2.0.0 Ok: queued as late1\r\n")

    limits = replace(LIMITS, deadline=5.0)
    with BadServer(lambda peer: serve_correctly(peer, {"DOT": accept_late})) as bad:
        with Session(server_at(bad.port, limits=replace(limits, final_reply=60.0))) as session:
            assert session.submit(SENDER, RECIPIENT, MESSAGE).queue_id == "late1"
        failure = failure_of(Session(server_at(bad.port, limits=limits)))
    assert failure.ambiguous


def test_a_port_for_tls_at_once_that_stays_silent_is_not_waited_for_as_long_as_a_slow_server() -> None:
    with BadServer(mute) as bad:
        override = HostOverride("smtp.example.com", 465, ip_address("127.0.0.1"), bad.port)
        policy = EgressPolicy(host_overrides=(override,))
        server = replace(server_at(bad.port, host="smtp.example.com"), port=465, policy=policy)
        failure = failure_of(Session(server))  # LIMITS allow minutes
    assert (failure.stage, failure.reason) == (Stage.GREETING, Reason.TIMED_OUT)
