"""SPF advice: whether a provider may send for a domain, and the exact record to publish.

The provider's include is merged into the existing record, because a second SPF record would invalidate both.
"""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ...smtp.providers import DnsFacts, EnvelopeDomain
from ..findings import (
    Alignment,
    Finding,
    PublishedRecord,
    RecommendedRecord,
    Severity,
    lookup_failed,
    owner_action,
)
from ..resolver import LookupStatus, Resolver
from .evaluate import MAX_LOOKUPS, SpfResult, check_host, sender_identity
from .record import InvalidSpf, Qualifier, is_spf, parse
from .tree import Coverage, CoverageLevel, SpfTree, build_tree, check_coverage

if TYPE_CHECKING:
    from collections.abc import Sequence

_SUBJECT, _TITLE = "spf", "SPF"
_ENDINGS = ("-all", "~all", "?all", "all")
_RESULT_PHRASES = {
    SpfResult.FAIL: "the record asks receivers to refuse the email",
    SpfResult.SOFTFAIL: "the record asks receivers to distrust the email",
    SpfResult.NEUTRAL: "the record leaves the decision to receivers",
    SpfResult.NONE: "there is no record",
}


def assess(
    resolver: Resolver, domain: str, provider: str, facts: DnsFacts, host: str
) -> tuple[Finding, Alignment, SpfTree]:
    """Return the finding about the record, the expected alignment, and the record as a tree."""
    tree = build_tree(resolver, domain)
    if facts.envelope in (EnvelopeDomain.PROVIDER, EnvelopeDomain.SUBDOMAIN):
        finding = _unused_record_finding(resolver, tree, provider, facts)
        return finding, _provider_envelope_alignment(resolver, domain, provider, facts), tree
    include = facts.includes[0] if facts.includes else ""
    if unusable := _unusable_finding(resolver, tree, provider, include):
        passes = None if unusable.unanswered else False
        return unusable, _own_envelope_alignment(domain, passes=passes), tree
    if facts.envelope is EnvelopeDomain.UNKNOWN:
        alignment = _own_envelope_alignment(domain, passes=None)
        return _unknown_provider_finding(resolver, tree, host), alignment, tree
    coverage = check_coverage(resolver, tree, facts.includes)
    finding, passes = _assess_coverage(tree, coverage, provider, include)
    return finding, _own_envelope_alignment(domain, passes=passes), tree


def _own_envelope_alignment(domain: str, *, passes: bool | None) -> Alignment:
    sentence = {
        True: f"Bounces go to {domain}, the domain in From. SPF passes and counts for DMARC.",
        False: f"Bounces go to {domain}, the domain in From, but these emails do not pass its SPF.",
        None: f"Bounces go to {domain}, the domain in From. We cannot see whether SPF passes.",
    }[passes]
    return Alignment("SPF", domain, passes=passes, aligned=True, sentence=sentence)


def _finding(tree: SpfTree, severity: Severity, sentence: str, **details: Any) -> Finding:
    """Return a finding about the record of a tree. ``details`` are further fields of the finding."""
    published = tuple(PublishedRecord(tree.domain, "TXT", text) for text in tree.records)
    return Finding(_SUBJECT, _TITLE, severity, sentence, published=published, **details)


def _recommended(tree: SpfTree, include: str) -> tuple[RecommendedRecord, ...]:
    """Return the merged record to publish, or nothing if it is the only one that is published."""
    value, count = merge_records(tree.records, include), len(tree.records)
    how = "Add this TXT record."
    if count == 1:
        how = "Replace the current record with this one."
    elif count > 1:
        how = f"Replace all {count} records with this one. Only one is allowed."
    return () if tuple(tree.records) == (value,) else (RecommendedRecord(tree.domain, "TXT", value, how),)


def _unusable_finding(resolver: Resolver, tree: SpfTree, provider: str, include: str) -> Finding | None:
    """Return a finding if receivers cannot use the record at all."""
    domain = tree.domain
    to_fix = {
        "action": owner_action(domain),
        "recommended": _recommended(tree, include) if include or tree.records else (),
    }
    if tree.root is None:
        sentence = f"{domain} has no SPF record, so receivers cannot see that {provider} may send for it."
        return _finding(tree, Severity.ERROR, sentence, **to_fix)
    if tree.root.unanswered:
        return lookup_failed(_SUBJECT, _TITLE, resolver.query(domain, "TXT").status, domain)
    if len(tree.records) > 1:
        sentence = f"{domain} has {len(tree.records)} SPF records. Only one is allowed, so receivers ignore them all."
        return _finding(tree, Severity.ERROR, sentence, **to_fix)
    if tree.problem:
        return _problem_finding(_finding(tree, Severity.ERROR, "", **to_fix), tree)
    if tree.unanswered_domain and not tree.includes([include]):
        failed = tree.unanswered_domain
        published = _finding(tree, Severity.UNKNOWN, "").published
        return lookup_failed(_SUBJECT, _TITLE, resolver.query(failed, "TXT").status, failed, published)
    return None


def _problem_finding(finding: Finding, tree: SpfTree) -> Finding:
    """Describe the problem of a tree. Only problems of the domain's own record can be fixed by another record."""
    finding = replace(finding, sentence=f"Receivers cannot use the SPF record. {tree.problem}")
    if tree.lookups > MAX_LOOKUPS:
        note = "Remove services that you no longer send with. The list below shows how many DNS look-ups each part needs."
        return replace(finding, recommended=(), notes=(note,))
    if tree.root and not tree.root.problem:
        note = "Remove the part that refers to it, or contact the owner of that record."
        return replace(finding, recommended=(), notes=(note,))
    return finding


def _assess_coverage(
    tree: SpfTree, coverage: Coverage, provider: str, include: str
) -> tuple[Finding, bool | None]:
    """Return the finding, and whether SPF passes for the provider's servers."""
    domain = tree.domain
    if coverage.level is CoverageLevel.YES:
        return _covered_finding(tree, coverage, provider, include), True
    if coverage.level is CoverageLevel.UNKNOWN:
        if coverage.include:
            sentence = f"The record includes {coverage.include}, {provider}’s own list."
            return _finding(tree, Severity.OK, sentence), True
        sentence = f"We could not read {provider}’s own list ({include}) just now."
        action = "No one yet. Check again in a few minutes."
        return _finding(tree, Severity.UNKNOWN, sentence, action=action, unanswered=True), None
    phrase = _RESULT_PHRASES.get(coverage.result or SpfResult.NEUTRAL, "receivers cannot tell")
    if coverage.level is CoverageLevel.PARTLY:
        severity = Severity.WARNING
        sentence = f"The record allows only some of {provider}’s servers to send. For the others, {phrase}."
    else:
        severity = Severity.ERROR
        sentence = f"The record does not include {provider}. When its servers send for {domain}, {phrase}."
    recommended, notes = _recommended(tree, include), _lookup_limit_notes(tree, include)
    finding = _finding(
        tree, severity, sentence, action=owner_action(domain), recommended=recommended, notes=notes
    )
    return finding, False


def _lookup_limit_notes(tree: SpfTree, include: str) -> tuple[str, ...]:
    if include and tree.lookups >= MAX_LOOKUPS:
        return (
            f"The record already needs {tree.lookups} of {MAX_LOOKUPS} DNS look-ups. Remove a part that you no longer use, "
            "or the record becomes invalid when you add this.",
        )
    return ()


def _covered_finding(tree: SpfTree, coverage: Coverage, provider: str, include: str) -> Finding:
    if tree.ending is Qualifier.PASS:
        sentence = "The record ends in +all, which allows anyone to send as you. Receivers do not trust such a record."
        action, recommended = owner_action(tree.domain), _recommended(tree, include)
        return _finding(tree, Severity.WARNING, sentence, action=action, recommended=recommended)
    how = f"it includes {coverage.include}" if coverage.include else f"it covers {provider}’s addresses"
    sentence = f"The record allows {provider} to send for {tree.domain}: {how}."
    notes: tuple[str, ...] = ()
    if tree.uses_ptr:
        notes = (
            "It uses ptr, which is slow and which some receivers ignore (RFC 7208 section 5.5). We recommend removing it.",
        )
    return _finding(tree, Severity.OK, sentence, notes=notes)


def _unknown_provider_finding(resolver: Resolver, tree: SpfTree, host: str) -> Finding:
    """Return the finding for an unknown server: the record allowing its own address is a hint, not a proof."""
    note = (
        f"Mail servers often send from a different address from the one that accepts your emails, and {host or 'this server'} "
        "does not belong to a provider that Signet knows. Ask its operator what to add to your SPF record."
    )
    results = [
        check_host(resolver, sender_identity(address, f"info@{tree.domain}", tree.domain))
        for address in _host_addresses(resolver, host)
    ]
    if results and all(result is SpfResult.PASS for result in results):
        sentence = f"The record allows {host} itself to send. This is a good sign, not a proof."
        return _finding(tree, Severity.INFO, sentence, notes=(note,))
    sentence = f"The record is valid, but it does not seem to include {host or 'your server'}."
    action = "You: ask the operator of the server what to add to the SPF record."
    return _finding(tree, Severity.WARNING, sentence, action=action, notes=(note,))


def _host_addresses(resolver: Resolver, host: str) -> list[str]:
    try:
        return [str(ipaddress.ip_address(host))]
    except ValueError:
        return [*resolver.query(host, "A").records[:4]] if host else []


def _unused_record_finding(resolver: Resolver, tree: SpfTree, provider: str, facts: DnsFacts) -> Finding:
    """Return the finding for a record that receivers do not evaluate for this provider's email, only for other email."""
    if tree.root is not None and tree.root.unanswered:
        return lookup_failed(_SUBJECT, _TITLE, resolver.query(tree.domain, "TXT").status, tree.domain)
    reason = (
        f"{provider} uses its own address for bounces, so receivers do not check this record for its emails."
    )
    if facts.envelope is EnvelopeDomain.SUBDOMAIN:
        reason = (
            f"{provider} uses {facts.return_label}.{tree.domain} for bounces, so receivers check SPF there."
        )
    has_several = len(tree.records) > 1
    if not has_several and not tree.problem:
        return _finding(tree, Severity.INFO, f"{reason} You do not need to add anything here.")
    sentence = (
        f"{reason} But it is invalid for your other emails: {tree.problem or 'there are several records.'}"
    )
    recommended = _recommended(tree, "") if has_several else ()
    action = owner_action(tree.domain)
    return _finding(tree, Severity.WARNING, sentence, action=action, recommended=recommended)


def _provider_envelope_alignment(
    resolver: Resolver, domain: str, provider: str, facts: DnsFacts
) -> Alignment:
    if facts.envelope is EnvelopeDomain.PROVIDER:
        sentence = (
            f"SPF passes for {provider}’s own domain. For DMARC it counts only if you set up your own "
            "return path (a domain for bounces) there."
        )
        return Alignment("SPF", f"{provider}’s domain", passes=True, aligned=False, sentence=sentence)
    name = f"{facts.return_label}.{domain}"
    is_set = is_return_path_set(resolver, domain, facts)
    sentence = {
        True: f"Bounces go to {name}, which belongs to {domain}. SPF passes and counts for DMARC.",
        False: f"{name} is not set up, so {provider} uses its own address for bounces, which does not count for DMARC.",
        None: f"We could not check {name} just now.",
    }[is_set]
    passes = None if is_set is None else True
    return Alignment("SPF", name, passes=passes, aligned=is_set, sentence=sentence)


def is_return_path_set(resolver: Resolver, domain: str, facts: DnsFacts) -> bool | None:
    """Whether the return path subdomain points to the provider. None if it could not be looked up."""
    answer = resolver.query(f"{facts.return_label}.{domain}", "TXT")
    if facts.return_record:
        target = facts.return_record.partition(" ")[2]
        if target in answer.aliases:
            return True
        return False if answer.answered else None
    if not answer.answered:
        return None
    tree = build_tree(resolver, f"{facts.return_label}.{domain}")
    return bool(tree.includes(facts.includes)) and not tree.problem


def return_path(resolver: Resolver, domain: str, provider: str, facts: DnsFacts) -> Finding | None:
    """Return the finding about the return path, the envelope sender's domain, if the provider supports its own one."""
    subject, title = "return-path", "Return path"
    if facts.envelope in (EnvelopeDomain.OWN, EnvelopeDomain.UNKNOWN):
        return None
    if facts.envelope is EnvelopeDomain.PROVIDER:
        sentence = (
            f"{provider} uses its own domain for bounces (the return path) unless you set one up there."
        )
        if facts.return_path:
            sentence += f" To set one up: {facts.return_path}."
        note = "You do not need this if DKIM passes. Signet cannot see which name you chose."
        return Finding(subject, title, Severity.INFO, sentence, notes=(note,))
    name = f"{facts.return_label}.{domain}"
    is_set, answer = is_return_path_set(resolver, domain, facts), resolver.query(name, "TXT")
    if is_set is None:
        return lookup_failed(subject, title, answer.status, name)
    published = tuple(PublishedRecord(name, "CNAME", alias) for alias in answer.aliases[:1])
    published += tuple(PublishedRecord(name, "TXT", text) for text in answer.records if is_spf(text))
    if is_set:
        sentence = f"{name} points to {provider}, so SPF counts for your domain."
        return Finding(subject, title, Severity.OK, sentence, published=published)
    sentence = f"{name} does not point to {provider}, so SPF cannot count for {domain}."
    if answer.status is LookupStatus.NO_NAME:
        sentence = (
            f"{name} does not exist, so {provider} uses its own domain and SPF cannot count for {domain}."
        )
    recommended = _return_path_records(name, provider, facts)
    return Finding(subject, title, Severity.WARNING, sentence, owner_action(domain), published, recommended)


def _return_path_records(name: str, provider: str, facts: DnsFacts) -> tuple[RecommendedRecord, ...]:
    if facts.return_record:
        kind, _, value = facts.return_record.partition(" ")
        return (RecommendedRecord(name, kind, value, "Add this record."),)
    spf = RecommendedRecord(name, "TXT", f"v=spf1 include:{facts.includes[0]} ~all", "Add this record.")
    how = f"{provider} shows you the value, which depends on your region."
    return (spf, RecommendedRecord(name, "MX", "", how))


def merge_records(records: Sequence[str], include: str) -> str:
    """Return one record merged from the given ones, with ``include`` before its ending.

    Invalid terms are dropped, and so is an ending that allows all senders.
    """
    words: list[str] = []
    for record in records:
        valid = [word for word in record.split(" ")[1:] if word and _is_valid_term(word)]
        words += [word.removeprefix("+") for word in valid]  # + is the default qualifier
    unique = list(dict.fromkeys(words))
    ending = _merged_ending([word for word in unique if word.lower() in _ENDINGS])
    rest = [word for word in unique if word.lower() not in _ENDINGS]
    redirects = [word for word in rest if word.lower().startswith("redirect=")]
    other_modifiers = [word for word in rest if "=" in word and word not in redirects]
    mechanisms = [word for word in rest if "=" not in word]
    if include and f"include:{include}" not in [word.lower() for word in mechanisms]:
        mechanisms.append(f"include:{include}")
    # A redirect is ignored beside an ending, and of several redirects none can be preferred.
    last = redirects if len(redirects) == 1 and not ending else [ending or "~all"]
    return " ".join(["v=spf1", *mechanisms, *last, *other_modifiers[:1]])


def _is_valid_term(word: str) -> bool:
    try:
        parse(f"v=spf1 {word}")
    except InvalidSpf:
        return False
    return word.isascii() and not is_spf(word)


def _merged_ending(endings: list[str]) -> str:
    """Return the ending of a merged record: -all only if it is the only one, ?all likewise, else ~all."""
    lowered = [ending.lower() for ending in endings]
    if not lowered:
        return ""
    return lowered[0] if lowered in (["-all"], ["?all"]) else "~all"
