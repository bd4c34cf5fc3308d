"""The report exits with 1 on any breach; short forms of the attacks that have no tests of their own."""

from __future__ import annotations

from email.message import EmailMessage
from pathlib import Path

import pytest

from tests.security import headers, report, ssrf
from tests.security.report import Options
from tests.security.rows import Row, none_of


@pytest.mark.parametrize(
    ("found", "status"),
    [([Row("a", "0", 0, True)], 0), ([Row("a", "0", 0, True), Row("b", "0", 1, False)], 1), ([], 1)],
)
def test_the_exit_status_is_that_of_the_worst_figure(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, found: list[Row], status: int
) -> None:
    monkeypatch.setitem(report.PARTS, "pickles", lambda options: iter(found))
    lines: list[str] = []
    assert report.run(["pickles"], Options(tmp_path), lines.append) == status
    assert ("BREACH" in "".join(lines)) is any(not row.passed for row in found)
    assert lines[-1].startswith(f"{len(found)} figures, ")


def test_a_part_that_ends_in_an_error_is_a_breach(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def broken(options: Options) -> list[Row]:
        raise RuntimeError("no server")

    monkeypatch.setitem(report.PARTS, "pickles", broken)
    lines: list[str] = []
    assert report.run(["pickles"], Options(tmp_path), lines.append) == 1
    assert "RuntimeError: no server" in lines[1]


def test_tests_that_fail_or_do_not_run_are_breaches(tmp_path: Path) -> None:
    failing = tmp_path / "test_failing.py"
    failing.write_text("def test_one(): assert False\n\n\ndef test_two(): pass\n")
    row = report.tests_row(Options(tmp_path), "planted", str(failing))
    assert (row.name, row.measured, row.passed) == ("planted (2 tests)", 1, False)
    assert not report.tests_row(Options(tmp_path), "missing", str(tmp_path / "test_missing.py")).passed


def test_successes_are_named_in_the_row() -> None:
    row = none_of("attack", 7, ["one", "two", "three", "four"])
    assert row == Row("attack (7)", "0", "4: one; two; three …", False)


def test_the_row_of_text_bombs_names_the_worst_function_and_text() -> None:
    printed = [f"{'entry':34} {'ms':>7}  worst text", f"{'one':34} {2.5:7.1f}  'a.'"]
    within = report.texts_row("\n".join(printed), passed=True)
    assert within[0::2] == ("text bombs: 20 kB in each of 1 functions, ms", "2.5: one, of 'a.'")
    printed.append(f"{'explain a reply':34} {150.2:7.1f}  {chr(39)!r}  SLOW")
    beyond = report.texts_row("\n".join(printed), passed=False)
    assert (beyond.measured, beyond.passed) == ('150.2: explain a reply, of "\'"', False)
    assert not report.texts_row("", passed=True).passed


def test_a_thousand_composed_messages_have_the_intended_headers_only() -> None:
    assert [row for row in headers.rows(1000) if not row.passed] == []


def test_an_injected_header_is_found() -> None:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = headers.SENDER, headers.RECIPIENTS[0], "Hello"
    mail["Bcc"] = "evil@evil.example"
    mail.set_content("Hello\n")
    row = headers._message(headers.random.Random(1), 1)
    raw = mail.as_bytes().replace(b"\n", b"\r\n")
    assert headers._problems(raw, row)
    assert headers._problems(raw.replace(b"Bcc: evil@evil.example\r\n", b""), row) == []
    assert headers._problems(raw.replace(b"Bcc: evil@evil.example\r\n", b"").replace(b"\r\n", b"\n"), row)


def test_no_inner_address_is_connected_to() -> None:
    assert [row for row in ssrf.rows() if not row.passed] == []
