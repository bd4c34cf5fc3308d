"""Pipelining: only the next envelope is sent with the end of a message, so a message costs one round trip."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from portal.smtp.failure import Reason, Stage, SubmissionFailure
from portal.smtp.protocol.envelope import Acceptance, OutgoingMessage
from portal.smtp.protocol.session import Session
from portal.smtp.server import Limits, Security

from ..badserver import (
    LIMITS,
    OFFER,
    SENDER,
    SHORT_LIMITS,
    Answer,
    BadServer,
    Peer,
    disconnect,
    mute,
    receive_message,
    serve_correctly,
    server_at,
    then_disconnect,
)

PIPELINING = (*OFFER, b"PIPELINING")


def outgoing(number: int) -> OutgoingMessage:
    return OutgoingMessage.build(
        SENDER, f"r{number}@example.net", b"Subject: %d\r\n\r\nHello %d\r\n" % (number, number)
    )


def once(number: int, exception: Answer, usual: Answer) -> Callable[[Peer, bytes], None]:
    """Answer command ``number``, counted over all connections, with ``exception`` and all others with ``usual``."""
    count = itertools.count(1)

    def answer(peer: Peer, line: bytes) -> None:
        chosen = exception if next(count) == number else usual
        if isinstance(chosen, bytes):
            peer.send(chosen)
        else:
            chosen(peer, line)

    return answer


OK = b"250 2.1.0 Ok\r\n"
DONE = b"250 2.0.0 Ok: queued as 4XyZ1a2b\r\n"


def accept(peer: Peer, line: bytes) -> None:
    receive_message(peer, line)
    peer.send(DONE)


def pipelining(**answers: Answer) -> Callable[[Peer], None]:
    return partial(serve_correctly, answers=answers, offers=PIPELINING)


def subjects(bad: BadServer) -> list[bytes]:
    return [message.split(b"\r\n")[1] for message in bad.messages]


def send(
    bad: BadServer, count: int, limits: Limits = LIMITS
) -> tuple[list[Acceptance | SubmissionFailure], list[str]]:
    with Session(server_at(bad.port, limits=limits)) as session:
        outcomes, transcripts = [], []
        for outcome in session.submit_many(map(outgoing, range(count))):
            outcomes.append(outcome)
            transcripts.append(str(session.transcript))
        return outcomes, transcripts


def test_the_next_envelope_arrives_with_the_end_of_a_message() -> None:
    following: list[bytes] = []

    def record_buffer(peer: Peer, _line: bytes) -> None:
        following.append(bytes(peer.buffer))
        peer.send(DONE)

    with BadServer(pipelining(DOT=record_buffer)) as bad:
        outcomes, transcripts = send(bad, 3)
        assert subjects(bad) == [b"Subject: 0", b"Subject: 1", b"Subject: 2"]
        assert bad.connections == 1
    assert all(isinstance(outcome, Acceptance) for outcome in outcomes)
    assert following == [
        b"MAIL FROM:<info@example.org> SIZE=23\r\nRCPT TO:<r1@example.net>\r\nDATA\r\n",
        b"MAIL FROM:<info@example.org> SIZE=23\r\nRCPT TO:<r2@example.net>\r\nDATA\r\n",
        b"",
    ]
    for number, transcript in enumerate(transcripts):
        named = {other for other in range(3) if f"r{other}@" in transcript}
        assert named == {number}  # no transcript mentions another message
        assert ("sent together" in transcript) is (number > 0)
        assert transcript.count("S: 250") >= 3


def test_a_server_without_pipelining_gets_one_command_at_a_time() -> None:
    following: list[bytes] = []

    def record_buffer(peer: Peer, _line: bytes) -> None:
        time.sleep(0.02)
        following.append(bytes(peer.buffer))
        peer.send(DONE)

    with BadServer(partial(serve_correctly, answers={"DOT": record_buffer})) as bad:
        outcomes, _ = send(bad, 3)
    assert following == [b"", b"", b""]
    assert len(outcomes) == 3


def test_only_the_envelope_is_sent_before_the_outcome_is_read() -> None:
    with BadServer(pipelining()) as bad, Session(server_at(bad.port)) as session:
        for number, outcome in enumerate(session.submit_many(map(outgoing, range(4)))):
            assert isinstance(outcome, Acceptance)
            time.sleep(0.02)
            assert len(bad.messages) == number + 1
            assert b"Subject: %d" % (number + 1) not in bad.received


def test_messages_are_read_one_ahead_and_no_further() -> None:
    read: list[int] = []

    def queue() -> Iterator[OutgoingMessage]:
        for number in range(5):
            read.append(number)
            yield outgoing(number)

    with BadServer(pipelining()) as bad, Session(server_at(bad.port)) as session:
        for number, _ in enumerate(session.submit_many(queue())):
            assert read == list(range(min(number + 2, 5)))


REFUSED = b"550 5.1.1 no such user\r\n"
UNEXPECTED: dict[str, dict[str, Answer]] = {
    "refuses MAIL temporarily": {"MAIL": once(2, b"450 4.7.1 slowly\r\n", OK), "DATA": once(2, b"503 no\r\n", accept)},
    "refuses MAIL and accepts DATA": {"MAIL": once(2, b"550 5.7.1 no\r\n", OK)},
    "refuses RCPT as out of order": {"RCPT": once(2, b"503 5.5.1 order\r\n", OK)},
    "refuses DATA as out of order": {"DATA": once(2, b"554 5.5.0 improper pipelining\r\n", accept)},
    "refuses RCPT like Exim": {"RCPT": once(2, b"554 SMTP synchronization error\r\n", OK)},
    "closes with 421 at MAIL": {"MAIL": once(2, then_disconnect(b"421 4.7.0 too many messages\r\n"), OK)},
    "closes with 421 at DATA": {"DATA": once(2, then_disconnect(b"421 4.7.0 enough\r\n"), accept)},
    "disconnects at MAIL": {"MAIL": once(2, disconnect, OK)},
    "disconnects at RCPT": {"RCPT": once(2, disconnect, OK)},
    "disconnects at DATA": {"DATA": once(2, disconnect, accept)},
    "ignores MAIL": {"MAIL": once(2, lambda _peer, _line: None, OK)},
    "stops replying at MAIL": {"MAIL": once(2, mute, OK)},
    "sends two replies at the dot": {"DOT": once(1, DONE + b"250 ok\r\n", DONE)},
    "sends two replies at RCPT": {"RCPT": once(2, OK + OK, OK)},
    "sends two replies at DATA": {"DATA": once(2, b"354 go\r\n354 go\r\n", accept)},
    "sends garbage at MAIL": {"MAIL": once(2, b"what?\r\n", OK)},
    "sends 354 at MAIL": {"MAIL": once(2, b"354 go\r\n", OK)},
}  # fmt: skip


@pytest.mark.parametrize("name", UNEXPECTED)
def test_after_an_unexpected_reply_the_message_is_sent_again_alone(name: str) -> None:
    with BadServer(pipelining(**UNEXPECTED[name])) as bad:
        times_out = name in ("ignores MAIL", "stops replying at MAIL")
        outcomes, transcripts = send(bad, 4, SHORT_LIMITS if times_out else LIMITS)
        assert [isinstance(outcome, Acceptance) for outcome in outcomes] == [True] * 4, "\n".join(transcripts)
        complete = [subject for subject in subjects(bad) if subject.startswith(b"Subject")]
        assert complete == [b"Subject: %d" % number for number in range(4)]
        assert "each message by itself" in transcripts[1]
        assert ("one command at a time" in transcripts[1]) is (bad.connections == 2)
        assert "sent together" not in transcripts[2] + transcripts[3]


@pytest.mark.parametrize("accepts_data", [True, False])
def test_an_unknown_recipient_is_tried_once_and_the_other_messages_are_sent(accepts_data: bool) -> None:
    data: dict[str, Answer] = (
        {} if accepts_data else {"DATA": once(2, b"554 5.5.1 no recipients\r\n", accept)}
    )
    with BadServer(pipelining(RCPT=once(2, REFUSED, OK), **data)) as bad:
        outcomes, transcripts = send(bad, 4)
        assert bad.received.count(b"r1@example.net") == 1
        assert [subject for subject in subjects(bad) if subject] == [
            b"Subject: 0",
            b"Subject: 2",
            b"Subject: 3",
        ]
        assert bad.connections == (2 if accepts_data else 1)
    failure = outcomes[1]
    assert isinstance(failure, SubmissionFailure)
    assert (failure.stage, failure.reason, failure.ambiguous) == (Stage.RCPT, Reason.REPLIED, False)
    assert [isinstance(outcome, Acceptance) for outcome in outcomes] == [True, False, True, True]
    assert "sent together" in transcripts[3]


def test_a_message_refused_at_its_end_leaves_the_next_envelope_valid() -> None:
    with BadServer(pipelining(DOT=once(2, b"554 5.7.1 spam\r\n", DONE))) as bad:
        outcomes, transcripts = send(bad, 4)
        assert bad.connections == 1
    assert [isinstance(outcome, Acceptance) for outcome in outcomes] == [True, False, True, True]
    assert "sent together" in transcripts[2]
    assert "RSET" not in "".join(transcripts)


@pytest.mark.parametrize(("end", "reason"), [(disconnect, Reason.DISCONNECTED), (mute, Reason.TIMED_OUT)])
def test_a_connection_lost_at_the_final_dot_makes_that_message_ambiguous_only(
    end: Answer, reason: Reason
) -> None:
    with BadServer(pipelining(DOT=once(2, end, DONE))) as bad:
        outcomes, _ = send(bad, 4, SHORT_LIMITS if end is mute else LIMITS)
        assert subjects(bad) == [b"Subject: %d" % number for number in range(4)]
    failure = outcomes[1]
    assert isinstance(failure, SubmissionFailure)
    assert (failure.stage, failure.reason, failure.ambiguous) == (Stage.DATA, reason, True)
    assert [isinstance(outcome, Acceptance) for outcome in outcomes] == [True, False, True, True]


def test_stopping_after_an_outcome_sends_no_further_message() -> None:
    with BadServer(pipelining()) as bad:
        with Session(server_at(bad.port)) as session:
            next(session.submit_many(map(outgoing, range(3))))
        assert not session.is_usable()
        bad.wait_until_disconnected()
        assert subjects(bad) == [b"Subject: 0"]
        assert b"QUIT" not in bad.received  # the server would read it as part of a message


def test_another_message_than_the_announced_one_is_not_sent_to_its_recipient() -> None:
    with BadServer(pipelining()) as bad, Session(server_at(bad.port)) as session:
        session.send(outgoing(0), following=outgoing(1))
        with pytest.raises(SubmissionFailure) as met:
            session.send(outgoing(2))
        assert (met.value.stage, met.value.reason) == (Stage.MAIL, Reason.DISCONNECTED)
        assert not met.value.ambiguous
        session.open()
        session.send(outgoing(2))
        assert subjects(bad) == [b"Subject: 0", b"Subject: 2"]


def test_cancelling_a_refused_pipelined_envelope_keeps_the_connection() -> None:
    answers: dict[str, Answer] = {
        "RCPT": once(2, REFUSED, OK),
        "DATA": once(2, b"503 5.5.1 no\r\n", accept),
    }
    with BadServer(pipelining(**answers)) as bad, Session(server_at(bad.port)) as session:
        session.send(outgoing(0), following=outgoing(1))
        session.verify_recipient(SENDER, "r2@example.net")
        session.send(outgoing(3))
        assert bad.connections == 1


def test_an_envelope_that_the_server_cannot_accept_is_not_pipelined() -> None:
    big = OutgoingMessage.build(
        SENDER, "big@example.net", b"Subject: big\r\n\r\n" + b"x" * 78 + b"\r\n" + b"y\r\n" * 40_000
    )
    with BadServer(pipelining()) as bad, Session(server_at(bad.port)) as session:
        outcomes = list(session.submit_many([outgoing(0), big, outgoing(2)]))
        assert b"big@example.net" not in bad.received
        assert bad.connections == 1
    assert [isinstance(outcome, Acceptance) for outcome in outcomes] == [True, False, True]


def test_an_unreachable_server_fails_each_message() -> None:
    with BadServer(mute) as bad:
        port = bad.port
    outcomes = list(Session(server_at(port)).submit_many(map(outgoing, range(3))))
    assert [isinstance(o, SubmissionFailure) and o.stage for o in outcomes] == [Stage.CONNECT] * 3


REPLIES = st.sampled_from(
    [
        OK,
        OK,
        OK,
        OK,
        b"450 4.2.0 later\r\n",
        REFUSED,
        b"503 5.5.1 no\r\n",
        OK + OK,
        b"",
        b"?\r\n",
        b"421 bye\r\n",
    ]
)
PLANS = st.lists(
    st.tuples(st.sampled_from(["MAIL", "RCPT", "DATA", "DOT"]), st.integers(1, 4), REPLIES), max_size=4
)


@given(PLANS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_message_is_sent_twice_or_counted_as_accepted_without_acceptance(
    plan: list[tuple[str, int, bytes]],
) -> None:
    """The messages that the server received agree with the outcomes, for any replies at any command."""
    commands, exceptions = Counter[str](), {(verb, number): reply for verb, number, reply in plan}
    received: list[bytes] = []

    def answer_to(verb: str, usual: bytes) -> Callable[[Peer, bytes], None]:
        def answer(peer: Peer, _line: bytes) -> None:
            commands[verb] += 1
            reply = exceptions.get((verb, commands[verb]), usual)
            if verb == "DATA" and reply == usual:
                receive_message(peer)
                commands["DOT"] += 1
                received.append(peer.server.messages[-1].split(b"\r\n")[1])
                reply = exceptions.get(("DOT", commands["DOT"]), DONE)
            peer.send(reply)

        return answer

    usual = {"MAIL": OK, "RCPT": OK, "DATA": b"354 go\r\n"}
    script = partial(
        serve_correctly,
        answers={verb: answer_to(verb, reply) for verb, reply in usual.items()},
        offers=PIPELINING,
        security=Security.PLAINTEXT,
    )
    limits = replace(LIMITS, deadline=0.4, reply=0.1)
    with BadServer(script) as bad:
        session = Session(server_at(bad.port, Security.PLAINTEXT, limits=limits))
        outcomes = list(session.submit_many(map(outgoing, range(4))))
        session.close()
    times = Counter(received)
    for number, outcome in enumerate(outcomes):
        arrived = times[b"Subject: %d" % number]
        assert arrived <= 1
        if isinstance(outcome, Acceptance):
            assert arrived == 1
