"""The table of cases: what can be wrong, how it is recognised, whose move it is and what to do.

The cases live in ``cases/*.toml`` and, where one provider's wording needs its own answer, in that
provider's card.
They are tried in the order of the files' names and of their lines; the first that fits is the diagnosis.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from ..failure import Reason, Stage
from ..toml_tables import MalformedData, TomlTable, read_toml
from .phrases import phrases, unknown_ideas

if TYPE_CHECKING:
    from collections.abc import Iterable

_FOLDER = Path(__file__).parent / "cases"


class Kind(StrEnum):
    """What sort of trouble it is."""

    CREDENTIALS = "credentials"
    APP_PASSWORD = "app_password"
    LOGIN_DISABLED = "login_disabled"
    LOGIN_REQUIRED = "login_required"
    MECHANISM = "mechanism"
    ACCOUNT = "account"
    SENDER_IDENTITY = "sender_identity"
    DOMAIN = "domain"
    RECIPIENT = "recipient"
    RATE = "rate"
    GREYLISTED = "greylisted"
    CONTENT = "content"
    SECURITY = "security"
    EHLO_NAME = "ehlo_name"
    NETWORK = "network"
    SERVER_FAULT = "server_fault"
    NOT_SMTP = "not_smtp"
    PROTOCOL = "protocol"


class Move(StrEnum):
    """Who has to act."""

    OWNER = "owner"
    PROVIDER = "provider"
    NETWORK_OPERATOR = "network_operator"
    OPERATOR = "operator"  # whoever runs this portal


class RetryClass(StrEnum):
    """What the outbox does with it."""

    SETTINGS = "settings"  # hold the account's queue until the settings are put right
    RECIPIENT = "recipient"  # fail this message for good: its recipient cannot be reached
    MESSAGE = "message"  # fail this message for good: its content or size was refused
    LATER = "later"  # try this message again, with growing delay
    SERVER = "server"  # the server or the network is in trouble: back off the whole account
    RATE = "rate"  # too fast or too much: slow the account down


class Field(StrEnum):
    """The form's fields, where a fix is shown."""

    HOST = "host"
    PORT = "port"
    SECURITY = "security"
    USERNAME = "username"
    PASSWORD = "password"
    MECHANISM = "mechanism"
    DOMAIN = "domain"
    WRAPPED_USER = "wrapped_user"
    RECIPIENT = "recipient"


class Clue(StrEnum):
    """What the settings themselves betray; the diagnosis finds these before it looks at the table."""

    NO_USERNAME = "no-username"
    USERNAME_SET = "username-set"
    USERNAME_NOT_LITERAL = "username-not-literal"  # this provider wants one fixed word, such as apikey
    USERNAME_WITHOUT_DOMAIN = "username-without-domain"
    IMPLICIT = "implicit"
    STARTTLS = "starttls"
    PLAINTEXT = "plaintext"
    PORT_25 = "port-25"
    PORT_465 = "port-465"
    PORT_STARTTLS = "port-starttls"  # 587, 2525, 2587 or 25
    PORT_NOT_OFFERED = "port-not-offered"  # not among the known provider's ports
    HOST_TYPO = "host-typo"  # one slip away from a known provider's host
    KNOWN_PROVIDER = "known-provider"
    APP_PASSWORD_PROVIDER = "app-password-provider"
    SEVERAL_REGIONS = "several-regions"


@dataclass(frozen=True)
class Case:
    """One line of the table. Every condition that is not empty has to hold."""

    code: str
    kind: Kind
    move: Move
    retry: RetryClass
    cause: str
    fixes: tuple[str, ...]
    field: Field | None = None
    reasons: tuple[Reason, ...] = (Reason.REPLIED,)
    stages: tuple[Stage, ...] = ()
    replies: tuple[str, ...] = ()  # beginnings of reply codes: "5", "45", "535"
    enhanced: tuple[str, ...] = ()  # "5.7.8"; a leading "*" stands for either class: "*.7.8"
    ideas: tuple[tuple[str, ...], ...] = ()  # any group, all of whose ideas are in the text
    never: tuple[str, ...] = ()  # none of these ideas
    words: tuple[str, ...] = ()  # literal phrases, any of them
    clues: tuple[Clue, ...] = ()
    seen: tuple[str, ...] = ()  # "key=value" of the engine's evidence, any of them


def _groups(entry: TomlTable, key: str) -> tuple[tuple[str, ...], ...]:
    """Read ``["login wrong", "password wrong"]``: groups of ideas, each group's names apart by spaces."""
    return tuple(tuple(group.split()) for group in entry.texts(key))


def _reasons(entry: TomlTable) -> tuple[Reason, ...]:
    return entry.choices("reasons", Reason) or (Reason.REPLIED,)


def read_case(entry: TomlTable, prefix: str = "") -> Case:
    """Return the case an entry describes; raise MalformedData with the field named."""
    case = Case(
        code=prefix + entry.text("code"),
        kind=entry.choice("kind", Kind),
        move=entry.choice("move", Move),
        retry=entry.choice("retry", RetryClass),
        cause=entry.text("cause"),
        fixes=entry.texts("fixes", required=True),
        field=(entry.choices("field", Field) or (None,))[0],
        reasons=_reasons(entry),
        stages=entry.choices("stages", Stage),
        replies=entry.texts("replies"),
        enhanced=entry.texts("enhanced"),
        ideas=_groups(entry, "ideas"),
        never=entry.texts("never"),
        words=entry.texts("words"),
        clues=entry.choices("clues", Clue),
        seen=entry.texts("seen"),
    )
    entry.reject_unknown_keys()
    unknown = unknown_ideas([*case.never, *(idea for group in case.ideas for idea in group)])
    if unknown:
        raise entry.error("ideas", f"{unknown[0]!r} is not in words.toml")
    if case.words:
        phrases(case.words)
    return case


def _files() -> list[Path]:
    return sorted(path for path in _FOLDER.glob("*.toml") if path.name != "words.toml")


def refuse_twins(cases: Iterable[Case]) -> None:
    """Raise MalformedData when two cases share a code; codes are stored and must stay distinct."""
    seen: set[str] = set()
    for case in cases:
        if case.code in seen:
            raise MalformedData(f"cases: code: {case.code!r} is there twice")
        seen.add(case.code)


@cache
def load_cases() -> tuple[Case, ...]:
    """Return the table in the order it is tried."""
    cases: list[Case] = []
    for path in _files():
        top = read_toml(path)
        cases += [read_case(entry) for entry in top.tables("case", required=True)]
        top.reject_unknown_keys()
    refuse_twins(cases)
    return tuple(cases)
