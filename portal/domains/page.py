"""What the page Sending domain tells: the verdict, what receivers read, and what to paste."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..clock import utcnow
from ..jobs import heartbeat
from ..settings import versions
from ..settings.models import SmtpSettings, VersionState
from . import changes, checks
from .findings import Mark
from .models import DomainChange, DomainCheck, LookState, Verdict

VERDICTS = {
    Verdict.ARRIVES: "will arrive",
    Verdict.AT_RISK: "at risk",
    Verdict.REFUSED: "will be refused",
    Verdict.UNKNOWN: "could not look",
}
MARKS = {
    Mark.GOOD: "in order",
    Mark.CARE: "to be mended",
    Mark.BAD: "wrong",
    Mark.UNKNOWN: "could not look",
    Mark.NOTE: "nothing to do",
}
VOUCHES = {True: "yes", False: "no", None: "unknown"}
_HEADINGS = {
    Verdict.ARRIVES: "Will arrive",
    Verdict.AT_RISK: "At risk",
    Verdict.REFUSED: "Will be refused",
    Verdict.UNKNOWN: "Could not look",
}
_MEANS = {
    "mx": "Does the domain exist, and can it be answered?",
    "spf": "Who may send for the domain.",
    "return-path": "Where bounces go; receivers ask this domain for SPF.",
    "dkim": "The key that proves who signed a message.",
    "dmarc": "What receivers should do when neither proves anything.",
}


@dataclass(frozen=True)
class Page:
    """Everything the template shows. ``version`` is None where the account has no settings at all."""

    version: SmtpSettings | None = None
    choices: tuple[SmtpSettings, ...] = ()
    check: DomainCheck | None = None
    change: DomainChange | None = None
    no_worker: bool = False

    @property
    def looking(self) -> bool:
        return self.check is not None and self.check.state is not LookState.DONE

    @property
    def found(self) -> dict[str, Any] | None:
        return self.check.findings if self.check else None

    @property
    def verdict(self) -> Verdict | None:
        return self.check.status if self.check else None

    @property
    def heading(self) -> str:
        if self.verdict is not None:
            return _HEADINGS[self.verdict]
        return "Looking" if self.looking else "Not looked yet"

    @property
    def announcement(self) -> str:
        """What a screen reader hears when a look begins or ends."""
        if self.looking:
            return "Looking at the domain."
        why = self.found["why"][0] if self.found and self.found["why"] else ""
        return f"{self.heading}. {why}"

    @property
    def findings(self) -> list[dict[str, Any]]:
        """The subjects in the order receivers meet them, each with its words."""
        found = self.found["findings"] if self.found else []
        return [{**one, "means": _MEANS[one["subject"]], "word": MARKS[Mark(one["mark"])]} for one in found]


def build(account_id: int, number: int | None) -> Page | None:
    """Collect the page for one version; None where the account has no version of this number."""
    version = checks.version_for(account_id, number)
    if version is None:
        return Page() if number is None else None
    live, newest = checks.version_for(account_id, None), versions.newest(account_id)
    choices = [one for one in (live, newest, version) if one is not None]
    change = changes.open_change(account_id, version.domain) if version.state is VersionState.LIVE else None
    return Page(
        version=version,
        choices=tuple({one.number: one for one in choices}.values()),
        check=checks.of_version(version),
        change=change,
        no_worker=heartbeat.is_worker_missing(utcnow()),
    )
