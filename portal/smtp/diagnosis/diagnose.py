"""From a failure to one cause, whose move it is, and one fix.

Vendors put the wrong class on a reply, so the words count before the codes: the provider's own cases first,
then
words, then the enhanced status code, then code and stage, then the class. All of it is data, see
``cases.py``.

A block list that names the *portal's* Internet address is ``network`` and the operator's move: no field of
the form
mends it. A block list that names the *sending domain* is ``domain`` and the owner's.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from ..failure import Reason, Stage, SubmissionFailure
from ..providers import Catalogue, Provider, ProviderKind, load_catalogue
from ..server import Security
from .cases import Case, Clue, Field, Kind, Move, RetryClass, load_cases
from .pasted_reply import STAGE_NAMES, parse_reply, stage_named
from .phrases import fold, ideas_in, phrases

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = [
    "STAGE_NAMES",
    "Diagnosis",
    "Field",
    "Kind",
    "Move",
    "RetryClass",
    "diagnose",
    "explain",
    "parse_reply",
    "stage_named",
]

_TEXT_LIMIT = 2000  # characters searched; a server may send very many lines, the reason is in the first
_STARTTLS_PORTS = frozenset({25, 587, 2525, 2587})
_MANY_HOSTS = 4  # more than these are no help in a sentence
_USUAL_PORTS = "587 (STARTTLS) or 465 (SSL/TLS)"


class ServerLike(Protocol):
    """The part of a Server a diagnosis reads."""

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
    """What is wrong, in words for the owner.

    ``fixes[0]`` is the one to show; ``evidence`` is what was seen.
    """

    code: str
    kind: Kind
    cause: str
    whose_move: Move
    fixes: tuple[str, ...]
    field: Field | None
    retry_class: RetryClass
    evidence: Mapping[str, str]

    @property
    def fix(self) -> str:
        """Return the one thing to do."""
        return self.fixes[0]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        plain = asdict(replace(self, evidence=dict(self.evidence)))
        return {key: list(value) if isinstance(value, tuple) else value for key, value in plain.items()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Diagnosis:
        """Return the diagnosis ``as_dict`` described; raise KeyError or ValueError when it did not."""
        return cls(
            code=str(data["code"]),
            kind=Kind(data["kind"]),
            cause=str(data["cause"]),
            whose_move=Move(data["whose_move"]),
            fixes=tuple(str(fix) for fix in data["fixes"]),
            field=Field(data["field"]) if data["field"] else None,
            retry_class=RetryClass(data["retry_class"]),
            evidence={str(key): str(value) for key, value in data["evidence"].items()},
        )


@dataclass(frozen=True)
class _Situation:
    """A failure with everything the table may ask about it."""

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
        return fold(self.failure.reply.text[:_TEXT_LIMIT]) if self.failure.reply else ""

    @cached_property
    def ideas(self) -> frozenset[str]:
        return ideas_in(self.text)

    @cached_property
    def suggestion(self) -> str | None:
        return self.catalogue.host_near(self.server.host)

    @cached_property
    def clues(self) -> frozenset[Clue]:
        return frozenset(clue for clue, there in _clues(self) if there)


def _clues(at: _Situation) -> Iterator[tuple[Clue, bool]]:
    """Yield what the settings themselves betray."""
    server, name = at.server, at.server.username or ""
    known = "" if isinstance(server, _Pasted) else name  # of a pasted reply nobody knows the username
    yield Clue.NO_USERNAME, not name
    yield Clue.USERNAME_SET, bool(name)
    yield Clue.IMPLICIT, server.security is Security.IMPLICIT_TLS
    yield Clue.STARTTLS, server.security is Security.STARTTLS
    yield Clue.PLAINTEXT, server.security is Security.PLAINTEXT
    yield Clue.PORT_25, server.port == 25
    yield Clue.PORT_465, server.port in {465, 2465}
    yield Clue.PORT_STARTTLS, server.port in _STARTTLS_PORTS
    yield Clue.HOST_TYPO, at.suggestion is not None
    if at.provider is None:
        return
    literal = at.provider.literal_usernames(server.host)
    yield Clue.KNOWN_PROVIDER, True
    wants_word = bool(literal) and at.provider.username.strict
    yield Clue.USERNAME_NOT_LITERAL, bool(known) and wants_word and known not in literal
    yield Clue.USERNAME_WITHOUT_DOMAIN, bool(known) and at.provider.username.address and "@" not in known
    yield Clue.APP_PASSWORD_PROVIDER, at.provider.password.app_password
    yield Clue.SEVERAL_REGIONS, len(at.provider.hosts) > 1
    yield Clue.PORT_NOT_OFFERED, server.port not in {port.number for port in at.provider.ports}


def _enhanced_fits(wanted: str, seen: str) -> bool:
    return seen[1:] == wanted[1:] if wanted.startswith("*") and seen else seen == wanted


def _reply_fits(case: Case, at: _Situation) -> bool:
    """Return whether code, enhanced code and words of the reply are those the case asks for."""
    if case.replies and not any(at.code and at.code.startswith(code) for code in case.replies):
        return False
    if case.enhanced and not any(_enhanced_fits(code, at.enhanced) for code in case.enhanced):
        return False
    if case.words and not phrases(case.words).search(at.text):
        return False
    if case.ideas and not any(at.ideas.issuperset(group) for group in case.ideas):
        return False
    return at.ideas.isdisjoint(case.never)


def _fits(case: Case, at: _Situation) -> bool:
    if at.failure.reason not in case.reasons or not at.clues.issuperset(case.clues):
        return False
    if case.stages and at.failure.stage not in case.stages:
        return False
    if case.seen and not any(f"{key}={value}" in case.seen for key, value in at.failure.evidence.items()):
        return False
    return _reply_fits(case, at)


def _choose(at: _Situation) -> Case:
    """Return the first case that fits; the table's last fits every reply, and every other reason has one
    of its own.
    """
    own: Iterable[Case] = at.provider.replies if at.provider else ()
    for case in (*own, *load_cases()):
        if _fits(case, at):
            return case
    return load_cases()[-1]


def _listed(words: Iterable[str], last: str = " or ") -> str:
    items = list(dict.fromkeys(words))
    return last.join(filter(None, [", ".join(items[:-1]), *items[-1:]]))


_SECURITY_WORDS = {
    Security.STARTTLS: "STARTTLS",
    Security.IMPLICIT_TLS: "SSL/TLS",
    Security.PLAINTEXT: "none",
}


def _ports(provider: Provider | None, without: int) -> str:
    """Return the ports worth trying, the recommended first, without 25 and the one that failed."""
    if provider is None:
        return _USUAL_PORTS
    ports = sorted(provider.ports, key=lambda port: not port.recommended)
    offered = [
        f"{port.number} ({_SECURITY_WORDS[port.security]})"
        for port in ports
        if port.number not in {25, without}
    ]
    return _listed(offered) or _USUAL_PORTS


def _steps(provider: Provider | None) -> str:
    if provider is None:
        return "look for app passwords, under Security, in the account's settings."
    return " ".join(provider.password.steps)


class _Words(dict[str, str]):
    """Fills a sentence; a placeholder nobody filled becomes its own plain name, never an error on the
    page.
    """

    def __missing__(self, key: str) -> str:
        return key.replace("_", " ")


def _facts(at: _Situation) -> _Words:
    """Return what the sentences may name. The evidence of the engine fills the rest."""
    server, provider, seen = at.server, at.provider, at.failure.evidence
    name = server.username or ""
    domain = (at.sender or name).rpartition("@")[2]
    facts = _Words(names="another name", offered="other ways", answers="something else")
    facts.update({key: value for key, value in seen.items() if value})
    facts.update(
        host=server.host,
        port=str(server.port),
        username=name or "this account",
        sender=at.sender or "the sender's address",
        domain=domain if "." in domain else "the sender",
        ports=_ports(provider, server.port),
        suggestion=at.suggestion or server.host,
        provider=provider.name if provider else server.host,
        password_steps=_steps(provider),
    )
    if provider:
        facts.update(_provider_facts(provider, server.host))
    return facts


def _provider_facts(provider: Provider, host: str) -> dict[str, str]:
    others = [one.name for one in provider.hosts if one.name != host]
    return {
        "password_what": provider.password.what,
        "username_format": provider.username.format,
        "username_example": provider.username.example,
        "literal": _listed(provider.literal_usernames(host)),
        "other_hosts": _listed(others) if len(others) <= _MANY_HOSTS else "the one of your region",
    }


_PLACE = re.compile(r"\{([a-z_]+)\}")


def _fill(sentence: str, facts: _Words) -> str:
    """Fill the placeholders in one pass, so that a name with braces in it is never read again."""
    filled = _PLACE.sub(lambda found: facts[found[1]], sentence)
    begins_with_our_words = sentence.startswith("{password") or filled.startswith(("the ", "this "))
    return filled[:1].upper() + filled[1:] if begins_with_our_words else filled


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
    """Return the one cause and its fixes.

    ``provider`` is looked up from the server's host when it is not given. ``sender`` is the mailbox in From,
    for the sentences that name it.
    """
    return _diagnose(_Situation(failure, server, _provider(server, provider), load_catalogue(), sender))


def _provider(server: ServerLike, provider: Provider | None) -> Provider | None:
    """Return the provider whose own cases count: the one given, or the host's; the generic card has none."""
    provider = provider or load_catalogue().by_host(server.host)
    return None if provider is None or provider.kind is ProviderKind.OTHER else provider


def _diagnose(at: _Situation) -> Diagnosis:
    case, facts = _choose(at), _facts(at)
    return Diagnosis(
        code=case.code,
        kind=case.kind,
        cause=_fill(case.cause, facts),
        whose_move=case.move,
        fixes=tuple(_fill(fix, facts) for fix in case.fixes),
        field=case.field,
        retry_class=case.retry,
        evidence=_evidence(at.failure),
    )


@dataclass(frozen=True)
class _Pasted:
    """A server known by its name only."""

    host: str
    port: int = 587
    security: Security = Security.STARTTLS
    username: str | None = "your SMTP username"


def explain(
    server_host: str, stage: str | Stage, reply_text: str, catalogue: Catalogue | None = None
) -> Diagnosis:
    """Return the diagnosis of a reply somebody pasted.

    Raises:
        ValueError: ``stage`` is no stage's name.
    """
    moment = stage_named(stage)
    failure = SubmissionFailure(moment, Reason.REPLIED, parse_reply(reply_text, moment))
    catalogue, pasted = catalogue or load_catalogue(), _Pasted(server_host.strip().rstrip(".").lower())
    provider = catalogue.by_host(pasted.host)
    return _diagnose(_Situation(failure, pasted, provider, catalogue))
