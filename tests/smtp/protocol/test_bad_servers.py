"""Every behaviour of the table has its expected outcome and does not leak the password."""

from __future__ import annotations

import base64
import json
import traceback
from dataclasses import replace

import pytest

from portal.smtp.failure import Reason, Stage, SubmissionFailure
from portal.smtp.protocol.session import Session
from portal.smtp.server import Security

from ..badserver import (
    LIMITS,
    MESSAGE,
    PASSWORD,
    RECIPIENT,
    SENDER,
    SHORT_LIMITS,
    USERNAME,
    BadServer,
    holds_secret,
    serve_correctly,
    server_at,
)
from ..behaviours import BEHAVIOURS, Behaviour

pytestmark = pytest.mark.thorough


def submit(session: Session) -> SubmissionFailure | None:
    try:
        session.open()
        session.submit(SENDER, RECIPIENT, MESSAGE)
    except SubmissionFailure as failure:
        return failure
    return None


@pytest.mark.parametrize("behaviour", BEHAVIOURS, ids=lambda b: b.name)
def test_each_behaviour_has_its_expected_outcome(behaviour: Behaviour) -> None:
    with BadServer(behaviour.script) as bad:
        username = USERNAME if behaviour.username else None
        limits = SHORT_LIMITS if behaviour.reason is Reason.TIMED_OUT else LIMITS
        server = server_at(bad.port, behaviour.security, username=username, limits=limits)
        session = Session(replace(server, mechanism=behaviour.mechanism))
        failure = submit(session)
        kept = session.is_usable()
        session.close()

        outcome = (failure.stage, failure.reason) if failure else (None, None)
        assert outcome == (behaviour.stage, behaviour.reason), session.transcript
        if failure:
            assert (failure.reply.code if failure.reply else None) == behaviour.code
            assert failure.ambiguous is behaviour.ambiguous
            assert session.stage_results[-1].stage is failure.stage
            assert failure.stage in {r.stage for r in session.stage_results if r.status == "failed"}
        assert kept is behaviour.kept
        assert bad.received_secret() is behaviour.secret
        _assert_nothing_leaks(session, failure)


def _assert_nothing_leaks(session: Session, failure: SubmissionFailure | None) -> None:
    shown = [
        str(session.transcript),
        repr(session.server),
        json.dumps([r.as_dict() for r in session.stage_results]),
    ]
    shown.append(repr(failure))
    text = "\n".join(shown)
    if failure:
        frames = traceback.TracebackException.from_exception(failure, capture_locals=True)
        assert not holds_secret("".join(frames.format()).encode())
    assert not holds_secret(text.encode())
    assert "intranet-wiki" not in text  # the greeting of another service is not repeated
    assert not any(c in text for c in "\x1b\u202e\x07\0")


def test_the_table_holds_at_least_80_behaviours() -> None:
    names = [behaviour.name for behaviour in BEHAVIOURS]
    assert len(set(names)) == len(names) >= 80


def test_the_search_for_the_password_finds_it_where_it_was_sent() -> None:
    """Control for the assertions that the password did not leak."""
    with BadServer(serve_correctly) as bad, Session(server_at(bad.port)):
        assert bad.received_secret()
    with (
        BadServer(lambda peer: serve_correctly(peer, offers=(b"AUTH LOGIN",))) as bad,
        Session(server_at(bad.port)),
    ):
        assert bad.received_secret()
    assert not holds_secret(b"AUTH PLAIN AGFkYUBleGFtcGxlLm9yZwBub3QgdGhhdCBvbmU=")


def test_a_server_that_closes_after_two_messages_is_detected_before_the_third() -> None:
    def closes_after_two(peer) -> None:
        accepted = []

        def count(peer, _line) -> None:
            accepted.append(1)
            peer.send(b"250 ok\r\n")
            if len(accepted) == 2:
                peer.send(b"421 4.7.0 enough\r\n")
                peer.disconnect()

        serve_correctly(peer, {"DOT": count})

    with BadServer(closes_after_two) as bad, Session(server_at(bad.port)) as session:
        for _ in range(2):
            assert session.is_usable()
            session.submit(SENDER, RECIPIENT, MESSAGE)
            session.begin_message()
        bad.wait_until_disconnected()
        assert not session.is_usable()
        assert len(bad.messages) == 2


def test_an_echoed_password_is_redacted_in_reply_and_transcript() -> None:
    def echo(peer, line: bytes) -> None:
        peer.send(b"535-5.7.8 you sent " + line.strip() + b"\r\n535-5.7.8 and " + line[:30] + b"\r\n")
        peer.send(f"535 5.7.8 that is {PASSWORD}\r\n".encode())

    with BadServer(lambda peer: serve_correctly(peer, {"AUTH": echo})) as bad:
        session = Session(server_at(bad.port))
        failure = submit(session)
        assert failure and failure.reply and failure.reply.code == 535
        assert failure.reply.text == "you sent AUTH PLAIN [hidden] and AUTH PLAIN [hidden] that is [hidden]"
        _assert_nothing_leaks(session, failure)


def test_nothing_is_sent_where_data_is_accepted_after_a_refusal() -> None:
    """The lone dot that RFC 2920 advises there could deliver an empty message."""
    answers = {"RCPT": b"550 5.1.1 no\r\n"}
    offers = (b"AUTH PLAIN", b"PIPELINING")
    with BadServer(lambda peer: serve_correctly(peer, answers, offers=offers)) as bad:
        session = Session(server_at(bad.port))
        failure = submit(session)
        assert failure and failure.stage is Stage.RCPT
        assert not session.is_usable()
        session.close()
        bad.wait_until_disconnected()
        assert bad.received.endswith(b"DATA\r\n")
        assert bad.messages == []


def test_the_byte_limit_covers_the_whole_session() -> None:
    ehlo_reply = b"".join(b"250-%s\r\n" % (b"X" * 900) for _ in range(60)) + b"250 AUTH PLAIN\r\n"
    with BadServer(
        lambda peer: serve_correctly(peer, {"EHLO": ehlo_reply}, security=Security.PLAINTEXT)
    ) as bad:
        server = server_at(bad.port, Security.PLAINTEXT)
        with Session(server) as session:
            assert session.stage_results
        limited = Session(replace(server, limits=replace(LIMITS, received=40_000)))
        failure = submit(limited)
        assert failure and (failure.stage, failure.reason) == (Stage.EHLO, Reason.TOO_MUCH)


def test_a_password_echoed_after_the_login_is_redacted_too() -> None:
    echo = f"550 5.7.1 {PASSWORD.upper()} may not send\r\n".encode()
    with BadServer(lambda peer: serve_correctly(peer, {"MAIL": echo})) as bad:
        session = Session(server_at(bad.port))
        failure = submit(session)
        session.close()
    assert failure and failure.reply and failure.reply.text == "[hidden] may not send"


def test_the_deadline_limits_a_session_whose_single_replies_are_in_time() -> None:
    def slow(peer, _line) -> None:
        peer.pause(0.9)
        peer.send(b"250 ok\r\n")

    answers = {"EHLO": slow, "MAIL": slow, "RCPT": slow, "DATA": slow}
    with BadServer(lambda peer: serve_correctly(peer, answers, security=Security.PLAINTEXT)) as bad:
        server = server_at(bad.port, Security.PLAINTEXT, username=None)
        failure = submit(Session(replace(server, limits=replace(LIMITS, deadline=2.0))))
        assert failure and failure.reason is Reason.TIMED_OUT


@pytest.mark.parametrize(
    "disguised",
    [
        PASSWORD.encode().hex(),
        PASSWORD.encode().hex(" ").upper(),
        PASSWORD[::-1],
        " ".join(PASSWORD),
        "-".join(PASSWORD.upper()),
        "".join(f"%{octet:02x}" for octet in PASSWORD.encode()),
        "".join(f"\\x{octet:02x}" for octet in PASSWORD.encode()),
        "".join(f"&#{octet};" for octet in PASSWORD.encode()),
        ".".join(base64.b64encode(PASSWORD.encode()).decode()),
        PASSWORD.encode().hex()[:20],
    ],
)
def test_a_password_echoed_in_another_form_is_redacted(disguised: str) -> None:
    echo = f"535 5.7.8 no such user: {disguised} here\r\n".encode()
    with BadServer(lambda peer: serve_correctly(peer, {"AUTH": echo})) as bad:
        session = Session(server_at(bad.port))
        failure = submit(session)
        session.close()
    assert failure and failure.reply
    for text in (failure.reply.text, str(session.transcript)):
        assert disguised not in text
        assert disguised[4:-4] not in text
    assert failure.reply.text.startswith("no such user: ")
    assert "[hidden]" in failure.reply.text
