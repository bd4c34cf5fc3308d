"""What the page shows of a check: the ladder, one cause, one fix. No HTTP, no tables of its own."""

from __future__ import annotations

from typing import Any

from ..web.labels import FIELD_LABELS, STAGE_LABELS, DiagnosisView, diagnosis_view, transcript_lines
from .models import CheckState, SettingsCheck

__all__ = [
    "FIELD_LABELS",
    "STAGE_LABELS",
    "DiagnosisView",
    "diagnosis_view",
    "rungs",
    "summary",
    "transcript_lines",
]


def rungs(check: SettingsCheck) -> list[dict[str, Any]]:
    """Return every rung of the ladder: those climbed in the order they were, for TLS may come first; then the rest."""
    climbed = {rung["stage"]: rung for rung in check.rungs}
    failed = any(rung["verdict"] == "failed" for rung in check.rungs)
    under_way = check.state in (CheckState.WAITING, CheckState.RUNNING)
    rows = []
    for stage in dict.fromkeys([*climbed, *STAGE_LABELS]):
        rung, label = climbed.get(stage), STAGE_LABELS[stage]
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
    failed = next((rung for rung in check.rungs if rung["verdict"] == "failed"), None)
    if check.state is CheckState.RUNNING and failed:
        return f"Stopped at: {STAGE_LABELS.get(failed['stage'], '')}. Looking for a fix that works."
    if check.state is CheckState.RUNNING:
        latest = STAGE_LABELS.get(check.rungs[-1]["stage"], "") if check.rungs else ""
        return f"Checking. {latest}: {check.rungs[-1]['verdict']}." if latest else "Checking."
    if check.state is CheckState.PASSED:
        return f"All {len(done)} steps passed. The test email was accepted."
    return (
        f"Stopped at: {STAGE_LABELS.get(failed['stage'], '')}."
        if failed
        else "The check did not get through."
    )
