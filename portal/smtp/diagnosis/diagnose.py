"""Diagnosis: from a failure to one cause, who has to act, and the fixes.

Servers often send the wrong reply class, so text takes precedence over codes: the provider's own cases, then
phrases, the enhanced status code, the reply code with the stage, and last the class. The rules are data, see
``cases.py``.

A block list that names the portal's IP address is ``network`` and the operator's move, because no field of the
form corrects it. A block list that names the sending domain is ``domain`` and the owner's move.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from ..failure import Reason, Stage, SubmissionFailure
from ..providers import Catalogue, Provider, ProviderKind, load_catalogue
from ..providers.catalogue import normalise_host
from ..server import Security
from .cases import Case, Clue, DiagnosisKind, FormField, Move, RetryClass, load_cases
from .pasted_reply import STAGE_NAMES, parse_reply, parse_stage
from .phrases import concepts_in, fold, phrase_pattern

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = [
    "STAGE_NAMES",
    "Diagnosis",
    "DiagnosisKind",
    "FormField",
    "Move",
    "RetryClass",
    "diagnose",
    "explain",
    "parse_reply",
    "parse_stage",
]

_MAX_TEXT_CHARS = 2000  # searched for phrases; in long replies the first lines give the reason
_STARTTLS_PORTS = frozenset({25, 587, 2525, 2587})
_MAX_LISTED_HOSTS = 4  # in one sentence
_USUAL_PORTS = "587 (STARTTLS) or 465 (SSL/TLS)"


class ServerLike(Protocol):
    """The attributes of a Server that a diagnosis reads."""

    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int: ...
    @property
    def security(self) -> Security: ...
    @property
    def username(self) -> str | None: ...


@dataclass(frozen=True)
class Diagnosis:
    """Cause and fixes as sentences for the owner.

    ``fixes`` are in order of preference; ``evidence`` holds the facts of the failure.
    """

    code: str
    kind: DiagnosisKind
    cause: str
    whose_move: Move
    fixes: tuple[str, ...]
    field: FormField | None
    retry_class: RetryClass
    evidence: Mapping[str, str]

    @property
    def fix(self) -> str:
        """The preferred fix."""
        return self.fixes[0]

    def as_dict(self) -> dict[str, Any]:
        """Return the diagnosis as JSON types."""
        plain = asdict(replace(self, evidence=dict(self.evidence)))
        return {key: list(value) if isinstance(value, tuple) else value for key, value in plain.items()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Diagnosis:
        """Return the diagnosis from the result of ``as_dict``. Raises KeyError or ValueError for other data."""
        return cls(
            code=str(data["code"]),
            kind=DiagnosisKind(data["kind"]),
            cause=str(data["cause"]),
            whose_move=Move(data["whose_move"]),
            fixes=tuple(str(fix) for fix in data["fixes"]),
            field=FormField(data["field"]) if data["field"] else None,
            retry_class=RetryClass(data["retry_class"]),
            evidence={str(key): str(value) for key, value in data["evidence"].items()},
        )


@dataclass(frozen=True)
class _Context:
    """A failure with everything that the conditions of a case refer to."""

    failure: SubmissionFailure
    server: ServerLike
    provider: Provider | None
    catalogue: Catalogue
    sender: str | None = None

    @property
    def code(self) -> str:
        return str(self.failure.reply.code) if self.failure.reply else ""

    @property
    def enhanced(self) -> str:
        return (self.failure.reply.enhanced or "") if self.failure.reply else ""

    @cached_property
    def text(self) -> str:
        return fold(self.failure.reply.text[:_MAX_TEXT_CHARS]) if self.failure.reply else ""

    @cached_property
    def concepts(self) -> frozenset[str]:
        return concepts_in(self.text)

    @cached_property
    def suggestion(self) -> str | None:
        return self.catalogue.similar_host(self.server.host)

    @cached_property
    def clues(self) -> frozenset[Clue]:
        return frozenset(clue for clue, holds in _clues(self) if holds)


def _clues(context: _Context) -> Iterator[tuple[Clue, bool]]:
    """Yield every clue and whether it holds."""
    server, name = context.server, context.server.username or ""
    known = "" if isinstance(server, _PastedReplyServer) else name  # with a pasted reply it is unknown
    yield Clue.NO_USERNAME, not name
    yield Clue.USERNAME_SET, bool(name)
    yield Clue.IMPLICIT, server.security is Security.IMPLICIT_TLS
    yield Clue.STARTTLS, server.security is Security.STARTTLS
    yield Clue.PLAINTEXT, server.security is Security.PLAINTEXT
    yield Clue.PORT_25, server.port == 25
    yield Clue.PORT_465, server.port in {465, 2465}
    yield Clue.PORT_STARTTLS, server.port in _STARTTLS_PORTS
    yield Clue.HOST_TYPO, context.suggestion is not None
    if context.provider is None:
        return
    literal = context.provider.literal_usernames(server.host)
    yield Clue.KNOWN_PROVIDER, True
    needs_literal = bool(literal) and context.provider.username.strict
    yield Clue.USERNAME_NOT_LITERAL, bool(known) and needs_literal and known not in literal
    yield Clue.USERNAME_WITHOUT_DOMAIN, bool(known) and context.provider.username.address and "@" not in known
    yield Clue.APP_PASSWORD_PROVIDER, context.provider.password.app_password
    yield Clue.SEVERAL_REGIONS, len(context.provider.hosts) > 1
    yield Clue.PORT_NOT_OFFERED, server.port not in {port.number for port in context.provider.ports}


def _enhanced_code_matches(expected: str, actual: str) -> bool:
    return actual[1:] == expected[1:] if expected.startswith("*") and actual else actual == expected


def _reply_matches(case: Case, context: _Context) -> bool:
    """Return whether code, enhanced code and text of the reply meet the conditions of the case."""
    if case.reply_codes and not any(
        context.code and context.code.startswith(code) for code in case.reply_codes
    ):
        return False
    if case.enhanced_codes and not any(
        _enhanced_code_matches(code, context.enhanced) for code in case.enhanced_codes
    ):
        return False
    if case.phrases and not phrase_pattern(case.phrases).search(context.text):
        return False
    if case.concepts and not any(context.concepts.issuperset(group) for group in case.concepts):
        return False
    return context.concepts.isdisjoint(case.not_concepts)


def _matches(case: Case, context: _Context) -> bool:
    if context.failure.reason not in case.reasons or not context.clues.issuperset(case.clues):
        return False
    if case.stages and context.failure.stage not in case.stages:
        return False
    if case.evidence and not any(
        f"{key}={value}" in case.evidence for key, value in context.failure.evidence.items()
    ):
        return False
    return _reply_matches(case, context)


def _first_match(context: _Context) -> Case:
    """Return the first case that matches, the provider's own cases first.

    The last general case matches every reply, and every reason other than a reply has a case of its own.
    """
    own: Iterable[Case] = context.provider.cases if context.provider else ()
    for case in (*own, *load_cases()):
        if _matches(case, context):
            return case
    return load_cases()[-1]


def _join_with_or(texts: Iterable[str]) -> str:
    items = list(dict.fromkeys(texts))
    return " or ".join(filter(None, [", ".join(items[:-1]), *items[-1:]]))


_SECURITY_LABELS = {
    Security.STARTTLS: "STARTTLS",
    Security.IMPLICIT_TLS: "SSL/TLS",
    Security.PLAINTEXT: "none",
}


def _ports(provider: Provider | None, without: int) -> str:
    """Return the provider's ports as text, the recommended one first, without port 25 and ``without``."""
    if provider is None:
        return _USUAL_PORTS
    ports = sorted(provider.ports, key=lambda port: not port.recommended)
    offered = [
        f"{port.number} ({_SECURITY_LABELS[port.security]})"
        for port in ports
        if port.number not in {25, without}
    ]
    return _join_with_or(offered) or _USUAL_PORTS


def _password_steps(provider: Provider | None) -> str:
    if provider is None:
        return "look for app passwords, under Security, in the account's settings."
    return " ".join(provider.password.steps)


class _Placeholders(dict[str, str]):
    """Values of the placeholders in sentences. A missing value becomes the placeholder's name, not an error."""

    def __missing__(self, key: str) -> str:
        return key.replace("_", " ")


def _placeholders(context: _Context) -> _Placeholders:
    """Return the values that sentences may name; keys of the evidence are placeholders, too."""
    server, provider, evidence = context.server, context.provider, context.failure.evidence
    name = server.username or ""
    domain = (context.sender or name).rpartition("@")[2]
    values = _Placeholders(names="another name", offered="other ways", answers="something else")
    values.update({key: value for key, value in evidence.items() if value})
    values.update(
        host=server.host,
        port=str(server.port),
        username=name or "this account",
        sender=context.sender or "the sender's address",
        domain=domain if "." in domain else "the sender",
        ports=_ports(provider, server.port),
        suggestion=context.suggestion or server.host,
        provider=provider.name if provider else server.host,
        password_steps=_password_steps(provider),
    )
    if provider:
        values.update(_provider_placeholders(provider, server.host))
    return values


def _provider_placeholders(provider: Provider, host: str) -> dict[str, str]:
    others = [one.name for one in provider.hosts if one.name != host]
    return {
        "password_what": provider.password.what,
        "username_format": provider.username.format,
        "username_example": provider.username.example,
        "literal": _join_with_or(provider.literal_usernames(host)),
        "other_hosts": _join_with_or(others)
        if len(others) <= _MAX_LISTED_HOSTS
        else "the one of your region",
    }


_PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")


def _fill(sentence: str, values: _Placeholders) -> str:
    """Replace the placeholders in one pass, so that braces inside a value are not replaced again."""
    filled = _PLACEHOLDER.sub(lambda found: values[found[1]], sentence)
    capitalise = sentence.startswith("{password") or filled.startswith(("the ", "this "))
    return filled[:1].upper() + filled[1:] if capitalise else filled


def _evidence(failure: SubmissionFailure) -> Mapping[str, str]:
    evidence = {"stage": str(failure.stage), "reason": str(failure.reason), **failure.evidence}
    if failure.reply:
        evidence["reply"] = str(failure.reply)
    return evidence


def diagnose(
    failure: SubmissionFailure,
    server: ServerLike,
    provider: Provider | None = None,
    *,
    sender: str | None = None,
) -> Diagnosis:
    """Return the diagnosis of a failure.

    ``provider`` is looked up by the server's host when it is not given. ``sender`` is the From address, for
    sentences that name it.
    """
    return _diagnose(_Context(failure, server, _provider(server, provider), load_catalogue(), sender))


def _provider(server: ServerLike, provider: Provider | None) -> Provider | None:
    """Return the provider whose cases apply: the given one or the host's; None instead of the generic card."""
    provider = provider or load_catalogue().by_host(server.host)
    return None if provider is None or provider.kind is ProviderKind.OTHER else provider


def _diagnose(context: _Context) -> Diagnosis:
    case, values = _first_match(context), _placeholders(context)
    return Diagnosis(
        code=case.code,
        kind=case.kind,
        cause=_fill(case.cause, values),
        whose_move=case.move,
        fixes=tuple(_fill(fix, values) for fix in case.fixes),
        field=case.field,
        retry_class=case.retry,
        evidence=_evidence(context.failure),
    )


@dataclass(frozen=True)
class _PastedReplyServer:
    """Server of a pasted reply: only its host is known, the other values are typical."""

    host: str
    port: int = 587
    security: Security = Security.STARTTLS
    username: str | None = "your SMTP username"


def explain(
    server_host: str, stage: str | Stage, reply_text: str, catalogue: Catalogue | None = None
) -> Diagnosis:
    """Return the diagnosis of a pasted reply.

    Raises:
        ValueError: ``stage`` names no stage.
    """
    failed_at = parse_stage(stage)
    failure = SubmissionFailure(failed_at, Reason.REPLIED, parse_reply(reply_text, failed_at))
    catalogue, server = catalogue or load_catalogue(), _PastedReplyServer(normalise_host(server_host))
    return _diagnose(_Context(failure, server, catalogue.by_host(server.host), catalogue))
