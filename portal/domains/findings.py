"""Result of a domain check: one finding per subject, with the published records and the recommended ones."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from .resolver import LookupStatus

if TYPE_CHECKING:
    from .models import DomainStatus

_MAX_SHOWN_CHARS = 700
_MAX_SHOWN_RECORDS = 12  # of one subject


class Severity(StrEnum):
    """Severity of a finding. The values are stored."""

    OK = "good"
    WARNING = "care"
    ERROR = "bad"
    UNKNOWN = "unknown"  # could not be looked up, or cannot be known from outside
    INFO = "note"  # no action needed


@dataclass(frozen=True)
class PublishedRecord:
    """A DNS record that exists."""

    name: str
    kind: str
    value: str


@dataclass(frozen=True)
class RecommendedRecord:
    """A DNS record to publish. Without a value it is one whose value the provider shows to each customer."""

    name: str
    kind: str
    value: str = ""
    how: str = ""


@dataclass(frozen=True)
class Finding:
    """One subject: ``mx``, ``spf``, ``return-path``, ``dkim`` or ``dmarc``."""

    subject: str
    title: str
    severity: Severity
    sentence: str
    action: str = ""
    published: tuple[PublishedRecord, ...] = ()
    recommended: tuple[RecommendedRecord, ...] = ()
    notes: tuple[str, ...] = ()
    unanswered: bool = False  # it could not be looked up
    source: str = ""  # a standard, or the documentation of a provider

    def as_dict(self) -> dict[str, Any]:
        """Return plain values under the keys of the stored JSON and of the command, limited in size."""
        return {
            "subject": self.subject,
            "title": self.title,
            "mark": self.severity.value,
            "sentence": self.sentence,
            "move": self.action,
            "now": [
                {"name": one.name, "kind": one.kind, "value": one.value[:_MAX_SHOWN_CHARS]}
                for one in self.published[:_MAX_SHOWN_RECORDS]
            ],
            "wanted": [asdict(one) for one in self.recommended[:_MAX_SHOWN_RECORDS]],
            "notes": list(self.notes[:_MAX_SHOWN_RECORDS]),
            "silent": self.unanswered,
            "says": self.source,
        }


@dataclass(frozen=True)
class Alignment:
    """Whether SPF or DKIM will pass for the From domain, as DMARC requires. None: it cannot be known from the DNS."""

    mechanism: str
    domain: str
    passes: bool | None
    aligned: bool | None
    sentence: str

    @property
    def vouches(self) -> bool | None:
        if False in (self.passes, self.aligned):
            return False
        return None if None in (self.passes, self.aligned) else True


@dataclass(frozen=True)
class DomainReport:
    """Result of a domain check. ``details`` holds the SPF tree, the DKIM keys and the steps of the DMARC lookup."""

    domain: str
    provider: str
    host: str
    status: DomainStatus
    reasons: tuple[str, ...]
    findings: tuple[Finding, ...] = ()
    alignment: tuple[Alignment, ...] = ()
    details: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values; ``docs/commands.md`` describes them."""
        plain: dict[str, Any] = {
            "domain": self.domain,
            "provider": self.provider,
            "server": self.host,
            "verdict": self.status.value,
            "why": list(self.reasons),
            "findings": [one.as_dict() for one in self.findings],
            "alignment": [{**asdict(one), "vouches": one.vouches} for one in self.alignment],
            **self.details,
        }
        shown: dict[str, Any] = replace_unprintable(plain)
        return shown


def has_open_question(report: dict[str, Any] | None) -> bool:
    """Return whether nothing of a stored report is to change: if it is at risk, something is not known."""
    marks = {one["mark"] for one in report["findings"]} if report else set()
    return not marks & {Severity.WARNING, Severity.ERROR}


def replace_unprintable(value: Any) -> Any:
    """Replace unprintable characters in nested plain values.

    Published records can contain control characters, which pages, terminals and PostgreSQL do not accept.
    """
    if isinstance(value, str):
        return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in value)
    if isinstance(value, dict):
        return {key: replace_unprintable(one) for key, one in value.items()}
    return [replace_unprintable(one) for one in value] if isinstance(value, list | tuple) else value


def owner_action(domain: str) -> str:
    """Return the sentence that the owner, or the DNS administrator of a domain, has to act."""
    return f"You, or the person who manages the DNS of {domain}."


def lookup_failed(
    subject: str, title: str, status: LookupStatus, name: str, published: tuple[PublishedRecord, ...] = ()
) -> Finding:
    """Return the finding for a failed query, which leaves open what is published."""
    if status in (LookupStatus.SERVER_ERROR, LookupStatus.CNAME_LOOP):
        sentence = f"The name servers return an error for {name}, so no receiver can read its records."
        action = (
            f"The operator of the name servers of {name}. If every domain fails, the operator of this portal."
        )
    elif status is LookupStatus.LIMIT_REACHED:
        sentence = f"We did not check {name}, because this domain’s records refer to too many others."
        action = owner_action(name)
    else:
        sentence = f"No name server answered for {name} in time. This does not mean that there is no record."
        action = "No one yet. Check again in a few minutes. Signet also checks again automatically."
    return Finding(subject, title, Severity.UNKNOWN, sentence, action, published, unanswered=True)
