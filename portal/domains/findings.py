"""What a look at a domain finds: one finding a subject, each with what is there, whose move it is and what to paste."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from .resolver import Status

if TYPE_CHECKING:
    from .models import Verdict

_SHOWN = 700  # letters of one record on a page
_MANY = 12  # records of one kind


class Mark(StrEnum):
    """How good a finding is."""

    GOOD = "good"
    CARE = "care"
    BAD = "bad"
    UNKNOWN = "unknown"  # could not be looked up, or cannot be known from outside
    NOTE = "note"  # nothing to do


@dataclass(frozen=True)
class Published:
    """A record that is there."""

    name: str
    kind: str
    value: str


@dataclass(frozen=True)
class Wanted:
    """A record to paste. Without a value it is one that the provider shows to each owner."""

    name: str
    kind: str
    value: str = ""
    how: str = ""


@dataclass(frozen=True)
class Finding:
    """One subject: ``mx``, ``spf``, ``return-path``, ``dkim`` or ``dmarc``."""

    subject: str
    title: str
    mark: Mark
    sentence: str
    move: str = ""
    now: tuple[Published, ...] = ()
    wanted: tuple[Wanted, ...] = ()
    notes: tuple[str, ...] = ()
    silent: bool = False  # it could not be looked up

    def as_dict(self) -> dict[str, Any]:
        plain = asdict(self)
        plain["mark"] = self.mark.value
        plain["now"] = [{**one, "value": one["value"][:_SHOWN]} for one in plain["now"][:_MANY]]
        plain["wanted"] = plain["wanted"][:_MANY]
        plain["notes"] = list(self.notes[:_MANY])
        return plain


@dataclass(frozen=True)
class Alignment:
    """Whether a mechanism will vouch for the From domain, which is what DMARC asks. None: it cannot be known."""

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
class Report:
    """Everything a look found. ``details`` holds the tree of SPF, the keys and the way up of DMARC."""

    domain: str
    provider: str
    host: str
    verdict: Verdict
    why: tuple[str, ...]
    findings: tuple[Finding, ...] = ()
    alignment: tuple[Alignment, ...] = ()
    details: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values; ``docs/commands.md`` describes them."""
        plain: dict[str, Any] = {
            "domain": self.domain,
            "provider": self.provider,
            "server": self.host,
            "verdict": self.verdict.value,
            "why": list(self.why),
            "findings": [one.as_dict() for one in self.findings],
            "alignment": [{**asdict(one), "vouches": one.vouches} for one in self.alignment],
            **self.details,
        }
        shown: dict[str, Any] = visible(plain)
        return shown


def visible(value: Any) -> Any:
    """Replace what cannot be shown: strangers' records may hold control characters, and no page or table takes them."""
    if isinstance(value, str):
        return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in value)
    if isinstance(value, dict):
        return {key: visible(one) for key, one in value.items()}
    return [visible(one) for one in value] if isinstance(value, list | tuple) else value


def owners_move(domain: str) -> str:
    return f"Yours, or of whoever looks after the DNS of {domain}."


def could_not_look(
    subject: str, title: str, status: Status, name: str, now: tuple[Published, ...] = ()
) -> Finding:
    """Return the finding of a question that was not answered: it says nothing about the records."""
    if status in (Status.BROKEN, Status.LOOP):
        sentence = (
            f"The name servers answer with an error when asked for {name}, so nobody can read what is there."
        )
        move = f"Of whoever runs the name servers of {name}, or the resolver of this portal if every domain fails."
    elif status is Status.TOO_MANY:
        sentence = f"We stopped before {name}: this domain’s records lead to too many others."
        move = owners_move(name)
    else:
        sentence = (
            f"We could not look: no name server answered for {name} in time. "
            "That does not mean that there is no record."
        )
        move = "Nobody’s yet. Check again in a few minutes; Signet also looks again by itself."
    return Finding(subject, title, Mark.UNKNOWN, sentence, move, now, silent=True)
