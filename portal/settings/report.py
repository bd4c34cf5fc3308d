"""What the page shows of a check: the ladder, one cause, one fix. No HTTP, no tables of its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..smtp.failure import Stage
from .models import CheckState, SettingsCheck

LABELS: Mapping[str, str] = {
    "detect": "Find port and encryption",
    Stage.RESOLVE: "Look up the name",
    Stage.CONNECT: "Connect",
    Stage.GREETING: "Greeting",
    Stage.EHLO: "Features",
    Stage.TLS: "TLS and certificate",
    Stage.AUTH: "Log in",
    Stage.MAIL: "Sender accepted",
    Stage.RCPT: "Recipient accepted",
    Stage.DATA: "Message accepted",
}
FIELD_LABELS: Mapping[str, str] = {
    "host": "SMTP Server",
    "port": "SMTP Port",
    "security": "Enable SSL",
    "username": "SMTP Username",
    "password": "SMTP Password",
    "mechanism": "SMTP Authentication",
    "domain": "Domain",
    "wrapped_user": "Affiliate Wrapped User",
}
MOVES: Mapping[str, str] = {
    "owner": "Yours",
    "provider": "Your provider’s",
    "network_operator": "Your network operator’s",
    "operator": "Ours: whoever runs this portal",
}


@dataclass(frozen=True)
class Trouble:
    """A diagnosis in the page's words."""

    cause: str
    move: str
    fixes: list[str]
    field: str
    field_label: str
    reply: str
    stage: str


def rungs(check: SettingsCheck) -> list[dict[str, Any]]:
    """Return every rung of the ladder in order, climbed or not."""
    climbed = {rung["stage"]: rung for rung in check.rungs}
    failed = any(rung["verdict"] == "failed" for rung in check.rungs)
    under_way = check.state in (CheckState.WAITING, CheckState.RUNNING)
    rows = []
    for stage, label in LABELS.items():
        rung = climbed.get(stage)
        if rung is None and stage == "detect":
            continue
        verdict = rung["verdict"] if rung else "waiting"
        if rung is None and check.state is CheckState.RUNNING and not failed:
            verdict, failed = "running", True  # the first one not yet climbed; those after it wait
        rows.append(
            {
                "key": stage,
                "label": label,
                "verdict": verdict if rung or under_way else "waiting",
                "sentence": rung["sentence"] if rung else "",
                "milliseconds": rung["milliseconds"] if rung else None,
                "evidence": rung["evidence"] if rung else None,
            }
        )
    return rows


def summary(check: SettingsCheck) -> str:
    """Tell in one sentence how far the check is, also to those who hear the page."""
    done = [rung for rung in check.rungs if rung["verdict"] in ("passed", "skipped")]
    if check.state is CheckState.WAITING:
        return "The check starts as soon as a worker is free."
    if check.state is CheckState.RUNNING:
        latest = LABELS.get(check.rungs[-1]["stage"], "") if check.rungs else ""
        return f"Checking. {latest}: {check.rungs[-1]['verdict']}." if latest else "Checking."
    if check.state is CheckState.PASSED:
        return f"All {len(done)} steps passed. The test email was accepted."
    failed = next((rung for rung in check.rungs if rung["verdict"] == "failed"), None)
    return f"Stopped at: {LABELS.get(failed['stage'], '')}." if failed else "The check did not get through."


def trouble(diagnosis: Mapping[str, Any] | None, rungs: Iterable[Mapping[str, Any]] = ()) -> Trouble | None:
    """Put a stored diagnosis into the page's words."""
    if not diagnosis:
        return None
    failed = next((rung for rung in rungs if rung["verdict"] == "failed"), None)
    field = str(diagnosis.get("field") or "")
    evidence = diagnosis.get("evidence") or {}
    return Trouble(
        cause=str(diagnosis["cause"]),
        move=MOVES.get(str(diagnosis.get("whose_move")), ""),
        fixes=[str(fix) for fix in diagnosis.get("fixes", ())],
        field=field if field in FIELD_LABELS else "",
        field_label=FIELD_LABELS.get(field, ""),
        reply=str(evidence.get("reply", "")),
        stage=LABELS.get(failed["stage"], "") if failed else "",
    )


def transcript_lines(text: str) -> list[tuple[str, str, str]]:
    """Split a stored transcript into (speaker, text, milliseconds)."""
    lines = []
    for line in text.splitlines():
        time, _, rest = line.partition(" ms  ")
        speaker, colon, words = rest.partition(": ")
        if colon and speaker in {"C", "S", "*"}:
            lines.append(("" if speaker == "*" else speaker, words, time.strip()))
    return lines
