"""The explain command works without database, keys and configuration."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from portal.smtp.diagnosis.explain_cli import (
    MAX_LINE_BYTES,
    ExplainError,
    bare_host,
    explain_line,
    explain_reply,
)
from portal.smtp.diagnosis.pasted_reply import guess_stage, parse_stage
from portal.smtp.failure import Stage

pytestmark = pytest.mark.thorough

ROOT = Path(__file__).resolve().parents[3]
FLASK = [str(Path(sys.executable).parent / "flask"), "smtp", "explain"]
ENGINE = [sys.executable, "-m", "portal.smtp", "explain"]
GOOGLE = "535-5.7.8 Username and Password not accepted. For more information, go to"
REQUEST = {"server": "smtp.gmail.com", "stage": "AUTH", "reply": GOOGLE}


def run(
    command: list[str], *arguments: str, stdin: bytes = b"", **env: str
) -> subprocess.CompletedProcess[bytes]:
    """Run a command in an environment without configuration."""
    bare = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("SIGNET_", "MAIL_", "SECRET_", "FLASK_"))
    }
    bare |= {"SIGNET_INSTANCE": "/nonexistent/instance", "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [*command, *arguments], cwd=ROOT, env=bare | env, input=stdin, capture_output=True, timeout=600
    )


def pasted(**changes: str) -> list[str]:
    return [part for key, value in (REQUEST | changes).items() for part in (f"--{key}", value)]


def answers(result: subprocess.CompletedProcess[bytes]) -> list[dict[str, object]]:
    return [json.loads(line) for line in result.stdout.decode("ascii").splitlines()]


@pytest.mark.parametrize(
    "command", [FLASK, [FLASK[0], "--app", "wsgi", *FLASK[1:]], ENGINE], ids=["flask", "app", "engine"]
)
def test_a_reply_is_explained_without_an_instance(command: list[str]) -> None:
    result = run(command, *pasted(), "--json")
    assert (result.returncode, result.stderr) == (0, b"")
    (answer,) = answers(result)
    assert answer["code"] == "gmail-credentials"
    assert answer["whose_move"] == "owner"
    assert set(answer) == {"code", "kind", "cause", "whose_move", "fixes", "field", "retry_class", "evidence"}
    assert not Path("/nonexistent").exists()


def test_without_json_the_output_is_readable_text() -> None:
    output = run(ENGINE, *pasted()).stdout.decode()
    assert "Who needs to act: you (field: password)" in output
    assert "apppasswords" in output
    assert "{" not in output


def test_flask_and_the_module_command_print_the_same() -> None:
    lines = b"\n".join(
        json.dumps(REQUEST | {"stage": stage}).encode() for stage in ("AUTH", "RCPT TO", "banner")
    )
    assert run(FLASK, "--jsonl", stdin=lines).stdout == run(ENGINE, "--jsonl", stdin=lines).stdout != b""


def test_a_multiline_reply_is_read_from_standard_input() -> None:
    result = run(
        ENGINE, "--stage", "RCPT", "--reply", "-", "--json", stdin=b"550-5.1.1 No such\r\n550 5.1.1 user\r\n"
    )
    assert answers(result)[0]["code"] == "recipient-plainly-unknown"


def test_every_line_gets_one_line_in_order_and_invalid_ones_an_error() -> None:
    good = json.dumps(REQUEST).encode()
    bad = [
        b"nonsense",
        b"",
        b"[1, 2]",
        b'"text"',
        b"{}",
        b'{"server": "a", "stage": "AUTH"}',
        b'{"server": null, "stage": "AUTH", "reply": "535 no"}',
        b'{"server": "a", "stage": "AUTH", "reply": 535}',
        b'{"server": "a", "stage": ["AUTH"], "reply": "535 no"}',
        b'{"server": "a", "stage": "BREAKFAST", "reply": "535 no"}',
        b'{"server": "a", "stage": "", "reply": "535 no"}',
        b'{"server": "a", "stage": "AUTH", "reply": ""}',
        b'{"server": "a", "stage": "AUTH", "reply": " \\u0000 \\n"}',
        b"\xff\xfe\x00",
        b"[" * 100_000,
        b'{"server": "a", "stage": "AUTH", "reply": "' + b"x" * (MAX_LINE_BYTES * 3) + b'"}',
    ]
    stdin = b"\n".join(part for one in bad for part in (one, good)) + b"\n"
    result = run(ENGINE, "--jsonl", stdin=stdin)
    output = answers(result)
    assert result.returncode == 1
    assert result.stderr == b""
    assert len(output) == 2 * len(bad)
    assert all(list(answer) == ["error"] for answer in output[::2]), output[::2]
    assert all(answer["code"] == "gmail-credentials" for answer in output[1::2])


def test_valid_lines_exit_with_0() -> None:
    result = run(ENGINE, "--jsonl", stdin=json.dumps(REQUEST).encode())
    assert (result.returncode, len(answers(result))) == (0, 1)
    assert run(ENGINE, "--jsonl").returncode == 0


def test_each_line_is_answered_before_the_next_is_read() -> None:
    process = subprocess.Popen([*ENGINE, "--jsonl"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin
    assert process.stdout
    for stage in ("AUTH", "nowhere", "RCPT TO"):
        process.stdin.write(json.dumps(REQUEST | {"stage": stage}).encode() + b"\n")
        process.stdin.flush()
        assert json.loads(process.stdout.readline())
    process.stdin.close()
    assert process.wait(300) == 1
    process.stdout.close()


def test_a_closed_output_pipe_causes_no_traceback() -> None:
    many = (json.dumps(REQUEST) + "\n").encode() * 2000
    script = f"{sys.executable} -m portal.smtp explain --jsonl | head -1"
    result = subprocess.run(["sh", "-c", script], cwd=ROOT, input=many, capture_output=True, timeout=600)
    assert len(answers(result)) == 1
    assert b"Traceback" not in result.stderr
    assert b"Exception" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        ([], 2),
        (["--stage", "AUTH"], 2),
        (["--nonsense"], 2),
        (["--stage", "BREAKFAST", "--reply", "535 no"], 1),
        (["--stage", "AUTH", "--reply", " "], 1),
    ],
)
def test_an_invalid_command_line_exits_with_a_message(arguments: list[str], status: int) -> None:
    result = run(ENGINE, *arguments)
    assert result.returncode == status
    assert result.stderr
    assert b"Traceback" not in result.stderr


def test_with_json_an_error_is_json() -> None:
    result = run(ENGINE, *pasted(stage="BREAKFAST"), "--json")
    assert (result.returncode, list(answers(result)[0])) == (1, ["error"])


def test_an_ascii_terminal_gets_output() -> None:
    result = run(
        ENGINE, *pasted(reply="535 Пароль неверен", server="smtp.example.org"), PYTHONIOENCODING="ascii"
    )
    assert (result.returncode, result.stderr) == (0, b"")


def test_control_characters_of_a_reply_are_not_printed() -> None:
    output = run(
        ENGINE, *pasted(reply="535 \x1b[31mno\x07 \u202egnp", server="smtp.\x1bgmail.com")
    ).stdout.decode()
    assert not [c for c in output if c != "\n" and not c.isprintable()]


@pytest.mark.parametrize(
    ("name", "stage"),
    [
        ("MAIL FROM", Stage.MAIL),
        ("MAIL FROM:<ada@example.org>", Stage.MAIL),
        ("mail  from:", Stage.MAIL),
        ("RCPT TO", Stage.RCPT),
        ("rcpt to:<x@example.org>", Stage.RCPT),
        ("banner", Stage.GREETING),
        ("220", Stage.GREETING),
        ("HELO/EHLO", Stage.EHLO),
        ("STARTTLS", Stage.TLS),
        ("AUTH PLAIN", Stage.AUTH),
        ("AUTH CRAM-MD5", Stage.AUTH),
        ("Stage.AUTH", Stage.AUTH),
        ("log-in", Stage.AUTH),
        ("(connect)", Stage.CONNECT),
        ("end of DATA", Stage.DATA),
        (".", Stage.DATA),
    ],
)
def test_stage_names_are_parsed_in_every_form(name: str, stage: Stage) -> None:
    assert parse_stage(name) is stage


@pytest.mark.parametrize("name", ["", "  ", "breakfast", "<>", "x" * 10_000, "auths"])
def test_an_invalid_stage_name_is_rejected(name: str) -> None:
    with pytest.raises(ValueError, match="is not a valid Stage"):
        parse_stage(name)


@pytest.mark.parametrize(
    ("reply", "stage"),
    [
        (GOOGLE, Stage.AUTH),
        ("550 5.1.1 <ada@example.org> user unknown", Stage.RCPT),
        ("553 5.7.1 Sender address rejected: not owned by user", Stage.MAIL),
        ("554 5.7.1 message looks like spam", Stage.DATA),
        ("421 4.7.0 try again later", Stage.GREETING),
        ("nonsense", Stage.RCPT),
    ],
)
def test_a_missing_stage_is_guessed(reply: str, stage: Stage) -> None:
    assert guess_stage(reply) is stage
    assert explain_reply("", "", reply).evidence["stage"] == stage


@pytest.mark.parametrize(
    ("stage", "reply", "cause"),
    [
        ("AUTH", "535 5.7.8 denied", "The server did not accept the username and password."),
        (
            "AUTH",
            "454 4.7.0 Too many login attempts",
            "There were too many log-ins at the server in a short time.",
        ),
        ("AUTH", "504 5.5.4 mechanism not supported", "The server does not accept this log-in method."),
        (
            "STARTTLS",
            "502 5.5.1 STARTTLS not supported",
            "The server refuses to encrypt, so the password was not sent.",
        ),
    ],
)
def test_sentences_about_an_unknown_server_have_a_subject_and_name_no_port(
    stage: str, reply: str, cause: str
) -> None:
    assert explain_reply("", stage, reply).cause == cause


@pytest.mark.parametrize("reply", ["421 x", "451 x", "454 x", "504 x", "530 x", "535 x", "550 x", "554 x"])
@pytest.mark.parametrize("stage", list(Stage))
def test_no_sentence_about_an_unknown_server_has_a_gap(stage: Stage, reply: str) -> None:
    diagnosis = explain_reply("", stage.value, reply)
    for sentence in (diagnosis.cause, *diagnosis.fixes):
        assert sentence == sentence.strip()
        assert "  " not in sentence


@pytest.mark.parametrize(
    ("server", "host"),
    [
        ("smtp.gmail.com:587", "smtp.gmail.com"),
        ("smtps://smtp.gmail.com:465/", "smtp.gmail.com"),
        ("[2001:db8::1]:25", "2001:db8::1"),
        ("2001:db8::1", "2001:db8::1"),
        (" smtp.gmail.com ", "smtp.gmail.com"),
        ("", ""),
    ],
)
def test_brackets_port_and_scheme_of_a_pasted_server_are_removed(server: str, host: str) -> None:
    assert bare_host(server) == host


def test_additional_keys_are_ignored_and_long_lines_rejected() -> None:
    line = json.dumps(REQUEST | {"server": "", "id": 7}).encode()
    assert explain_line(b"\xef\xbb\xbf" + line).kind == "credentials"
    with pytest.raises(ExplainError, match="longer"):
        explain_line(b" " * (MAX_LINE_BYTES + 1))
