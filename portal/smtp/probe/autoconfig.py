"""Autoconfiguration: suggests SMTP settings from an email address or a domain.

Sources, in this order: the catalogue's public mail domains (no query), the domain's SRV records (RFC 6186 and
RFC 8314), the provider of its mail exchangers (MX). The suggestion is shown with its source and tested before
use. This module sends DNS queries only and connects to no mail server.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..mailbox import MailboxError, parse_mailbox
from ..network.dns import LookupResult, Nameserver, resolve_all
from ..network.guard import HostError, canonical_host
from ..providers import load_catalogue
from ..providers.model import PasswordLogin, Provider, ProviderKind
from ..server import Security
from .exchangers import find_exchanger

if TYPE_CHECKING:
    from collections.abc import Sequence

DNS_TIMEOUT_S = 3.0  # for all queries together
_SERVICES = (  # in order of preference, RFC 8314 section 3.3
    ("_submissions._tcp", Security.IMPLICIT_TLS),
    ("_submission._tcp", Security.STARTTLS),
)


@dataclass(frozen=True)
class Suggestion:
    """Settings that probably work. ``provider`` is None when the host is in no card of the catalogue."""

    provider: Provider | None
    host: str
    port: int
    security: Security
    username: str  # empty when it cannot be derived from the address
    source: str  # a sentence for the owner

    @property
    def warning(self) -> str:
        """Why these settings cannot be used although they are right; empty if they can."""
        if self.provider is None or self.provider.password_login is not PasswordLogin.NO:
            return ""
        if self.provider.oauth is not None:
            return f"{self.provider.name} accepts no passwords from programs any more. Connect it without a password instead."
        return f"{self.provider.name} accepts no passwords from programs any more. Choose another provider."


class SettingsNotFound(Exception):
    """No settings can be suggested; the message is a sentence for the owner."""


@dataclass(frozen=True)
class _Query:
    """Parsed input: a domain, and the full address if one was typed."""

    domain: str
    mailbox: str = ""


def suggest_settings(
    address_or_domain: str, nameservers: Sequence[Nameserver] = (), timeout_s: float = DNS_TIMEOUT_S
) -> Suggestion:
    """Return the suggestion for an email address or a domain.

    Raises:
        SettingsNotFound: there is no suggestion.
        ValueError: the text is neither an address nor a domain; the message is a sentence for the owner.
    """
    query = _parse(address_or_domain)
    known = load_catalogue().by_domain(query.domain)
    if known is not None:
        return _from_card(known, "", query, f"{query.domain} is a mail domain of {known.name}.")
    questions = [(f"{service}.{query.domain}", "SRV") for service, _ in _SERVICES] + [(query.domain, "MX")]
    *services, exchangers = resolve_all(questions, nameservers, timeout_s)
    return _from_srv(services, query) or _from_mx(exchangers, query)


def _parse(address_or_domain: str) -> _Query:
    text = address_or_domain.strip()
    if "@" in text.lstrip("@"):
        mailbox = parse_mailbox(text)  # MailboxError is a ValueError whose message is a sentence
        return _Query(mailbox.domain, str(mailbox))
    try:
        return _Query(parse_mailbox(f"info@{text.lstrip('@')}").domain)
    except MailboxError:
        raise ValueError(
            "Enter an email address such as you@example.com, or a domain such as example.com."
        ) from None


def _from_srv(services: Sequence[LookupResult], query: _Query) -> Suggestion | None:
    """Return the submission server that the domain publishes in SRV records."""
    for answer, (_, security) in zip(services, _SERVICES, strict=True):
        # Lowest priority first, then greatest weight (RFC 2782); the target "." means: service not offered.
        for record in sorted(
            answer.records, key=lambda record: (_number(record, "priority"), -_number(record, "weight"))
        ):
            host, port = _name(record, "target"), _number(record, "port")
            if host and port:
                provider = load_catalogue().by_host(host)
                source = f"The DNS of {query.domain} names this server for sending emails."
                return Suggestion(provider, host, port, security, _username(provider, host, query), source)
    return None


def _from_mx(exchangers: LookupResult, query: _Query) -> Suggestion:
    """Return the settings of the provider that runs the domain's mail exchangers."""
    names = [
        name
        for record in sorted(exchangers.records, key=lambda record: _number(record, "preference"))
        if (name := _name(record, "exchange"))
    ]
    for name in names:
        if found := find_exchanger(name):
            provider, host = found
            source = f"Emails to {query.domain} are received by {provider.name}."
            return _from_card(provider, host, query, source)
    raise SettingsNotFound(_not_found_sentence(exchangers, names, query.domain))


def _not_found_sentence(exchangers: LookupResult, names: Sequence[str], domain: str) -> str:
    if not exchangers.answered:
        return (
            f"The DNS did not answer for {domain} in time. Try again, or choose your provider from the list."
        )
    if not exchangers.exists:
        return f"There is no domain {domain}. Check the spelling."
    if not names:
        return f"The DNS does not name a server that receives emails for {domain}. Choose your provider from the list."
    return f"Emails to {domain} are received by {names[0]}, whose provider we do not know. Choose your provider from the list."


def _from_card(provider: Provider, host: str, query: _Query, source: str) -> Suggestion:
    port = provider.recommended_port
    if port is None:
        raise SettingsNotFound(source)
    host = host or provider.hosts[0].name
    return Suggestion(provider, host, port.number, port.security, _username(provider, host, query), source)


def _username(provider: Provider | None, host: str, query: _Query) -> str:
    """Return the provider's fixed username, otherwise the full address (RFC 6186 section 4).

    Empty for transactional providers, which generate a username for each account.
    """
    literal = provider.literal_usernames(host) if provider else ()
    if literal:
        return literal[0]
    generated = provider is not None and provider.kind is ProviderKind.TRANSACTIONAL
    return "" if generated else query.mailbox


def _number(record: Any, name: str) -> int:
    return int(getattr(record, name, 0))


def _name(record: Any, name: str) -> str:
    """Return a host name from a record in canonical form; empty for the root and for an invalid name."""
    try:
        return canonical_host(str(getattr(record, name, "")))
    except HostError:
        return ""
