"""DKIM advice: whether usable keys exist under the provider's selectors, and which records to publish."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from .dkim import DkimKey, KeyState, fetch_key
from .findings import (
    Alignment,
    Finding,
    PublishedRecord,
    RecommendedRecord,
    Severity,
    lookup_failed,
    owner_action,
)
from .resolver import LookupStatus

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..smtp.providers import DnsFacts, SigningKey
    from .resolver import Resolver

_SUBJECT, _TITLE = "dkim", "DKIM"


def assess(
    resolver: Resolver, domain: str, provider: str, facts: DnsFacts, selectors: Sequence[str]
) -> tuple[Finding, Alignment, list[DkimKey]]:
    """Return the finding, the expected alignment and all keys: of the provider's selectors and of the given ones."""
    sure = dict.fromkeys([*(key.selector for key in facts.keys), *selectors])
    names = list(dict.fromkeys([*sure, *facts.further_selectors]))
    resolver.query_all(lookups(domain, names))
    keys = [fetch_key(resolver, domain, name) for name in names]
    # A further selector may be another provider's, who then mostly holds the key: such a CNAME does not count.
    keys = [key for key in keys if key.selector in sure or (key.usable and not key.aliases)]
    if not keys and _has_no_key(resolver, domain):
        return _no_key_at_all_finding(domain, provider, facts), _no_key_alignment(domain), keys
    if _may_be_elsewhere(resolver, domain, facts, keys):
        return _ask_for_selector(domain, provider, facts, keys), _alignment(domain, provider, []), keys
    finding = _finding(resolver, domain, provider, facts, keys)
    return finding, _alignment(domain, provider, keys), keys


def lookups(domain: str, selectors: Sequence[str]) -> list[tuple[str, str]]:
    """Return the queries for selectors, and the one that shows whether there is any key."""
    return [(f"_domainkey.{domain}", "TXT"), *((f"{name}._domainkey.{domain}", "TXT") for name in selectors)]


def _may_be_elsewhere(resolver: Resolver, domain: str, facts: DnsFacts, keys: list[DkimKey]) -> bool:
    """Whether the provider's key was not found, and may be published under a selector that is not known."""
    if not facts.own_selectors or not facts.keys or any(key.state is not KeyState.MISSING for key in keys):
        return False
    return not _has_no_key(resolver, domain)


def _has_no_key(resolver: Resolver, domain: str) -> bool:
    """Whether a domain has no key. Keys cannot be listed, but below a name that does not exist is none (RFC 8020)."""
    return resolver.query(f"_domainkey.{domain}", "TXT").status is LookupStatus.NO_NAME


def _ask_for_selector(domain: str, provider: str, facts: DnsFacts, keys: list[DkimKey]) -> Finding:
    tried = list(dict.fromkeys([*(key.selector for key in keys), *facts.further_selectors]))
    sentence = (
        f"We do not know which key {provider} signs with. {domain} has keys, but none under {', '.join(tried)}. "
        f"Enter the selector that {provider} shows for {domain}, or paste the headers of an email sent through it."
    )
    notes: tuple[str, ...] = (f"{provider} asks for {facts.dkim}.",) if facts.dkim else ()
    action = f"You: find the selector, the name of the key, at {provider}."
    return Finding(_SUBJECT, _TITLE, Severity.UNKNOWN, sentence, action, notes=notes)


def _alignment(domain: str, provider: str, keys: list[DkimKey]) -> Alignment:
    if any(key.usable for key in keys):
        passes: bool | None = True
        sentence = f"{provider} can sign as {domain}, the domain in From. This counts for DMARC, even when an email is forwarded."
    elif not keys or any(key.state is KeyState.UNKNOWN for key in keys):
        passes = None
        sentence = (
            f"We do not know yet whether emails are signed as {domain}, because we do not know the selector "
            "or could not check it."
        )
    else:
        return _no_key_alignment(domain)
    return Alignment("DKIM", domain, passes=passes, aligned=passes, sentence=sentence)


def _no_key_alignment(domain: str) -> Alignment:
    sentence = f"We found no usable key of {domain}, so a signature cannot pass."
    return Alignment("DKIM", domain, passes=False, aligned=False, sentence=sentence)


def _finding(resolver: Resolver, domain: str, provider: str, facts: DnsFacts, keys: list[DkimKey]) -> Finding:
    if not keys:
        return _unknown_selector_finding(provider, facts)
    published = tuple(record for key in keys for record in _published_records(key))
    usable = [key for key in keys if key.usable]
    if not usable and any(key.state is KeyState.UNKNOWN for key in keys):
        name = next(key.name for key in keys if key.state is KeyState.UNKNOWN)
        return lookup_failed(_SUBJECT, _TITLE, resolver.query(name, "TXT").status, name, published)
    notes = tuple(f"{key.selector}: {key.sentence}" for key in keys if key.state is not KeyState.MISSING)
    finding = Finding(_SUBJECT, _TITLE, Severity.OK, "", published=published, notes=notes)
    if usable:
        return _key_found_finding(finding, domain, usable)
    action, recommended = owner_action(domain), recommended_records(domain, provider, facts)
    finding = replace(finding, severity=Severity.ERROR, action=action, recommended=recommended)
    return _no_key_finding(finding, provider, facts, keys)


def _key_found_finding(finding: Finding, domain: str, usable: list[DkimKey]) -> Finding:
    sentence = f"A key is published under {' and '.join(key.selector for key in usable[:3])}."
    if not all(key.state is KeyState.TESTING for key in usable):
        return replace(finding, sentence=sentence)
    action = f"{owner_action(domain)} Remove t=y from the key’s record."
    sentence = f"{sentence} {usable[0].sentence}"
    return replace(finding, severity=Severity.WARNING, sentence=sentence, action=action)


def _no_key_finding(finding: Finding, provider: str, facts: DnsFacts, keys: list[DkimKey]) -> Finding:
    unusable = next((key for key in keys if key.state in (KeyState.REVOKED, KeyState.BROKEN)), None)
    if unusable is not None:
        sentence = f"Receivers cannot use the key under {unusable.selector}. {unusable.sentence}"
        return replace(finding, sentence=sentence)
    names = ", ".join(key.selector for key in keys)
    if facts.own_selectors:
        return replace(finding, sentence=_no_key_sentence(keys[0].name.partition("._domainkey.")[2]))
    if not facts.keys:
        return replace(finding, sentence=f"No key is published under {names}, which you entered.")
    sentence = f"No key is published where {provider} usually signs ({names})."
    notes = finding.notes
    if not all(key.target for key in facts.keys):
        notes += ("If your provider shows you another selector, enter it below.",)
    return replace(finding, sentence=sentence, notes=notes)


def _unknown_selector_finding(provider: str, facts: DnsFacts) -> Finding:
    sentence = (
        "Each DKIM key has a name, the selector, and we cannot list the selectors of a domain. "
        f"{provider} chooses one for each customer. Enter it below, or paste the headers of an email sent through it."
    )
    action = f"You: find the selector, the name of the key, at {provider}."
    return Finding(_SUBJECT, _TITLE, Severity.UNKNOWN, sentence, action, notes=_notes(provider, facts))


def _no_key_at_all_finding(domain: str, provider: str, facts: DnsFacts) -> Finding:
    """Return the finding for a domain without any key, at a provider that chooses the selectors."""
    how = "Your provider shows you the name and the value."
    placeholder = RecommendedRecord(f"…._domainkey.{domain}", "TXT or CNAME", "", how)
    finding = Finding(_SUBJECT, _TITLE, Severity.ERROR, _no_key_sentence(domain), owner_action(domain))
    return replace(finding, recommended=(placeholder,), notes=_notes(provider, facts))


def _no_key_sentence(domain: str) -> str:
    return f"No DKIM key is published for {domain}: there is no name below _domainkey."


def _notes(provider: str, facts: DnsFacts) -> tuple[str, ...]:
    """Return what the provider asks for, and what its selectors look like."""
    notes: tuple[str, ...] = (f"{provider} asks for {facts.dkim}.",) if facts.dkim else ()
    if facts.selector_shapes:
        notes += (f"{provider}’s selectors look like {' or '.join(facts.selector_shapes)}.",)
    return notes


def recommended_records(domain: str, provider: str, facts: DnsFacts) -> tuple[RecommendedRecord, ...]:
    """Return the records with which a provider signs: all CNAMEs, or the first of several alternative TXT records."""
    keys = [key for key in facts.keys if key.record == "CNAME"] or list(facts.keys[:1])
    return tuple(_recommended_record(domain, provider, key) for key in keys)


def _recommended_record(domain: str, provider: str, key: SigningKey) -> RecommendedRecord:
    name = f"{key.selector}._domainkey.{domain}"
    if key.target is None:
        return RecommendedRecord(
            name, key.record, "", f"{provider} shows you the value, which is different for each customer."
        )
    value = key.target.replace("{domain}", domain).replace("{dashed}", domain.replace(".", "-"))
    return RecommendedRecord(name, key.record, value, "Add this record.")


def _published_records(key: DkimKey) -> list[PublishedRecord]:
    if key.aliases:
        return [PublishedRecord(key.name, "CNAME", key.aliases[0])]
    return [PublishedRecord(key.name, "TXT", key.text)] if key.text else []
