"""The newest check as the page shows it: its stages, its progress, and what to do after a failure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from flask_babel import gettext as _

from ...smtp.failure import Stage
from ...smtp.probe.fixes import DEADLINE_S as FIX_DEADLINE_S
from ...state import current_config
from ...web.labels import FIELD_LABELS, STAGE_LABELS, DiagnosisView, diagnosis_view
from ...web.translations import translated
from .. import autodetect, fixes
from ..models import CheckState, SettingsCheck
from .check_requests import CHECK_STOPPED

if TYPE_CHECKING:
    from datetime import datetime


@dataclass(frozen=True)
class CheckWait:
    """How long a running check has waited in its present part, and a sentence about the longest wait."""

    seconds: int
    bound: str


def steps(diagnosis: DiagnosisView, fix: dict[str, Any] | None) -> list[str]:
    """Return what to do after a failed check: the verified fix, or all fixes of the diagnosis."""
    if fix is None:
        again = _(
            "Wait a few minutes, then choose Check again. Signet does not repeat a check automatically."
        )
        return diagnosis.fixes_without_retries(again)
    return [
        _(
            "%(sentence)s We tested this change as far as the recipient, and it works.",
            sentence=translated(fix["sentence"]),
        )
    ]


def announcement(progress: str, diagnosis: DiagnosisView | None, what_to_do: list[str]) -> str:
    """Return what screen readers announce: the progress and, after a failure, the cause and what to do."""
    return " ".join([progress, *([diagnosis.cause, *what_to_do] if diagnosis else [])])


def _long_wait(deadline: float, reply_seconds: int) -> str:
    return str(
        _(
            "This takes up to %(seconds)d seconds, and up to %(more)d seconds more until the server accepts the message.",
            seconds=deadline,
            more=reply_seconds,
        )
    )


def waiting(check: SettingsCheck, *, now: datetime, reply_seconds: int | None) -> CheckWait | None:
    """Return the wait of a running check; None if no worker runs it."""
    if check.state is not CheckState.RUNNING or check.started_at is None:
        return None
    seconds = max(0, int((now - check.started_at).total_seconds()))
    if any(result["verdict"] == "failed" for result in check.stages):
        bound = _("Testing each change takes up to %(seconds)d seconds.", seconds=FIX_DEADLINE_S)
    elif not check.message_id:
        bound = _("Finding the port takes up to %(seconds)d seconds.", seconds=autodetect.DEADLINE_S)
    else:
        deadline = current_config().limits.deadline
        if reply_seconds:
            return CheckWait(seconds, _long_wait(deadline, reply_seconds))
        bound = _("This takes up to %(seconds)d seconds.", seconds=deadline)
    return CheckWait(seconds, bound)


def diagnosis(check: SettingsCheck | None) -> DiagnosisView | None:
    """Return the diagnosis of a check. With a verified fix, its field is the one that the fix changes."""
    found = diagnosis_view(check.diagnosis, check.stages) if check else None
    if found is None or check is None or not check.fix:
        return found
    name = fixes.changed_fields(check.fix)[0][0]
    return replace(found, field=name, field_label=FIELD_LABELS[name])


def verified_fix(check: SettingsCheck | None) -> dict[str, Any] | None:
    """Return the verified fix of a failed check for the page."""
    if check is None or not check.fix:
        return None
    return {"sentence": translated(check.fix["sentence"]), "rows": fixes.changed_fields(check.fix)}


def stages(check: SettingsCheck) -> list[dict[str, Any]]:
    """Return all stages for the page: first those with a result, in their order (TLS can precede the greeting)."""
    results = {result["stage"]: result for result in check.stages}
    failed = any(result["verdict"] == "failed" for result in check.stages)
    unfinished = check.state in (CheckState.WAITING, CheckState.RUNNING)
    rows = []
    for stage in dict.fromkeys([*results, *STAGE_LABELS]):
        result, label = results.get(stage), STAGE_LABELS[stage]
        if result is None and stage in ("detect", Stage.CONSENT):  # most checks have neither
            continue
        verdict = result["verdict"] if result else "waiting"
        if result is None and check.state is CheckState.RUNNING and not failed:
            verdict, failed = "running", True  # the first stage without a result; those after it wait
        rows.append(
            {
                "key": stage,
                "label": label,
                "verdict": verdict if result or unfinished else "waiting",
                "sentence": result["sentence"] if result else "",
                "milliseconds": result["milliseconds"] if result else None,
                "evidence": result["evidence"] if result else None,
            }
        )
    return rows


def summary(check: SettingsCheck, *, behind: bool = False) -> str:
    """Return the progress of a check in one sentence, which screen readers announce.

    ``behind``: another check of the account runs, and a waiting one starts after it.
    """
    passed = [result for result in check.stages if result["verdict"] == "passed"]
    if check.state is CheckState.WAITING and behind:
        return str(_("Your previous check is still running. This one starts when it ends."))
    if check.state is CheckState.WAITING:
        return _("The check starts as soon as the portal is free.")
    failed = next((result for result in check.stages if result["verdict"] == "failed"), None)
    if check.state is CheckState.RUNNING and failed:
        return _(
            "Stopped at: %(stage)s. Looking for a fix that works.",
            stage=STAGE_LABELS.get(failed["stage"], ""),
        )
    if check.state is CheckState.RUNNING:
        latest = STAGE_LABELS.get(check.stages[-1]["stage"], "") if check.stages else ""
        if not latest:
            return _("Checking.")
        verdict = _("Skipped") if check.stages[-1]["verdict"] == "skipped" else _("Passed")
        return _("Checking. %(stage)s: %(verdict)s.", stage=latest, verdict=verdict.lower())
    if check.state is CheckState.PASSED:
        values = {"count": len(passed)}
        if any(result["verdict"] == "skipped" for result in check.stages):
            return str(_("%(count)s steps passed. The server accepted the test email.", **values))
        return _("All %(count)s steps passed. The server accepted the test email.", **values)
    if check.diagnosis and check.diagnosis["code"] == CHECK_STOPPED["code"]:
        return str(_("You stopped the check."))
    return (
        _("Stopped at: %(stage)s.", stage=STAGE_LABELS.get(failed["stage"], ""))
        if failed
        else _("The check could not be completed.")
    )
