"""Every failure and every reply is diagnosed with a cause, who has to act, and a fix."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from portal.smtp.diagnosis.cases import load_cases
from portal.smtp.diagnosis.diagnose import (
    STAGE_NAMES,
    Diagnosis,
    DiagnosisKind,
    FormField,
    Move,
    RetryClass,
    diagnose,
    explain,
    parse_reply,
    parse_stage,
)
from portal.smtp.diagnosis.docs_page import render_page
from portal.smtp.diagnosis.matching import FailureContext, PastedReplyServer
from portal.smtp.diagnosis.pasted_reply import guess_stage
from portal.smtp.diagnosis.sentences import fill, placeholders
from portal.smtp.failure import Reason, Stage, SubmissionFailure
from portal.smtp.protocol.reply import Reply
from portal.smtp.providers import load_catalogue
from portal.smtp.server import Security, Server

from .agreement import KINDS, compare

pytestmark = pytest.mark.thorough

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
UNKNOWN_HOST = "mail.example.net"


def rows(name: str) -> list[list[str]]:
    lines = (HERE / name).read_text(encoding="utf-8").splitlines()
    return [line.split("\t") for line in lines if line and not line.startswith("#")]


CORPUS = [(s, k, r, UNKNOWN_HOST if h == "-" else h, t) for s, k, r, h, t in rows("replies.tsv")]
UNSEEN = rows("unseen.tsv")


def failing(stage: Stage, reason: Reason, reply: Reply | None = None, **seen: str) -> SubmissionFailure:
    return SubmissionFailure(stage, reason, reply, evidence=seen)


def server(
    host: str = UNKNOWN_HOST,
    port: int = 587,
    security: Security = Security.STARTTLS,
    username: str | None = "ada@example.com",
) -> Server:
    return Server(host, port, security, username)


def replied(stage: Stage, code: int, text: str) -> SubmissionFailure:
    return failing(stage, Reason.REPLIED, Reply.from_lines(code, [text]))


def test_the_corpus_is_large_enough() -> None:
    assert len(CORPUS) >= 300
    assert {kind for _, kind, *_ in CORPUS} >= set(DiagnosisKind) - {DiagnosisKind.SENDER_IDENTITY}


@pytest.mark.parametrize(("stage", "kind", "retry", "host", "reply"), CORPUS)
def test_a_real_reply_is_diagnosed(stage: str, kind: str, retry: str, host: str, reply: str) -> None:
    found = explain(host, stage, reply)
    assert (found.kind, found.retry_class) == (kind, retry), found.code


def without_enhanced_code(host: str, reply: str) -> tuple[str, str]:
    return host, re.sub(r"\b[245]\.\d{1,3}\.\d{1,3} ?", "", reply)


def in_capitals(host: str, reply: str) -> tuple[str, str]:
    return host, reply.replace("\\n", "\n").upper()


def from_another_host(host: str, reply: str) -> tuple[str, str]:
    return "relay.elsewhere.test", reply


def over_several_lines(host: str, reply: str) -> tuple[str, str]:
    words = reply[4:].replace("\\n", " ").split()
    lines = [" ".join(words[at : at + 4]) for at in range(0, len(words), 4)]
    return host, "\n".join([*(f"{reply[:3]}-{line}" for line in lines[:-1]), f"{reply[:3]} {lines[-1]}"])


def all_at_once(host: str, reply: str) -> tuple[str, str]:
    for change in (without_enhanced_code, over_several_lines, in_capitals, from_another_host):
        host, reply = change(host, reply)
    return host, reply


def without_any_code(host: str, reply: str) -> tuple[str, str]:
    return host, reply[4:]


@pytest.mark.parametrize(
    ("change", "minimum"),
    [
        (without_enhanced_code, 0.98),
        (in_capitals, 0.98),
        (over_several_lines, 0.98),
        (from_another_host, 0.95),
        (all_at_once, 0.95),
        (without_any_code, 0.95),
    ],
)
def test_a_modified_reply_is_still_diagnosed(
    change: Callable[[str, str], tuple[str, str]], minimum: float
) -> None:
    wrong = [
        (stage, kind, reply)
        for stage, kind, _, host, reply in CORPUS
        if explain((changed := change(host, reply))[0], stage, changed[1]).kind != kind
    ]
    assert 1 - len(wrong) / len(CORPUS) >= minimum, wrong


def test_replies_outside_the_corpus_are_diagnosed() -> None:
    wrong = [(s, kind, reply) for s, kind, reply in UNSEEN if explain(UNKNOWN_HOST, s, reply).kind != kind]
    assert 1 - len(wrong) / len(UNSEEN) >= 0.9, wrong


@pytest.mark.parametrize("stage", list(Stage))
@pytest.mark.parametrize("reason", list(Reason))
@pytest.mark.parametrize("host", [UNKNOWN_HOST, "smtp.mailgun.org", "smtp.gmail.com"])
def test_every_reason_at_every_stage_has_a_cause_and_a_fix(stage: Stage, reason: Reason, host: str) -> None:
    for port, security in [(587, Security.STARTTLS), (465, Security.IMPLICIT_TLS), (465, Security.STARTTLS)]:
        found = diagnose(failing(stage, reason), server(host, port, security))
        assert found.cause.endswith(".")
        assert found.fixes
        assert all(found.fixes)
        if reason is not Reason.REPLIED:
            assert found.code != "out-of-step"


@pytest.mark.parametrize("stage", list(Stage))
@pytest.mark.parametrize(
    "code", [421, 432, 450, 451, 454, 500, 501, 521, 530, 534, 535, 550, 552, 553, 554, 555]
)
def test_every_code_without_text_has_a_fix_at_every_stage(stage: Stage, code: int) -> None:
    found = diagnose(failing(stage, Reason.REPLIED, Reply(code, ())), server())
    assert found.fix
    assert found.code != "out-of-step"


def test_no_sentence_contains_an_unfilled_placeholder() -> None:
    for case in load_cases():
        for stage in case.stages or tuple(Stage):
            reply = Reply(
                int((case.reply_codes or ("550",))[0].ljust(3, "0")),
                ("nothing",),
                (case.enhanced_codes or (None,))[0],
            )
            found = diagnose(failing(stage, case.reasons[0], reply), server())
            assert not re.search(r"[{}]", found.cause + " ".join(found.fixes))


def test_a_diagnosis_round_trips_through_json() -> None:
    found = explain("smtp.gmail.com", "AUTH", "535 5.7.8 Username and Password not accepted")
    assert Diagnosis.from_dict(json.loads(json.dumps(found.as_dict()))).as_dict() == found.as_dict()
    assert found.field is FormField.PASSWORD
    assert found.whose_move is Move.OWNER
    assert found.evidence["reply"].startswith("535 5.7.8")


@pytest.mark.parametrize(
    ("stage", "reason", "port", "security", "expected"),
    [
        (Stage.TLS, Reason.TLS_NOT_SPOKEN, 587, Security.IMPLICIT_TLS, "Choose STARTTLS for port 587"),
        (Stage.TLS, Reason.TLS_FAILED, 2525, Security.IMPLICIT_TLS, "Choose STARTTLS for port 2525"),
        (Stage.GREETING, Reason.TIMED_OUT, 465, Security.STARTTLS, "Choose SSL/TLS for port 465"),
        (Stage.GREETING, Reason.DISCONNECTED, 465, Security.PLAINTEXT, "Choose SSL/TLS for port 465"),
        (Stage.TLS, Reason.STARTTLS_MISSING, 587, Security.STARTTLS, "port 465 with SSL/TLS"),
        (Stage.CONNECT, Reason.CONNECT_TIMED_OUT, 25, Security.STARTTLS, "587"),
        (Stage.AUTH, Reason.AUTH_NEEDS_TLS, 25, Security.PLAINTEXT, "STARTTLS"),
    ],
)
def test_confused_ports_and_encryption_get_a_specific_fix(
    stage: Stage, reason: Reason, port: int, security: Security, expected: str
) -> None:
    assert expected in diagnose(failing(stage, reason), server(port=port, security=security)).fix


def test_a_probable_misspelling_is_named_even_without_a_dns_answer() -> None:
    found = diagnose(failing(Stage.RESOLVE, Reason.NAME_UNANSWERED), server("smpt.mailgun.org"))
    assert (found.code, found.field) == ("host-perhaps-misspelt", FormField.HOST)
    assert found.fix == "Change SMTP Server to smtp.mailgun.org."
    found = diagnose(failing(Stage.RESOLVE, Reason.NAME_UNANSWERED), server("mx.shop.example"))
    assert found.code == "name-service-silent"


def test_sendgrid_refusals_point_to_the_username_or_the_password() -> None:
    refused = replied(Stage.AUTH, 535, "Authentication failed: Bad username / password")
    for username, field in [("ada@example.com", FormField.USERNAME), ("apikey", FormField.PASSWORD)]:
        assert diagnose(refused, server("smtp.sendgrid.net", username=username)).field is field


def test_a_misspelt_host_is_corrected() -> None:
    found = diagnose(failing(Stage.RESOLVE, Reason.NAME_UNKNOWN), server("smpt.mailgun.org"))
    assert found.fix == "Change SMTP Server to smtp.mailgun.org."
    assert (found.field, found.retry_class) == (FormField.HOST, RetryClass.SETTINGS)
    assert (
        diagnose(failing(Stage.RESOLVE, Reason.NAME_UNKNOWN), server("mx.shop.example")).code
        == "host-unknown"
    )


def test_a_certificate_for_another_name_is_reported_with_that_name() -> None:
    seen = failing(Stage.TLS, Reason.CERTIFICATE_NAME, names="box7.hoster.example")
    assert "box7.hoster.example" in diagnose(seen, server("mail.shop.example")).fix


@pytest.mark.parametrize(
    ("answers", "code"),
    [("IMAP", "reading-server"), ("HTTP", "web-server"), ("TLS", "encrypted-from-the-first-byte")],
)
def test_another_protocol_is_named(answers: str, code: str) -> None:
    assert diagnose(failing(Stage.GREETING, Reason.NOT_SMTP, answers=answers), server(port=993)).code == code


def test_a_known_sender_is_named() -> None:
    refused = replied(Stage.MAIL, 553, "Sender address rejected: not owned by user")
    assert "shop@example.org" in diagnose(refused, server(), sender="shop@example.org").cause


def test_transient_network_failures_never_hold_the_account() -> None:
    for reason in (
        Reason.NAME_UNANSWERED,
        Reason.CONNECT_REFUSED,
        Reason.CONNECT_TIMED_OUT,
        Reason.UNREACHABLE,
    ):
        for host, port in ((UNKNOWN_HOST, 25), ("smtp.mailgun.org", 8025), ("smpt.mailgun.org", 587)):
            found = diagnose(failing(Stage.CONNECT, reason), server(host, port))
            assert found.retry_class is RetryClass.SERVER, found.code


def test_a_wrong_form_of_username_is_named() -> None:
    refused = replied(Stage.AUTH, 535, "Authentication failed")
    literal = diagnose(refused, server("smtp.resend.com", username="ada@example.com"))
    assert (literal.code, literal.field) == ("username-must-be-literal", FormField.USERNAME)
    assert "resend" in literal.fix
    bare = diagnose(refused, server("smtp.fastmail.com", username="ada"))
    assert (bare.code, bare.field) == ("username-lacks-its-domain", FormField.USERNAME)


def test_relay_denied_depends_on_the_login() -> None:
    denied = replied(Stage.RCPT, 554, "Relay access denied")
    assert diagnose(denied, server(username=None)).kind is DiagnosisKind.LOGIN_REQUIRED
    assert diagnose(denied, server()).kind is DiagnosisKind.SENDER_IDENTITY


def test_the_same_text_has_different_meanings_at_different_stages() -> None:
    meant = {
        stage: explain(UNKNOWN_HOST, stage, "550 mailbox unavailable").kind
        for stage in ("MAIL FROM", "RCPT TO")
    }
    assert meant == {"MAIL FROM": DiagnosisKind.SENDER_IDENTITY, "RCPT TO": DiagnosisKind.RECIPIENT}
    assert explain(UNKNOWN_HOST, "AUTH", "535 unknown user").kind is DiagnosisKind.CREDENTIALS
    assert explain(UNKNOWN_HOST, "RCPT TO", "550 unknown user").kind is DiagnosisKind.RECIPIENT


def test_an_address_in_a_reply_matches_no_phrase() -> None:
    assert (
        explain(UNKNOWN_HOST, "RCPT", "550 <spam-quota@greylist.example>: user unknown").kind
        is DiagnosisKind.RECIPIENT
    )


@pytest.mark.parametrize(
    "name", ["AUTH", "MAIL FROM", "RCPT TO:", "DATA", "CONNECT", "EHLO", "STARTTLS", "banner"]
)
def test_stage_names_from_logs_are_known(name: str) -> None:
    assert parse_stage(name) in Stage
    assert set(STAGE_NAMES.values()) <= set(Stage)


def test_an_unknown_stage_is_rejected() -> None:
    with pytest.raises(ValueError, match="nonsense"):
        explain(UNKNOWN_HOST, "nonsense", "550 no")


@pytest.mark.parametrize(
    ("pasted", "code", "enhanced"),
    [
        ("535-5.7.8 Username\\n535 5.7.8 and Password not accepted", 535, "5.7.8"),
        ("(535, b'5.7.8 Authentication failed')", 535, "5.7.8"),
        ("Remote server said: 550 5.1.1 no such user", 550, "5.1.1"),
        ("5.7.8 Authentication failed", 535, "5.7.8"),
        ("4.7.0 please wait", 451, "4.7.0"),
        ("Authentication failed", 535, None),
    ],
)
def test_a_pasted_reply_is_parsed_in_every_form(pasted: str, code: int, enhanced: str | None) -> None:
    reply = parse_reply(pasted, Stage.AUTH)
    assert (reply.code, reply.enhanced) == (code, enhanced)


def test_a_long_hostile_reply_fills_no_placeholder() -> None:
    found = explain(UNKNOWN_HOST, "DATA", "554 " + "too many {host} {password} " * 5000)
    assert found.kind is DiagnosisKind.RATE
    assert "{" not in found.cause + found.fix


def test_every_case_has_a_valid_code_and_whole_sentences() -> None:
    for case in [*load_cases(), *(case for one in load_catalogue() for case in one.cases)]:
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", case.code)
        assert case.cause.endswith(".")
        assert all(fix.endswith((".", "}")) for fix in case.fixes)


def test_the_generated_page_is_current() -> None:
    written = (ROOT / "docs" / "diagnoses.md").read_text(encoding="utf-8")
    assert written == render_page(), "run: python -m portal.smtp.diagnosis.docs_page > docs/diagnoses.md"


@pytest.mark.parametrize(("stage", "kinds", "retries", "host", "reply"), rows("kinds.tsv"))
def test_a_refusal_is_read_as_a_whole(stage: str, kinds: str, retries: str, host: str, reply: str) -> None:
    found = explain("" if host == "-" else host, stage, reply)
    assert found.kind in kinds.split(","), found.code
    assert found.retry_class in retries.split(","), found.code


@pytest.mark.parametrize(("language", "stage", "kind", "retry", "reply", "source"), rows("languages.tsv"))
def test_a_reply_in_another_language_leads_to_the_same_concepts(
    language: str, stage: str, kind: str, retry: str, reply: str, source: str
) -> None:
    assert source
    found = explain(UNKNOWN_HOST, stage, reply)
    assert (found.kind, found.retry_class) == (kind, retry), (language, found.code)


def test_eleven_languages_are_tested_with_their_sources() -> None:
    languages = {language for language, *_ in rows("languages.tsv")}
    assert len(languages) == 11
    assert all(sum(row[0] == one for row in rows("languages.tsv")) >= 7 for one in languages)


@pytest.mark.parametrize("stage", list(Stage))
def test_an_unknown_server_leaves_no_hole_in_a_sentence(stage: Stage) -> None:
    for case in load_cases():
        if Reason.REPLIED not in case.reasons:
            continue
        context = FailureContext(replied(stage, 550, "no"), PastedReplyServer(""), None, load_catalogue())
        for sentence in (case.cause, *case.fixes):
            text = fill(sentence, placeholders(context))
            assert text[0].isupper()
            assert not re.search(r"\s[.,:;]|\s\s|^\W|\(\)|[{}]", text), text
            assert "{port}" not in sentence or not re.search(r"port \d", text), "no port is known"
            assert "the sender:" not in text
            assert not re.search(r"\b(the domain|domain) the sender\b", text)


def test_a_port_that_is_not_known_is_called_the_usual_one() -> None:
    found = explain("", "MAIL FROM", "530 Authentication required")
    assert "mostly 587 (STARTTLS) or 465 (SSL/TLS)" in " ".join(found.fixes)
    assert "on port" not in found.cause


def test_a_bounce_is_read_by_the_reply_within_it() -> None:
    bounce = (
        "host mx.example.net[198.51.100.9] said: 550-5.1.1 <x@example.net>: no such user here\n"
        "550 5.1.1 try again with another address (in reply to RCPT TO command)"
    )
    reply = parse_reply(bounce, Stage.RCPT)
    assert (reply.code, reply.enhanced) == (550, "5.1.1")
    assert reply.text.startswith("<x@example.net>: no such user")
    assert "RCPT" not in reply.text
    assert guess_stage(bounce) is Stage.RCPT


@pytest.mark.parametrize(
    ("bounce", "stage"),
    [
        ("host a said: 554 5.7.1 no (in reply to end of DATA command)", Stage.DATA),
        ("SMTP error from remote mail server after MAIL FROM:<a@b.example>: 550 no", Stage.MAIL),
        ("host mx.example.net refused to talk to me: 554 blocked", Stage.GREETING),
    ],
)
def test_a_bounce_names_its_stage(bounce: str, stage: Stage) -> None:
    assert guess_stage(bounce) is stage


def test_a_reply_that_follows_another_one_is_not_read() -> None:
    reply = parse_reply("550 5.1.1 User unknown 503 5.5.1 Need RCPT (recipient)", Stage.DATA)
    assert (reply.code, reply.text) == (550, "User unknown")


def test_the_reason_of_a_bounce_agrees_with_a_reference_parser() -> None:
    compared = compare(
        {"reason": reason, "command": command, "diagnostic": text}
        for reason, command, text in rows("bounces.tsv")
    )
    differing = [(one.reason, one.diagnosis.code, one.diagnostic) for one in compared if not one.agrees]
    assert len(compared) >= 60
    assert 1 - len(differing) / len(compared) >= 0.95, differing
    assert not [one for one in compared if one.wrongly_permanent]


def test_no_kind_covers_every_reason() -> None:
    for kind in DiagnosisKind:
        assert sum(kind in kinds for kinds in KINDS.values()) < len(KINDS) * 2 / 3, kind
    assert max(map(len, KINDS.values())) <= 5
    assert {one for one, *_ in rows("bounces.tsv")} == set(KINDS)
