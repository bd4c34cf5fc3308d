"""What the Email Preferences page tells: who sends now, how the last check went, which versions there are."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ..clock import utcnow
from ..db import db
from ..jobs import heartbeat
from ..notices import send_test
from ..outbox.models import Queue, Status
from ..outbox.routing import NoRoute, Route
from ..web.errors import ErrorPage
from ..web.filters import ago
from ..web.labels import FIELD_LABELS, STAGE_LABELS, DiagnosisView, diagnosis_view, transcript_lines
from . import deprecations, fixes, login_probe, routing, versions
from .models import CheckState, SettingsCheck, SmtpSettings, State

if TYPE_CHECKING:
    from datetime import datetime

    from ..accounts.models import Account, Owner
    from ..smtp.providers import Provider

TOO_MANY_TESTS = ErrorPage(
    "Enough test emails for this hour",
    "Providers grow suspicious of many equal emails to one address.",
    "Wait a while. The result of the last test is on the page Email Preferences.",
)


@dataclass(frozen=True)
class Sender:
    """Who sends now. ``state`` is live, platform, paused, or none."""

    state: str
    name: str = ""
    address: str = ""
    via: str = ""
    reply_to: str = ""
    since: datetime | None = None
    note: str = ""


@dataclass(frozen=True)
class TestResult:
    """What became of a test email."""

    message_id: int
    recipient: str
    done: bool
    accepted_by: str = ""
    queue_id: str = ""
    reply: str = ""
    trouble: DiagnosisView | None = None


@dataclass(frozen=True)
class Page:
    """Everything the template shows besides the form."""

    sender: Sender
    newest: SmtpSettings | None
    live: SmtpSettings | None
    check: SettingsCheck | None
    checked: SmtpSettings | None
    rungs: list[dict[str, Any]]
    summary: str
    trouble: DiagnosisView | None
    cure: dict[str, Any] | None
    transcript: list[tuple[str, str, str]]
    questions: list[dict[str, object]]
    notes: list[dict[str, object]]
    versions: list[SmtpSettings]
    test: TestResult | None
    no_worker: bool
    proven: str  # when the live version last let us in, in a sentence
    endings: list[deprecations.EndingBanner]

    @property
    def checking(self) -> bool:
        return self.check is not None and self.check.state in (CheckState.WAITING, CheckState.RUNNING)

    @property
    def fault(self) -> tuple[str, str] | None:
        """The field of the newest version that its check found at fault, with the cause to say beside it."""
        if self.trouble is None or not self.trouble.field or self.checked is not self.newest:
            return None
        return (self.trouble.field, self.trouble.cause) if self.earlier_goes_on else None

    @property
    def refreshes(self) -> bool:
        return self.checking or (self.test is not None and not self.test.done)

    @property
    def earlier_goes_on(self) -> bool:
        """Whether something else goes on sending while the newest version is not live."""
        return self.newest is not None and self.newest.state is State.DRAFT


def build(owner: Owner, *, test: str | None) -> Page:
    """Collect the page for this owner."""
    newest = versions.newest(owner.account_id)
    shown = versions.last_checked(owner.account_id) or newest
    check = versions.latest_check(shown) if shown else None
    return Page(
        sender=who_sends(owner.account),
        newest=newest,
        live=routing.live_version(owner.account_id),
        check=check,
        checked=shown,
        rungs=rungs(check) if check else [],
        summary=summary(check) if check else "",
        trouble=_trouble(check),
        cure=_cure(check),
        transcript=transcript_lines(check.transcript) if check else [],
        questions=versions.questions(newest) if newest else [],
        notes=[one for one in newest.credential_warnings if not one["blocking"]]
        if newest and newest.state is State.DRAFT
        else [],
        versions=versions.history(owner.account_id),
        test=_test_result(owner, test),
        no_worker=heartbeat.is_worker_missing(),
        proven=_proven(routing.live_version(owner.account_id)),
        endings=deprecations.warnings(routing.live_version(owner.account_id), utcnow()),
    )


def _proven(live: SmtpSettings | None) -> str:
    """Say when the live version last let us in, whether or not an email was sent, and how long it may."""
    proof = login_probe.get(live.id) if live else None
    if proof is None or proof.passed_at is None:
        return ""
    said = f"Last proven {ago(proof.passed_at)}."
    if proof.certificate_until is not None:
        until = proof.certificate_until
        said += f" Its certificate is valid until {until.day} {until:%B %Y}."
    return said


def _trouble(check: SettingsCheck | None) -> DiagnosisView | None:
    """Return what went wrong; where a fix is proved, the field at fault is the one it changes."""
    found = diagnosis_view(check.diagnosis, check.stages) if check else None
    if found is None or check is None or not check.fix:
        return found
    name = fixes.rows(check.fix)[0][0]
    if name == "ehlo_name":  # no field of the form: the portal's own word
        return found
    return replace(found, field=name, field_label=FIELD_LABELS[name])


def _cure(check: SettingsCheck | None) -> dict[str, Any] | None:
    """Return the proved fix of a failed check in the page's words."""
    if check is None or not check.fix:
        return None
    return {"sentence": check.fix["sentence"], "rows": fixes.rows(check.fix)}


def rungs(check: SettingsCheck) -> list[dict[str, Any]]:
    """Return every rung of the ladder: those climbed in the order they were, for TLS may come first; then the rest."""
    climbed = {rung["stage"]: rung for rung in check.stages}
    failed = any(rung["verdict"] == "failed" for rung in check.stages)
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
    done = [rung for rung in check.stages if rung["verdict"] in ("passed", "skipped")]
    if check.state is CheckState.WAITING:
        return "The check starts as soon as a worker is free."
    failed = next((rung for rung in check.stages if rung["verdict"] == "failed"), None)
    if check.state is CheckState.RUNNING and failed:
        return f"Stopped at: {STAGE_LABELS.get(failed['stage'], '')}. Looking for a fix that works."
    if check.state is CheckState.RUNNING:
        latest = STAGE_LABELS.get(check.stages[-1]["stage"], "") if check.stages else ""
        return f"Checking. {latest}: {check.stages[-1]['verdict']}." if latest else "Checking."
    if check.state is CheckState.PASSED:
        return f"All {len(done)} steps passed. The test email was accepted."
    return (
        f"Stopped at: {STAGE_LABELS.get(failed['stage'], '')}."
        if failed
        else "The check did not get through."
    )


def who_sends(account: Account) -> Sender:
    """Tell who sends this account's mail now."""
    live = routing.live_version(account.id)
    try:
        route = routing.route_for(account.id)
    except NoRoute as trouble:
        return Sender("none", note=str(trouble.because["cause"]))
    queue = db.session.get(Queue, account.id)
    held = queue is not None and queue.held_at is not None
    bypassed = live is not None and live.failover_since is not None
    state = "paused" if held else "live" if live and not bypassed else "platform"
    note = "" if live else "There are no custom SMTP settings in use, so the platform sends for you."
    if bypassed:
        note = "Your own server fails, so the platform sends for you until it works again."
    if queue is not None and held and queue.hold_diagnosis:
        note = str(queue.hold_diagnosis.get("cause", ""))
    return _sender(route, None if bypassed else live, state, note)


def _sender(route: Route, live: SmtpSettings | None, state: str, note: str) -> Sender:
    return Sender(
        state=state,
        name=route.display_name,
        address=route.sender,
        via=route.server.address if live else "the platform's sender",
        reply_to=route.reply_to or "",
        since=live.live_since if live else None,
        note=note,
    )


def _test_result(owner: Owner, ident: str | None) -> TestResult | None:
    story = send_test.story(owner, ident)
    if story is None:
        return None
    message, last = story
    done = message.status not in (Status.QUEUED, Status.SENDING)
    if last is None or not done:
        return TestResult(message.id, message.recipient, done)
    return TestResult(
        message_id=message.id,
        recipient=message.recipient,
        done=True,
        accepted_by=last.server if message.status is Status.SENT else "",
        queue_id=last.queue_id,
        reply=" ".join(filter(None, [str(last.reply_code or ""), last.enhanced_code, last.reply_text])),
        trouble=diagnosis_view(last.diagnosis),
    )


# What the hints say while no provider is chosen, or where its card is silent.
_HELP = {
    "host": "Mailgun: smtp.mailgun.org. Google: smtp.gmail.com.",
    "username": "Generated by the provider, not the log-in of its website. "
    "Mailgun: postmaster@mg.example.com. Google: your Google email address.",
    "password": "The password of that SMTP user, not of your account at the provider. "
    "Google: a 16-letter app password, which needs 2-Step Verification.",
    "domain": "The domain of the From address. Empty: the part after @ of the username.",
    "security": "It depends on the provider.",
    "port": "587 when empty, 465 when SSL is on.",
    "mechanism": "Automatic takes PLAIN, then LOGIN, from what the server offers. Google: plain.",
    "wrapped_user": "The part before @ of the From address; info when empty. "
    "Write support to send as support@your-domain.",
}


def hints(provider: Provider) -> dict[str, str]:
    """Return the sentence under each field for the chosen provider."""
    return _HELP | (dict(provider.help) if provider.id != "other" else {})
