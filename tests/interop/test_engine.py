"""The engine with Postfix, Haraka and Dovecot: acceptance, refusals and their diagnoses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from email import message_from_bytes
from email.policy import SMTP

import pytest

from portal.outbox.sending.mime import mailbox_header, serialise
from portal.smtp.diagnosis.cases import DiagnosisKind, RetryClass
from portal.smtp.diagnosis.diagnose import diagnose
from portal.smtp.failure import Reason, Stage, SubmissionFailure
from portal.smtp.probe.dry_run import probe
from portal.smtp.protocol.envelope import Acceptance, OutgoingMessage
from portal.smtp.protocol.session import Session
from portal.smtp.server import Mechanism, Security, Server

from .dovecot import Dovecot, dovecot_missing
from .postfix import Postfix
from .servers import (
    ELSEWHERE,
    FOREIGN,
    GREYLISTED,
    RECIPIENT,
    SENDER,
    SIZE,
    UNKNOWN,
    Haraka,
    Started,
)

TEXT = "Grüße,\n.a line with a dot\n..\n.\nFrom here on\n" + "=20 " * 40 + "\nbye\n"
HTML = "<p>Grüße</p>\n.\n" + "ü" * 300 + "\n"
MECHANISMS = [Mechanism.PLAIN, Mechanism.LOGIN, Mechanism.CRAM_MD5]


@pytest.fixture(params=["postfix", "haraka", "dovecot"])
def real(request: pytest.FixtureRequest) -> Iterator[Started]:
    yield request.getfixturevalue(request.param)


def message(number: int = 0, size: int = 0) -> bytes:
    headers = {
        "From": mailbox_header("Jürgen & Co.", SENDER),
        "To": mailbox_header("Bob", RECIPIENT),
        "Subject": f"Grüße {number}",
        "Date": "Mon, 05 Jan 2026 10:00:00 +0000",
        "Message-ID": f"<{number}@example.org>",
    }
    return serialise(headers, TEXT + "more text\n" * (size // 10), HTML)


def refused(
    server: Server, sender: str = SENDER, recipient: str = RECIPIENT, size: int = 0
) -> tuple[SubmissionFailure, DiagnosisKind, RetryClass]:
    with pytest.raises(SubmissionFailure) as met, Session(server) as session:
        session.submit(sender, recipient, message(size=size))
    diagnosis = diagnose(met.value, server, sender=sender)
    return met.value, diagnosis.kind, diagnosis.retry_class


@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize("security", [Security.STARTTLS, Security.IMPLICIT_TLS])
def test_a_message_is_accepted_with_a_queue_id(
    real: Started, security: Security, mechanism: Mechanism
) -> None:
    with Session(real.server(security, mechanism=mechanism)) as session:
        acceptance = session.submit(SENDER, RECIPIENT, message())
    assert acceptance.reply.code == 250
    assert acceptance.queue_id is not None
    assert acceptance.queue_id in acceptance.reply.text
    assert f"AUTH {mechanism.value.upper()}" in str(session.transcript)


def test_the_probe_passes_every_stage_but_data(real: Started) -> None:
    report = probe(real.server(), SENDER, RECIPIENT)
    assert report.passed
    others = (Stage.CONSENT, Stage.DATA)  # a password needs no token
    assert [result.stage for result in report.stages] == [stage for stage in Stage if stage not in others]


def test_a_wrong_password_is_diagnosed_as_credentials(real: Started) -> None:
    failure, kind, retry = refused(real.server(password="wrong"))
    assert (failure.stage, failure.reason) == (Stage.AUTH, Reason.REPLIED)
    assert failure.reply is not None
    assert failure.reply.code == 535
    assert (kind, retry) == (DiagnosisKind.CREDENTIALS, RetryClass.SETTINGS)


@dataclass(frozen=True)
class Refusal:
    stage: Stage
    codes: tuple[int, ...]
    kind: DiagnosisKind
    retry: RetryClass
    sender: str = SENDER
    recipient: str = RECIPIENT


REFUSALS = {
    "a sender of somebody else": Refusal(
        Stage.MAIL, (553, 550), DiagnosisKind.SENDER_IDENTITY, RetryClass.SETTINGS, sender=FOREIGN
    ),
    "an unknown recipient": Refusal(
        Stage.RCPT, (550,), DiagnosisKind.RECIPIENT, RetryClass.RECIPIENT, recipient=UNKNOWN
    ),
    "a recipient for later": Refusal(
        Stage.RCPT, (450,), DiagnosisKind.GREYLISTED, RetryClass.LATER, recipient=GREYLISTED
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_a_refusal_is_diagnosed(real: Started, name: str) -> None:
    expected = REFUSALS[name]
    port = len(real.ports) - 1 if isinstance(real, Postfix) else 0
    failure, kind, retry = refused(real.server(port=port), expected.sender, expected.recipient)
    assert failure.reply is not None
    assert (failure.stage, kind, retry) == (expected.stage, expected.kind, expected.retry), failure
    assert failure.reply.code in expected.codes


def test_a_sender_refused_at_rcpt_is_diagnosed_as_the_sender(
    postfix: Postfix,
) -> None:
    """Postfix delays a refusal until RCPT (smtpd_delay_reject)."""
    failure, kind, _ = refused(postfix.server(), FOREIGN)
    assert (failure.stage, kind) == (Stage.RCPT, DiagnosisKind.SENDER_IDENTITY)


def test_a_relay_refuses_mail_without_a_log_in(postfix: Postfix) -> None:
    failure, kind, retry = refused(postfix.server(username=None), "x@example.com", ELSEWHERE)
    assert failure.reply is not None
    assert (failure.stage, failure.reply.code) == (Stage.RCPT, 554)
    assert (kind, retry) == (DiagnosisKind.LOGIN_REQUIRED, RetryClass.SETTINGS)


def test_haraka_refuses_to_relay_without_a_log_in(haraka: Haraka) -> None:
    failure, _, _ = refused(haraka.server(username=None), "x@example.com", ELSEWHERE)
    assert failure.reply is not None
    assert (failure.stage, failure.reply.code) == (Stage.RCPT, 550)


def test_a_message_over_the_announced_size_is_not_sent(real: Started) -> None:
    failure, kind, retry = refused(real.server(), size=SIZE)
    assert (failure.stage, failure.reason) == (Stage.MAIL, Reason.MESSAGE_TOO_BIG)
    assert (kind, retry) == (DiagnosisKind.CONTENT, RetryClass.MESSAGE)


def test_a_message_over_an_unannounced_size_is_refused_at_its_end(postfix: Postfix) -> None:
    failure, kind, retry = refused(postfix.server(port=2), size=SIZE)
    assert failure.reply is not None
    assert (failure.stage, failure.reply.code, failure.ambiguous) == (Stage.DATA, 552, False)
    assert (kind, retry) == (DiagnosisKind.CONTENT, RetryClass.MESSAGE)


def assert_unchanged(raw: bytes, number: int) -> None:
    parsed = message_from_bytes(raw.replace(b"\r\n", b"\n"), policy=SMTP)
    assert parsed["Subject"] == f"Grüße {number}"
    assert parsed["From"].addresses[0].display_name == "Jürgen & Co."
    for kind, words in (("plain", TEXT), ("html", HTML)):
        part = parsed.get_body((kind,))
        assert part is not None
        assert part.get_content().replace("\r\n", "\n") == words


def submit_all(
    server: Server, recipients: list[str]
) -> tuple[list[Acceptance | SubmissionFailure], list[str]]:
    queue = [
        OutgoingMessage.build(SENDER, recipient, message(number))
        for number, recipient in enumerate(recipients)
    ]
    with Session(server) as session:
        outcomes, transcripts = [], []
        for outcome in session.submit_many(queue):
            outcomes.append(outcome)
            transcripts.append(str(session.transcript))
    return outcomes, transcripts


MANY = [RECIPIENT, RECIPIENT, UNKNOWN, RECIPIENT, RECIPIENT, GREYLISTED, RECIPIENT, RECIPIENT]


@pytest.mark.parametrize("port", [0, 2], ids=["pipelined", "one command at a time"])
def test_many_messages_share_a_connection_to_postfix_and_arrive_unchanged(
    postfix: Postfix, port: int
) -> None:
    before = set(postfix.delivered(0))
    outcomes, transcripts = submit_all(postfix.server(port=port), MANY)
    assert [isinstance(outcome, Acceptance) for outcome in outcomes] == [to == RECIPIENT for to in MANY]
    assert ["sent together" in transcript for transcript in transcripts] == [
        port == 0 and number in {1, 2, 4, 5, 7} for number in range(len(MANY))
    ]
    assert not any("S: 220 " in transcript for transcript in transcripts[1:])
    arrived = [raw for raw in postfix.delivered(len(before) + 6) if raw not in before]
    numbers = sorted(int(str(message_from_bytes(raw)["Message-ID"])[1:].split("@")[0]) for raw in arrived)
    assert numbers == [0, 1, 3, 4, 6, 7]
    for raw in arrived:
        assert_unchanged(raw, int(str(message_from_bytes(raw)["Message-ID"])[1:].split("@")[0]))


def test_a_server_that_refuses_pipelined_envelopes_loses_no_message(haraka: Haraka) -> None:
    """Haraka offers PIPELINING but refuses commands that arrive with the end of a message."""
    before = set(haraka.delivered(0))
    outcomes, transcripts = submit_all(haraka.server(), MANY)
    assert [isinstance(outcome, Acceptance) for outcome in outcomes] == [to == RECIPIENT for to in MANY]
    assert not any("S: 220 " in transcript for transcript in transcripts[1:])
    if "pipelined after" in transcripts[1]:
        assert "each message by itself" in transcripts[1]
        assert not any("sent together" in transcript for transcript in transcripts[2:])
    arrived = [raw for raw in haraka.delivered(len(before) + 6) if raw not in before]
    for number, raw in zip([0, 1, 3, 4, 6, 7], arrived, strict=True):
        assert_unchanged(raw, number)


def test_a_submission_server_whose_relay_is_down_is_tried_again(real_or_skip) -> None:
    """Dovecot answers MAIL for a relay that is down: the settings are right, and the queue is not held."""
    real_or_skip(dovecot_missing())
    with Dovecot() as alone:
        failure, kind, retry = refused(alone.server())
    assert failure.reply is not None
    assert (failure.stage, failure.reply.code) == (Stage.MAIL, 421)
    assert (kind, retry) == (DiagnosisKind.SERVER_FAULT, RetryClass.SERVER)
