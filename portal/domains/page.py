"""Data and labels of the page Sending domain: status, findings and records to publish."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flask_babel import gettext as _
from flask_babel import lazy_gettext

from ..clock import utcnow
from ..jobs import heartbeat
from ..settings import versions
from ..settings.models import SmtpSettings, VersionState
from ..web.translations import translated
from . import changes, checks
from .findings import Severity, has_open_question
from .models import DomainChange, DomainCheck, DomainCheckState, DomainStatus

STATUS_LABELS = {
    DomainStatus.ARRIVES: "in order",
    DomainStatus.AT_RISK: "at risk",
    DomainStatus.REFUSED: lazy_gettext("many receivers refuse your emails"),
    DomainStatus.UNKNOWN: lazy_gettext("not checked"),
}
SEVERITY_LABELS = {
    Severity.OK: "in order",
    Severity.WARNING: lazy_gettext("needs fixing"),
    Severity.ERROR: "wrong",
    Severity.UNKNOWN: lazy_gettext("unknown"),
    Severity.INFO: lazy_gettext("nothing to do"),
}
VOUCHES_LABELS = {True: "yes", False: "no", None: "unknown"}
_STATUS_HEADINGS = {
    DomainStatus.ARRIVES: lazy_gettext("No problems"),
    DomainStatus.AT_RISK: lazy_gettext("At risk"),
    DomainStatus.REFUSED: lazy_gettext("Many receivers refuse your emails"),
    DomainStatus.UNKNOWN: lazy_gettext("Not checked"),
}
_OPEN_QUESTION = lazy_gettext(
    "Unknown so far"
)  # nothing to change was found, but the owner has to enter something
_SUBJECT_HINTS = {
    "mx": lazy_gettext("Whether the domain exists, and where replies go."),
    "spf": lazy_gettext("Which servers may send for the domain."),
    "return-path": lazy_gettext("The domain that bounces go to. Receivers check SPF for this domain."),
    "dkim": lazy_gettext("The key that proves who signed an email."),
    "dmarc": lazy_gettext("What receivers should do when neither SPF nor DKIM passes."),
}


@dataclass(frozen=True)
class DomainPage:
    """Everything that the template shows. ``version`` is None if the account has no SMTP settings."""

    version: SmtpSettings | None = None
    choices: tuple[SmtpSettings, ...] = ()
    check: DomainCheck | None = None
    change: DomainChange | None = None
    no_worker: bool = False

    @property
    def checking(self) -> bool:
        return self.check is not None and self.check.state is not DomainCheckState.DONE

    @property
    def result(self) -> dict[str, Any] | None:
        return self.check.findings if self.check else None

    @property
    def status(self) -> DomainStatus | None:
        return self.check.status if self.check else None

    @property
    def heading(self) -> str:
        if self.has_open_question:
            return _OPEN_QUESTION
        if self.status is not None:
            return _STATUS_HEADINGS[self.status]
        return _("Checking") if self.checking else _("Not checked yet")

    @property
    def has_open_question(self) -> bool:
        """Whether the status is at risk only because something is not known. A risk needs a finding that states it."""
        return self.status is DomainStatus.AT_RISK and has_open_question(self.result)

    @property
    def announcement(self) -> str:
        """The sentence that screen readers announce when a check begins or ends."""
        if self.checking:
            return _("Signet is checking the domain.")
        reason = self.result["why"][0] if self.result and self.result["why"] else ""
        return f"{self.heading}. {translated(reason)}"

    @property
    def findings(self) -> list[dict[str, Any]]:
        """The findings in the order in which receivers evaluate them, each with its labels."""
        findings = self.result["findings"] if self.result else []
        return [
            {**one, "hint": _SUBJECT_HINTS[one["subject"]], "label": SEVERITY_LABELS[Severity(one["mark"])]}
            for one in findings
        ]


def build(account_id: int, number: int | None) -> DomainPage | None:
    """Return the page for one version, or None if the account has no version with this number."""
    version = checks.version_for(account_id, number)
    if version is None:
        return DomainPage() if number is None else None
    live, newest = checks.version_for(account_id, None), versions.newest(account_id)
    choices = [one for one in (live, newest, version) if one is not None]
    change = changes.open_change(account_id, version.domain) if version.state is VersionState.LIVE else None
    return DomainPage(
        version=version,
        choices=tuple({one.number: one for one in choices}.values()),
        check=checks.get(version),
        change=change,
        no_worker=heartbeat.is_worker_missing(utcnow()),
    )
