"""Data of the Email Preferences page: the last check, the versions and the last test email."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from flask_babel import gettext as _
from flask_babel import lazy_gettext

from ..arrival import proofs
from ..arrival.models import FromOutcome
from ..clock import utcnow
from ..jobs import heartbeat
from ..languages import write_day
from ..notices import send_test
from ..outbox.models import Status
from ..web.errors import ErrorPage
from ..web.filters import ago
from ..web.labels import DiagnosisView, diagnosis_view, transcript_lines
from ..web.pagination import key_argument
from ..web.translations import current_language
from . import deprecations, domain_proof, login_probe, routing, validation, versions
from .checking import check_requests, check_view
from .connecting import connect
from .models import CheckState, SettingsCheck, SmtpSettings, VersionState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..accounts.models import Owner
    from ..smtp.providers import Provider

TOO_MANY_TESTS = ErrorPage(
    lazy_gettext("You have sent too many test emails this hour"),
    lazy_gettext("Providers may block repeated identical emails to one address."),
    lazy_gettext("Wait a while. You find the result of the last test in Email Preferences."),
)
TOO_MANY_CHECKS = ErrorPage(
    lazy_gettext("You have run too many checks this hour"),
    lazy_gettext("You have checked these settings very often. Providers lock users who try too often."),
    lazy_gettext("Wait a while. You find the result of the last check in Email Preferences."),
)


@dataclass(frozen=True)
class TestResult:
    """The outcome of a test email."""

    message_id: int
    recipient: str
    done: bool
    accepted_by: str = ""
    queue_id: str = ""
    reply: str = ""
    diagnosis: DiagnosisView | None = None


@dataclass(frozen=True)
class WaitingDraft:
    """A draft that was saved through the API and waits for a person. ``rows``: label, its value, the live one if it differs."""

    version: SmtpSettings
    rows: list[tuple[str, str, str]]
    check_state: CheckState | None


@dataclass(frozen=True)
class SettingsPage:
    """Everything that the template shows besides the form. ``base`` is the version that the form was filled from."""

    base: SmtpSettings | None
    newest: SmtpSettings | None
    waiting: list[WaitingDraft]
    live: SmtpSettings | None
    check: SettingsCheck | None
    checked: SmtpSettings | None
    stages: list[dict[str, Any]]
    summary: str
    announcement: str  # for screen readers
    wait: check_view.CheckWait | None
    diagnosis: DiagnosisView | None
    steps: list[str]  # what to do after the failed check
    fix: dict[str, Any] | None
    transcript: list[tuple[str, str, str]]
    blocking_warnings: list[dict[str, object]]
    notes: list[dict[str, object]]
    versions: list[SmtpSettings]  # the newest of them
    draft_count: int  # how many are discarded together
    received: set[int]  # numbers of the versions of which a test email was received
    test: TestResult | None
    no_worker: bool
    proof: domain_proof.ProofRecord | None  # the record that the checked version waits for
    replacing_mailbox: str  # that the provider may put in place of the sender of the checked version
    replacement_sentence: str
    live_replacement_sentence: str  # the same about the live version
    probe_sentence: str  # a sentence about the last successful login probe of the live version
    deprecation_banners: list[deprecations.DeprecationBanner]
    connection: connect.ConnectionView | None

    @property
    def checking(self) -> bool:
        return self.check is not None and self.check.state in (CheckState.WAITING, CheckState.RUNNING)

    @property
    def field_error(self) -> tuple[str, str] | None:
        """The field that the failed check of the newest version points to, and the sentence to show beside it."""
        if self.diagnosis is None or not self.diagnosis.field or self.checked is not self.newest:
            return None
        if self.base is not self.newest:
            return None
        return (self.diagnosis.field, self.diagnosis.cause) if self.newest_is_draft else None

    @property
    def needs_refresh(self) -> bool:
        return self.checking or (self.test is not None and not self.test.done)

    @property
    def awaits_proof(self) -> bool:
        """Whether the newest version passed its check, and waits only for the proof of its domain."""
        is_newest = self.proof is not None and self.checked is self.newest
        return is_newest and self.check is not None and self.check.state is CheckState.PASSED

    @property
    def former(self) -> SmtpSettings | None:
        """The version that fills the form once all drafts are discarded, if none is live."""
        return next((one for one in self.versions if one.state is VersionState.RETIRED), None)

    @property
    def newest_is_draft(self) -> bool:
        return self.newest is not None and self.newest.state is VersionState.DRAFT


def build(owner: Owner, *, test: str | None, base: SmtpSettings | None) -> SettingsPage:
    """Return the page for an owner.

    Args:
        test: the id of a test email, from the URL.
        base: the version that the form was filled from.
    """
    now = utcnow()
    newest, live = versions.newest(owner.account_id), routing.live_version(owner.account_id)
    shown = check_requests.last_checked(owner.account_id) or newest
    check = check_requests.latest_check(shown) if shown else None
    progress = (
        check_view.summary(check, behind=check_requests.is_being_checked(owner.account_id, now))
        if check
        else ""
    )
    diagnosis, fix = check_view.diagnosis(check), check_view.verified_fix(check)
    steps = check_view.steps(diagnosis, fix) if diagnosis else []
    return SettingsPage(
        base=base,
        newest=newest,
        waiting=[_waiting_draft(one, live) for one in versions.waiting_for_person(owner.account_id)],
        live=live,
        check=check,
        checked=shown,
        stages=check_view.stages(check) if check else [],
        summary=progress,
        announcement=check_view.announcement(progress, diagnosis, steps),
        wait=check_view.waiting(check, now=now, reply_seconds=shown.reply_seconds)
        if check and shown
        else None,
        diagnosis=diagnosis,
        steps=steps,
        fix=fix,
        transcript=transcript_lines(check.transcript) if check else [],
        blocking_warnings=_worded(newest, versions.blocking_warnings(newest)) if newest else [],
        notes=_worded(newest, [one for one in newest.credential_warnings if not one["blocking"]])
        if newest and newest.state is VersionState.DRAFT
        else [],
        versions=versions.history(owner.account_id),
        draft_count=versions.count_drafts(owner.account_id),
        received=proofs.received_versions(owner.account_id),
        test=_test_result(owner, test),
        no_worker=heartbeat.is_worker_missing(),
        proof=domain_proof.record_for(shown) if shown else None,
        replacing_mailbox=_replacing_mailbox(shown),
        replacement_sentence=_replacement_sentence(shown),
        live_replacement_sentence=_replacement_sentence(live),
        probe_sentence=_probe_sentence(live),
        deprecation_banners=deprecations.banners(live, now),
        connection=connect.present_connection(owner.account_id),
    )


def _waiting_draft(version: SmtpSettings, live: SmtpSettings | None) -> WaitingDraft:
    values = _compared(version)
    present = _compared(live) if live else dict.fromkeys(values, "")
    rows = [
        (label, value, present[label] if present[label] != value else "")
        for label, value in values.items()
        if value or present[label]
    ]
    check = check_requests.latest_check(version)
    return WaitingDraft(version, rows, check.state if check else None)


def _compared(version: SmtpSettings) -> dict[str, str]:
    """Return what decides where emails go and whom they name, by label."""
    return {
        _("Server"): f"{version.host}:{version.port}" if version.port else version.host,
        _("Log-in"): version.username,
        _("From"): version.sender,
        _("From name"): version.from_name,
        _("Reply-To"): version.reply_to,
        _("Return address"): version.envelope_sender,
        _("Additional headers"): "; ".join(f"{name}: {value}" for name, value in version.headers),
    }


def _replacing_mailbox(version: SmtpSettings | None) -> str:
    """Return the mailbox that the provider may put in place of the sender; empty once headers showed that it does not."""
    if version is None:
        return ""
    outcome = proofs.proof_of(version.account_id, version.number).outcome
    return "" if outcome is FromOutcome.AS_PROMISED else validation.replacing_mailbox(version)


def _worded(version: SmtpSettings, warnings: validation.Warnings) -> validation.Warnings:
    return [one | {"sentence": validation.sentence_of(version, one)} for one in warnings]


def _replacement_sentence(version: SmtpSettings | None) -> str:
    mailbox = _replacing_mailbox(version)
    return validation.replacement_sentence(version, mailbox) if version and mailbox else ""


def _probe_sentence(live: SmtpSettings | None) -> str:
    """Return a sentence about the last successful login of the live version and the end of its certificate."""
    probe = login_probe.get(live.id) if live else None
    if probe is None or probe.passed_at is None:
        return ""
    sentence = _("Last check passed %(ago)s.", ago=ago(probe.passed_at))
    if probe.certificate_until is not None:
        until = write_day(probe.certificate_until, current_language())
        sentence += " " + _("The server’s certificate is valid until %(day)s.", day=until)
    return sentence


def _test_result(owner: Owner, message_id: str | None) -> TestResult | None:
    found = send_test.find_test(owner, key_argument(message_id))
    if found is None:
        return None
    message, last = found
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
        diagnosis=_test_diagnosis(last.diagnosis),
    )


def _test_diagnosis(diagnosis: Mapping[str, Any] | None) -> DiagnosisView | None:
    found = diagnosis_view(diagnosis)
    again = _("Wait a few minutes, then send another one. Signet does not repeat a test email automatically.")
    return replace(found, fixes=found.fixes_without_retries(again)) if found else None


def _default_hints() -> dict[str, str]:
    """Return the hints while no provider is chosen, and for fields without a hint in the provider's card."""
    return {
        "host": _("Mailgun: smtp.mailgun.org. Google: smtp.gmail.com."),
        "username": _(
            "The provider generates it. It is not your log-in for the provider’s website. Mailgun: "
            "postmaster@mg.example.com. Google: your Google email address."
        ),
        "password": _(
            "The password of this SMTP user, not of your account at the provider. Google: a 16-letter "
            "app password, which needs 2-Step Verification."
        ),
        "domain": _("The domain of the From address. If empty, the part of the username after the @."),
        "security": _(
            "How the connection is encrypted. Off is encrypted too: STARTTLS turns encryption on before "
            "the log-in. Your provider’s help page states which one to use."
        ),
        "port": _("The server's port for outgoing emails. If empty: 587, or 465 with SSL on."),
        "mechanism": _(
            "How Signet sends the username and password. Automatic uses the first method that the "
            "server offers: PLAIN, LOGIN, then CRAM-MD5. Google: plain."
        ),
        "wrapped_user": _(
            "The part of the From address before the @. If empty: info. Enter support to send as "
            "support@your-domain."
        ),
    }


def field_hints(provider: Provider) -> dict[str, str]:
    """Return the hint under each field for the chosen provider."""
    return _default_hints() | (dict(provider.help) if provider.id != "other" else {})
