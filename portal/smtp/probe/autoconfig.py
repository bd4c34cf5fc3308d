"""Finding the settings of somebody who knows an email address or a domain only.

What is known without asking comes first (public mail domains), then what the domain says itself (SRV records,
RFC 6186 and RFC 8314), then who receives its mail (MX). It is a guess, shown with its source and tried before
it is used; nobody is dialled here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..mailbox import MailboxError, parse_mailbox
from ..network.dns import LookupResult, Nameserver, resolve_all
from ..network.guard import HostError, canonical_host
from ..providers import MalformedData, load_catalogue
from ..providers.model import PasswordLogin, Provider, ProviderKind
from ..server import Security
from ..toml_tables import read_toml

if TYPE_CHECKING:
    from collections.abc import Sequence

SECONDS = 3.0  # for all questions together
_TABLE = Path(__file__).parent / "exchangers.toml"
_SERVICES = (  # in the order of preference, RFC 8314 section 3.3
    ("_submissions._tcp", Security.IMPLICIT_TLS),
    ("_submission._tcp", Security.STARTTLS),
)


@dataclass(frozen=True)
class Guess:
    """Settings that probably fit. ``provider`` is None when nobody of the catalogue runs the host."""

    provider: Provider | None
    host: str
    port: int
    security: Security
    username: str  # empty where it cannot be known
    source: str  # one sentence: where this comes from

    @property
    def caution(self) -> str:
        """Return why the guess, though right, is of no use; nothing where it is."""
        if self.provider is None or self.provider.password_login is not PasswordLogin.NO:
            return ""
        return f"But {self.provider.name} takes no passwords from programs any more: choose another provider."


class NothingFound(Exception):
    """No guess can be made; the message is one sentence for the owner."""


@dataclass(frozen=True)
class _Asked:
    """What the owner typed: a domain, and the mailbox in it if there was one."""

    domain: str
    mailbox: str = ""


def find(typed: str, nameservers: Sequence[Nameserver] = (), seconds: float = SECONDS) -> Guess:
    """Return the guess for an email address or a domain, after at most ``seconds``.

    Raises:
        NothingFound: no guess can be made.
        ValueError: ``typed`` is neither; the message is one sentence.
    """
    asked = _read(typed)
    known = load_catalogue().by_domain(asked.domain)
    if known is not None:
        return _of_provider(known, "", asked, f"{asked.domain} belongs to {known.name}.")
    questions = [(f"{service}.{asked.domain}", "SRV") for service, _ in _SERVICES] + [(asked.domain, "MX")]
    *services, exchangers = resolve_all(questions, nameservers, seconds)
    return _declared(services, asked) or _received(exchangers, asked)


def _read(typed: str) -> _Asked:
    text = typed.strip()
    if "@" in text.lstrip("@"):
        mailbox = parse_mailbox(text)  # its error is a ValueError with a sentence
        return _Asked(mailbox.domain, str(mailbox))
    try:
        return _Asked(parse_mailbox(f"info@{text.lstrip('@')}").domain)
    except MailboxError:
        raise ValueError(
            "Enter an email address such as you@example.com, or a domain such as example.com."
        ) from None


def _declared(services: Sequence[LookupResult], asked: _Asked) -> Guess | None:
    """Return what the domain itself names for handing mail in."""
    for answer, (_, security) in zip(services, _SERVICES, strict=True):
        # The lowest priority first, the greatest weight within it (RFC 2782); "." says: not offered.
        for record in sorted(
            answer.records, key=lambda one: (_number(one, "priority"), -_number(one, "weight"))
        ):
            host, port = _name(record, "target"), _number(record, "port")
            if host and port:
                provider = load_catalogue().by_host(host)
                source = f"{asked.domain} itself names this server for sending mail."
                return Guess(provider, host, port, security, _username(provider, host, asked), source)
    return None


def _received(exchangers: LookupResult, asked: _Asked) -> Guess:
    """Return the settings of whoever receives the domain's mail."""
    names = [
        name
        for record in sorted(exchangers.records, key=lambda one: _number(one, "preference"))
        if (name := _name(record, "exchange"))
    ]
    for name in names:
        for suffix, provider, host in _exchangers():
            if name == suffix or name.endswith("." + suffix):
                source = f"The mail of {asked.domain} is received by {provider.name}."
                return _of_provider(provider, host, asked, source)
    raise NothingFound(_why_nothing(exchangers, names, asked.domain))


def _why_nothing(exchangers: LookupResult, names: Sequence[str], domain: str) -> str:
    if not exchangers.answered:
        return (
            f"Nobody could tell us about {domain} in time. Try again, or choose your provider from the list."
        )
    if not exchangers.exists:
        return f"There is no domain {domain}. Check the spelling."
    if not names:
        return f"{domain} does not say who receives its mail. Choose your provider from the list."
    return f"The mail of {domain} is received by {names[0]}, which we do not know. Choose your provider from the list."


def _of_provider(provider: Provider, host: str, asked: _Asked, source: str) -> Guess:
    port = provider.recommended_port
    if port is None:
        raise NothingFound(source)
    host = host or provider.hosts[0].name
    return Guess(provider, host, port.number, port.security, _username(provider, host, asked), source)


def _username(provider: Provider | None, host: str, asked: _Asked) -> str:
    """Return the fixed word, or the whole address (RFC 6186 section 4); a made-up log-in nobody can guess."""
    literal = provider.literal_usernames(host) if provider else ()
    if literal:
        return literal[0]
    made_up = provider is not None and provider.kind is ProviderKind.TRANSACTIONAL
    return "" if made_up else asked.mailbox


def _number(record: Any, name: str) -> int:
    return int(getattr(record, name, 0))


def _name(record: Any, name: str) -> str:
    """Return a name out of a record, canonical; empty for the root and for what is no host name."""
    try:
        return canonical_host(str(getattr(record, name, "")))
    except HostError:
        return ""


@cache
def _exchangers() -> tuple[tuple[str, Provider, str], ...]:
    """Return (suffix, provider, host or nothing), in the order of the table."""
    top = read_toml(_TABLE)
    rows = []
    for entry in top.tables("exchangers", required=True):
        provider = load_catalogue().get(entry.text("provider"))
        host = entry.optional_text("host") or ""
        if provider is None or (host and host not in {one.name for one in provider.hosts}):
            raise MalformedData(f"{_TABLE.name}: exchangers: {entry.text('provider')} {host} is on no card")
        rows += [(suffix, provider, host) for suffix in entry.texts("suffix", required=True)]
        entry.reject_unknown_keys()
    top.reject_unknown_keys()
    return tuple(rows)
