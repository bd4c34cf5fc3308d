"""Diagnosis rules, called cases: how a failure is recognised, its cause, who has to act, and the fixes.

The cases are data: ``cases/*.toml`` and, for replies that only one provider sends, that provider's card. They
are tried in the order of the file names and of the entries in each file; the first match is the diagnosis.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from ..failure import Reason, Stage
from ..toml_tables import MalformedData, TomlTable, read_toml
from .phrases import phrase_pattern, unknown_concepts

if TYPE_CHECKING:
    from collections.abc import Iterable

_FOLDER = Path(__file__).parent / "cases"


class DiagnosisKind(StrEnum):
    """Category of the cause."""

    CREDENTIALS = "credentials"
    APP_PASSWORD = "app_password"
    CONSENT = "consent"  # to log in with a token of OAuth 2.0
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
    OPERATOR = "operator"  # of this portal


class RetryClass(StrEnum):
    """What the outbox does with the message and the queue."""

    SETTINGS = "settings"  # hold the account's queue until the settings are corrected
    RECIPIENT = "recipient"  # fail this message permanently: its recipient cannot be reached
    MESSAGE = "message"  # fail this message permanently: its content or size was refused
    LATER = "later"  # retry this message with increasing delay
    SERVER = "server"  # the server or the network has failed: back off the whole account
    RATE = "rate"  # a rate limit or quota was exceeded: throttle the account


class FormField(StrEnum):
    """Field of the settings form at which the fix is shown."""

    HOST = "host"
    PORT = "port"
    SECURITY = "security"
    USERNAME = "username"
    PASSWORD = "password"
    MECHANISM = "mechanism"
    DOMAIN = "domain"
    WRAPPED_USER = "wrapped_user"
    EHLO_NAME = "ehlo_name"
    ENVELOPE_SENDER = "envelope_sender"
    RECIPIENT = "recipient"


class Clue(StrEnum):
    """Facts about the settings, derived before the cases are tried."""

    NO_USERNAME = "no-username"
    USERNAME_SET = "username-set"
    USERNAME_NOT_LITERAL = "username-not-literal"  # the provider requires a fixed word, such as apikey
    USERNAME_WITHOUT_DOMAIN = "username-without-domain"
    IMPLICIT = "implicit"
    STARTTLS = "starttls"
    PLAINTEXT = "plaintext"
    PORT_25 = "port-25"
    PORT_465 = "port-465"
    PORT_STARTTLS = "port-starttls"  # 587, 2525, 2587 or 25
    PORT_NOT_OFFERED = "port-not-offered"  # not among the known provider's ports
    HOST_TYPO = "host-typo"  # similar to a known provider's host
    KNOWN_PROVIDER = "known-provider"
    APP_PASSWORD_PROVIDER = "app-password-provider"
    SEVERAL_REGIONS = "several-regions"
    OTHER_MECHANISM = "other-mechanism"  # the server offers another mechanism with a password
    WILDCARD_NAMES = "wildcard-names"  # every name of the certificate begins with "*."


@dataclass(frozen=True)
class Case:
    """One rule. It matches when every condition that is not empty holds; ``reasons`` to ``numbers`` are conditions."""

    code: str
    kind: DiagnosisKind
    move: Move
    retry: RetryClass
    cause: str
    fixes: tuple[str, ...]
    field: FormField | None = None
    reasons: tuple[Reason, ...] = (Reason.REPLIED,)
    stages: tuple[Stage, ...] = ()
    reply_codes: tuple[str, ...] = ()  # prefixes of the reply code, any of them: "5", "45", "535"
    enhanced_codes: tuple[str, ...] = ()  # any of them: "5.7.8", "*.7.8" for both classes, "5.7.61?" for ten
    not_enhanced_codes: tuple[str, ...] = ()  # none of them
    concepts: tuple[tuple[str, ...], ...] = ()  # any group whose concepts all occur in the text
    not_concepts: tuple[str, ...] = ()  # none of them occurs in the text
    phrases: tuple[str, ...] = ()  # any of them occurs in the text
    clues: tuple[Clue, ...] = ()  # all of them
    evidence: tuple[str, ...] = ()  # "key=value" of the failure's evidence, any of them
    numbers: tuple[str, ...] = ()  # Microsoft's AADSTS numbers, any of them
    is_lasting: bool = False  # matches even if the reply asks for another try


def _concept_groups(entry: TomlTable, key: str) -> tuple[tuple[str, ...], ...]:
    """Read groups of concepts such as ``["login wrong", "password wrong"]``; names are separated by spaces."""
    return tuple(tuple(group.split()) for group in entry.texts(key))


def _reasons(entry: TomlTable) -> tuple[Reason, ...]:
    return entry.choices("reasons", Reason) or (Reason.REPLIED,)


def read_case(entry: TomlTable, prefix: str = "") -> Case:
    """Return the case described by a TOML entry. Raises MalformedData, which names the field."""
    case = Case(
        code=prefix + entry.text("code"),
        kind=entry.choice("kind", DiagnosisKind),
        move=entry.choice("move", Move),
        retry=entry.choice("retry", RetryClass),
        cause=entry.text("cause"),
        fixes=entry.texts("fixes", required=True),
        field=(entry.choices("field", FormField) or (None,))[0],
        reasons=_reasons(entry),
        stages=entry.choices("stages", Stage),
        reply_codes=entry.texts("reply_codes"),
        enhanced_codes=entry.texts("enhanced_codes"),
        not_enhanced_codes=entry.texts("not_enhanced_codes"),
        concepts=_concept_groups(entry, "concepts"),
        not_concepts=entry.texts("not_concepts"),
        phrases=entry.texts("phrases"),
        clues=entry.choices("clues", Clue),
        evidence=entry.texts("evidence"),
        numbers=entry.texts("numbers"),
        is_lasting=entry.flag("lasting"),
    )
    entry.reject_unknown_keys()
    unknown = unknown_concepts(
        [*case.not_concepts, *(concept for group in case.concepts for concept in group)]
    )
    if unknown:
        raise entry.error("concepts", f"{unknown[0]!r} is not in concepts.toml")
    if case.phrases:
        phrase_pattern(case.phrases)
    return case


def _files() -> list[Path]:
    return sorted(path for path in _FOLDER.glob("*.toml") if path.name != "concepts.toml")


def check_unique_codes(cases: Iterable[Case]) -> None:
    """Raise MalformedData if two cases have the same code; codes are stored in the database and must be unique."""
    known: set[str] = set()
    for case in cases:
        if case.code in known:
            raise MalformedData(f"cases: code: {case.code!r} occurs twice")
        known.add(case.code)


@cache
def load_cases() -> tuple[Case, ...]:
    """Return the general cases in the order in which they are tried."""
    cases: list[Case] = []
    for path in _files():
        top = read_toml(path)
        cases += [read_case(entry) for entry in top.tables("case", required=True)]
        top.reject_unknown_keys()
    check_unique_codes(cases)
    return tuple(cases)
