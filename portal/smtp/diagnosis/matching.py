"""Matching of a failure against the diagnosis cases: the conditions and the facts they refer to."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from ..server import Mechanism, Security
from .cases import Case, Clue, DiagnosisKind, RetryClass, load_cases
from .phrases import concepts_in, fold, phrase_pattern

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..failure import SubmissionFailure
    from ..providers import Catalogue, Provider

_MAX_TEXT_CHARS = 2000  # searched for phrases; in long replies the first lines give the reason
_WITH_PASSWORD = (Mechanism.LOGIN, Mechanism.PLAIN, Mechanism.CRAM_MD5)
# What a reply to a log-in may be about beside wrong credentials.
_BEFORE_CREDENTIALS = frozenset({
    DiagnosisKind.ACCOUNT, DiagnosisKind.NETWORK, DiagnosisKind.RATE, DiagnosisKind.APP_PASSWORD,
    DiagnosisKind.LOGIN_DISABLED, DiagnosisKind.SECURITY, DiagnosisKind.SERVER_FAULT,
})  # fmt: skip
_GIVES_UP = frozenset({RetryClass.RECIPIENT, RetryClass.MESSAGE})
_STARTTLS_PORTS = frozenset({25, 587, 2525, 2587})


class ServerLike(Protocol):
    """The attributes of a Server that a diagnosis reads."""

    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int | None: ...
    @property
    def security(self) -> Security | None: ...
    @property
    def username(self) -> str | None: ...
    @property
    def mechanism(self) -> Mechanism | None: ...


@dataclass(frozen=True)
class PastedReplyServer:
    """Server of a pasted reply: its host is known at most, and that someone logged in."""

    host: str
    port: int | None = None
    security: Security | None = None
    username: str | None = "your SMTP username"
    mechanism: Mechanism | None = None


@dataclass(frozen=True)
class FailureContext:
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
        """The text of the reply, or the description of a token endpoint's error, as phrases are compared with it."""
        reply, described = self.failure.reply, self.failure.evidence.get("description", "")
        return fold((reply.text if reply else described)[:_MAX_TEXT_CHARS])

    @cached_property
    def may_pass(self) -> bool:
        """Whether the reply code, the enhanced status code or the words ask for another try."""
        return self.code.startswith("4") or self.enhanced.startswith("4") or "come_back" in self.concepts

    @cached_property
    def concepts(self) -> frozenset[str]:
        return concepts_in(self.text)

    @cached_property
    def suggestion(self) -> str | None:
        return self.catalogue.similar_host(self.server.host)

    @cached_property
    def clues(self) -> frozenset[Clue]:
        return frozenset(clue for clue, holds in _clues(self) if holds)


def other_mechanisms(failure: SubmissionFailure) -> list[Mechanism]:
    """Return the mechanisms with a password that the server offers, without the one that was tried."""
    offered, tried = failure.evidence.get("offered", "").split(), failure.evidence.get("mechanism")
    return [one for one in _WITH_PASSWORD if one.value.upper() in offered and one.value.upper() != tried]


def certificate_names(failure: SubmissionFailure) -> list[str]:
    """Return the names of the server's certificate that the evidence lists."""
    return [name for name in failure.evidence.get("names", "").partition(" and ")[0].split(", ") if name]


def _clues(context: FailureContext) -> Iterator[tuple[Clue, bool]]:
    """Yield every clue and whether it holds."""
    server, name = context.server, context.server.username or ""
    known = "" if isinstance(server, PastedReplyServer) else name  # with a pasted reply it is unknown
    yield Clue.NO_USERNAME, not name
    yield Clue.USERNAME_SET, bool(name)
    yield Clue.IMPLICIT, server.security is Security.IMPLICIT_TLS
    yield Clue.STARTTLS, server.security is Security.STARTTLS
    yield Clue.PLAINTEXT, server.security is Security.PLAINTEXT
    yield Clue.PORT_25, server.port == 25
    yield Clue.PORT_465, server.port in {465, 2465}
    yield Clue.PORT_STARTTLS, server.port in _STARTTLS_PORTS
    yield Clue.HOST_TYPO, context.suggestion is not None
    yield Clue.OTHER_MECHANISM, bool(other_mechanisms(context.failure))
    names = certificate_names(context.failure)
    yield Clue.WILDCARD_NAMES, bool(names) and all(name.startswith("*.") for name in names)
    if context.provider is None:
        return
    yield Clue.KNOWN_PROVIDER, True
    is_strict = context.provider.username.strict
    is_taken = context.provider.takes_username(server.host, known)
    yield Clue.USERNAME_NOT_LITERAL, bool(known) and is_strict and not is_taken
    yield Clue.USERNAME_WITHOUT_DOMAIN, bool(known) and context.provider.username.address and "@" not in known
    yield Clue.APP_PASSWORD_PROVIDER, context.provider.password.app_password
    yield Clue.SEVERAL_REGIONS, len(context.provider.hosts) > 1
    ports = {port.number for port in context.provider.ports}
    yield Clue.PORT_NOT_OFFERED, server.port is not None and server.port not in ports


def _enhanced_code_matches(expected: str, actual: str) -> bool:
    """Return whether a code fits: ``*`` is any part, ``?`` one digit of a part."""
    wanted, parts = expected.split("."), actual.split(".")
    return len(wanted) == len(parts) and all(
        fnmatchcase(part, one) for one, part in zip(wanted, parts, strict=True)
    )


def _reply_matches(case: Case, context: FailureContext) -> bool:
    """Return whether code, enhanced code and text of the reply meet the conditions of the case."""
    if case.reply_codes and not any(
        context.code and context.code.startswith(code) for code in case.reply_codes
    ):
        return False
    if case.enhanced_codes and not any(
        _enhanced_code_matches(code, context.enhanced) for code in case.enhanced_codes
    ):
        return False
    if any(_enhanced_code_matches(code, context.enhanced) for code in case.not_enhanced_codes):
        return False
    if case.phrases and not phrase_pattern(case.phrases).search(context.text):
        return False
    if case.concepts and not any(context.concepts.issuperset(group) for group in case.concepts):
        return False
    return context.concepts.isdisjoint(case.not_concepts)


def _matches(case: Case, context: FailureContext) -> bool:
    if context.failure.reason not in case.reasons or not context.clues.issuperset(case.clues):
        return False
    if case.stages and context.failure.stage not in case.stages:
        return False
    if case.evidence and not any(
        f"{key}={value}" in case.evidence for key, value in context.failure.evidence.items()
    ):
        return False
    if case.numbers and context.failure.evidence.get("number") not in case.numbers:
        return False
    return _reply_matches(case, context)


def _is_premature(case: Case, context: FailureContext) -> bool:
    """Return whether a general case gives up the message, or holds the account, although the reply asks for another try."""
    if case.is_lasting:
        return False
    if case.retry is RetryClass.SETTINGS:
        return context.code.startswith("4") and "come_back" in context.concepts
    return case.retry in _GIVES_UP and context.may_pass


def first_match(context: FailureContext) -> Case:
    """Return the first case that matches, the provider's own cases first.

    A provider's case of wrong credentials is recognised by few words, such as "authentication failed", which begin replies
    about an address, a limit or the account as well. A general case that fits more of the words comes before it.
    No general case gives up a message, or holds the account, where the reply asks for another try.
    The last general case matches every reply, and every reason other than a reply has a case of its own.
    """
    own = next((case for case in _own_cases(context) if _matches(case, context)), None)
    if own is not None and own.kind is not DiagnosisKind.CREDENTIALS:
        return own
    general = next(
        (case for case in load_cases() if not _is_premature(case, context) and _matches(case, context)),
        load_cases()[-1],
    )
    return own if own is not None and general.kind not in _BEFORE_CREDENTIALS else general


def _own_cases(context: FailureContext) -> tuple[Case, ...]:
    return context.provider.cases if context.provider else ()
