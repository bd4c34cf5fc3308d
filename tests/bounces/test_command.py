"""``flask bounces read``: one line for each recipient, without a configured portal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from portal.cli.bounces import run
from tests.bounces.mails import ADA, MESSAGE_ID, mail, notification, status_fields

ROOT = Path(__file__).parents[2]


def test_each_recipient_is_one_line_of_json(tmp_path: Path) -> None:
    file = tmp_path / "bounce.eml"
    file.write_bytes(
        notification(status_fields(), status_fields("bob@receiver.example", "delayed", "4.4.1", ""))
    )
    lines: list[str] = []
    assert run([str(file)], True, lines.append) == 0
    first, second = map(json.loads, lines)
    assert first == {
        "file": str(file),
        "class": "hard",
        "kind": "unknown-mailbox",
        "recipient": ADA,
        "status": "5.1.1",
        "reply_code": "550",
        "message_id": MESSAGE_ID,
        "reason": "550 5.1.1 <ada@receiver.example>: Recipient address rejected: User unknown",
    }
    assert (second["class"], second["recipient"]) == ("delayed", "bob@receiver.example")


def test_the_command_needs_no_configuration(tmp_path: Path) -> None:
    (tmp_path / "letter.eml").write_bytes(mail("How are you?", "Hello", From=ADA, Return_Path=f"<{ADA}>"))
    missing = str(tmp_path / "missing.eml")
    command = [
        sys.executable,
        "-m",
        "flask",
        "--app",
        str(ROOT / "wsgi"),
        "bounces",
        "read",
        str(tmp_path / "letter.eml"),
        missing,
    ]
    environment = {"PATH": os.environ["PATH"], "SIGNET_INSTANCE": str(tmp_path / "none")}
    done = subprocess.run(
        [*command, "--json"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    letter, error = map(json.loads, done.stdout.splitlines())
    assert (done.returncode, letter["class"], error["file"]) == (1, "none", missing)
    assert not (tmp_path / "none").exists()


def test_text_of_a_mail_cannot_affect_the_terminal(tmp_path: Path) -> None:
    file = tmp_path / "bounce.eml"
    file.write_bytes(notification(status_fields(diagnostic="smtp; 550 5.1.1 user unknown \x1b]0;é\x07")))
    for as_json in (True, False):
        lines: list[str] = []
        run([str(file)], as_json, lines.append)
        assert all(line.isascii() and line.isprintable() for line in lines)
