"""The sending status as all places state it: a stable code, a sentence, a colour, and what is missing in order."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from ..web.pagination import Count

if TYPE_CHECKING:
    from datetime import datetime

    from ..arrival.models import FromOutcome
    from ..domains.models import DomainStatus


class Code(StrEnum):
    """The codes, which scripts may rely on, the most urgent first. ``docs/api.md`` describes them."""

    ACCOUNT_SUSPENDED = "account-suspended"
    ACCOUNT_WAITING = "account-waiting"
    NO_SENDER = "no-sender"
    SETTINGS_UNUSABLE = "settings-unusable"
    ON_HOLD = "on-hold"
    NO_WORKER = "no-worker"
    FAILOVER = "failover"
    SERVER_FAILING = "server-failing"
    PLATFORM = "platform"
    PRACTICE = "practice"
    CONNECTION_UNPROVEN = "connection-unproven"
    FROM_REPLACED = "from-replaced"
    FROM_REFUTED = "from-refuted"
    DOMAIN_REFUSED = "domain-refused"
    DOMAIN_AT_RISK = "domain-at-risk"
    DOMAIN_QUESTION = "domain-question"
    DOMAIN_UNKNOWN = "domain-unknown"
    DOMAIN_UNCHECKED = "domain-unchecked"
    FROM_UNCONFIRMED = "from-unconfirmed"
    PUBLIC_MAILBOX = "public-mailbox"
    BOUNCES = "bounces"
    INCIDENT = "incident"
    RATE_LIMITED = "rate-limited"
    OWN_DOMAIN = "own-domain"


class Tone(StrEnum):
    """The colour of a status."""

    SUCCESS = "success"
    INFO = "info"
    WARNING = "warning"
    DANGER = "danger"


class Through(StrEnum):
    """What carries the account's emails."""

    OWN = "own"
    PLATFORM = "platform"
    NONE = "none"


# No email leaves.
_STOPPED = frozenset(
    {
        Code.ACCOUNT_SUSPENDED,
        Code.ACCOUNT_WAITING,
        Code.NO_SENDER,
        Code.SETTINGS_UNUSABLE,
        Code.ON_HOLD,
        Code.NO_WORKER,
    }
)
# What does not question that emails leave from the own domain as promised.
_ASIDE = frozenset({Code.BOUNCES, Code.INCIDENT, Code.RATE_LIMITED})


@dataclass(frozen=True)
class Link:
    """A link to a page of the portal: its endpoint and values, as a status is also made without a request."""

    label: str
    endpoint: str
    values: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True)
class StatusItem:
    """One thing that is missing or wrong. ``is_banner``: every page of the account shows it."""

    code: Code
    tone: Tone
    sentence: str
    detail: str = ""
    links: tuple[Link, ...] = ()
    is_banner: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {"code": self.code.value, "sentence": self.sentence, "tone": self.tone.value}


@dataclass(frozen=True)
class Facts:
    """What the status was made from, as the API shows it."""

    through: Through
    sender_name: str = ""
    sender: str = ""
    reply_to: str = ""
    server: str = ""
    version: int | None = None
    since: datetime | None = None
    waiting: Count = field(default_factory=lambda: Count(0))
    proved_at: datetime | None = None
    received_at: datetime | None = None
    from_outcome: FromOutcome | None = None
    domain_status: DomainStatus | None = None
    domain_checked_at: datetime | None = None


@dataclass(frozen=True)
class SendingStatus:
    """The status of one account. ``missing`` is empty if its emails leave from its own domain as promised.

    ``summary`` precedes the sentence of the first finding; it is empty if that one describes what happens to emails.
    """

    facts: Facts
    missing: tuple[StatusItem, ...]
    summary: str

    @property
    def code(self) -> Code:
        return self.missing[0].code if self.missing else Code.OWN_DOMAIN

    @property
    def tone(self) -> Tone:
        return self.missing[0].tone if self.missing else Tone.SUCCESS

    @property
    def sentence(self) -> str:
        return " ".join(filter(None, [self.summary, *(one.sentence for one in self.missing[:1])]))

    @property
    def has_seal(self) -> bool:
        """Whether connection, From as received and domain agree, and nothing keeps emails from leaving."""
        return all(one.code in _ASIDE for one in self.missing)

    @property
    def is_stopped(self) -> bool:
        """Whether no email leaves at present."""
        return self.code in _STOPPED

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; ``docs/api.md`` describes them."""
        facts = self.facts
        return {
            "code": self.code.value,
            "sentence": self.sentence,
            "tone": self.tone.value,
            "seal": self.has_seal,
            "through": facts.through.value,
            "sender": facts.sender or None,
            "reply_to": facts.reply_to or None,
            "server": facts.server or None,
            "version": facts.version,
            "waiting": facts.waiting.number,
            "more_waiting": facts.waiting.more,
            "connection_proved_at": _time(facts.proved_at),
            "test_email_received_at": _time(facts.received_at),
            "from_received": facts.from_outcome.value if facts.from_outcome else None,
            "domain": facts.domain_status.value if facts.domain_status else None,
            "domain_checked_at": _time(facts.domain_checked_at),
            "missing": [one.as_dict() for one in self.missing],
        }


def _time(value: datetime | None) -> str | None:
    return value.isoformat() if value else None
