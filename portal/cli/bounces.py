"""``flask bounces read``: what bounce mails in files report. Needs no database, keys or configuration."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from ..bounces.parsing.mime import MAX_BYTES
from ..bounces.parsing.model import BounceClass
from ..bounces.parsing.read import read_report

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ..bounces.parsing.model import MailReport, RecipientReport


def run(files: Sequence[str], as_json: bool, write_line: Callable[[str], None]) -> int:
    """Write one line for each recipient of each file; return the exit status, 1 if a file cannot be read."""
    status = 0
    for name in files:
        try:
            with Path(name).open("rb") as file:
                raw = file.read(MAX_BYTES)
        except OSError as error:
            status = 1
            write_line(_error(name, error.strerror or "cannot be read", as_json))
            continue
        report = read_report(raw)
        for finding in report.findings:
            write_line(_as_json(name, report, finding) if as_json else _as_text(name, report, finding))
    return status


def _error(name: str, sentence: str, as_json: bool) -> str:
    return json.dumps({"file": name, "error": sentence}) if as_json else f"{name}: {sentence}"


def _as_json(name: str, report: MailReport, finding: RecipientReport) -> str:
    """Return one line of ASCII JSON, in which text of a mail cannot affect a terminal."""
    return json.dumps(
        {
            "file": name,
            "class": finding.outcome.value,
            "kind": finding.cause.value,
            "recipient": finding.recipient,
            "status": finding.status,
            "reply_code": finding.reply_code,
            "message_id": report.message_id,
            "reason": finding.reason,
        }
    )


def _as_text(name: str, report: MailReport, finding: RecipientReport) -> str:
    return " ".join(_parts(name, report, finding)).encode("ascii", "backslashreplace").decode("ascii")


def _parts(name: str, report: MailReport, finding: RecipientReport) -> Iterator[str]:
    yield f"{name}:"
    yield finding.outcome.value + (f" ({finding.cause.value})" if finding.cause else "")
    if finding.recipient:
        yield finding.recipient
    if finding.outcome is not BounceClass.NONE:
        yield from filter(None, (finding.reply_code, finding.status))
        if finding.reason:
            yield f"- {finding.reason}"
        if report.message_id:
            yield f"<{report.message_id}>"
