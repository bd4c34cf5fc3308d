"""Assessment of a sending domain: what receivers evaluate (MX, SPF, DKIM, DMARC), and whether they accept its email."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..smtp.providers import DnsFacts, EnvelopeDomain, Provider, load_catalogue
from ..smtp.providers.model import ProviderKind
from . import dkim_advice, dmarc, mx
from .dmarc import DmarcPolicy, DmarcRecord, PolicyLookup
from .findings import (
    Alignment,
    DomainReport,
    Finding,
    PublishedRecord,
    RecommendedRecord,
    Severity,
    lookup_failed,
    owner_action,
)
from .models import DomainStatus
from .sources import with_source
from .spf import advice
from .spf.evaluate import MAX_LOOKUPS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .resolver import Resolver


@dataclass(frozen=True)
class Target:
    """What to assess: the From domain, the provider of the submission server, and extra DKIM selectors."""

    domain: str
    provider: Provider
    host: str = ""
    selectors: tuple[str, ...] = ()

    @property
    def provider_label(self) -> str:
        """Name of the provider for use in a sentence."""
        known = self.provider.dns.envelope is not EnvelopeDomain.UNKNOWN
        return self.provider.name.partition(" (")[0] if known else "your server"


def assess(target: Target, resolver: Resolver) -> DomainReport:
    """Run all queries and return the report. Takes at most the resolver's total time. Raises nothing about the domain."""
    domain, facts, provider = target.domain, target.provider.dns, target.provider_label
    if load_catalogue().is_public_mail(domain):
        return _public_mail_report(target)
    _prefetch(resolver, domain, facts, target.selectors)
    bounces_by_mx = target.provider.kind is not ProviderKind.TRANSACTIONAL
    is_own_envelope = facts.envelope is EnvelopeDomain.OWN
    mx_finding, rejected = mx.assess(
        resolver, domain, provider, bounces_by_mx=bounces_by_mx, is_own_envelope=is_own_envelope
    )
    spf_finding, by_spf, tree = advice.assess(resolver, domain, provider, facts, target.host)
    dkim_finding, by_dkim, keys = dkim_advice.assess(resolver, domain, provider, facts, target.selectors)
    lookup = dmarc.look_up_policy(resolver, domain)
    if lookup.record and lookup.record.strict_spf and facts.envelope is EnvelopeDomain.SUBDOMAIN:
        sentence = (
            f"{lookup.policy_domain} asks for strict alignment (aspf=s), and {by_spf.domain} is another name "
            f"than {domain}."
        )
        by_spf = replace(by_spf, aligned=False, sentence=sentence)
    return_path = advice.return_path(resolver, domain, provider, facts)
    findings = [
        mx_finding,
        spf_finding,
        *([return_path] if return_path else []),
        dkim_finding,
        _dmarc_finding(resolver, lookup),
    ]
    findings = [with_source(one, provider, facts) for one in findings]
    evidence = _Evidence(
        target=target,
        findings={one.subject: one for one in findings},
        rejected=rejected,
        by_spf=by_spf,
        by_dkim=by_dkim,
        policy=lookup.policy(exists=not rejected),
    )
    status, reasons = _status(evidence)
    return DomainReport(
        domain=domain,
        provider=target.provider.name,
        host=target.host,
        status=status,
        reasons=reasons,
        findings=tuple(findings),
        alignment=(by_spf, by_dkim),
        details={
            "spf": tree.root.as_dict() if tree.root else None,
            "look_ups": tree.lookups,
            "look_ups_allowed": MAX_LOOKUPS,
            "keys": [key.as_dict() for key in keys],
            "dmarc": [list(step) for step in lookup.steps],
            "organization": lookup.organization,
            "asked": resolver.query_count,
        },
    )


def failed_report(target: Target) -> DomainReport:
    """Return the report of an assessment that failed with an internal error."""
    reason = (
        "The check stopped because of an internal error. The operator of this portal can find it in the log."
    )
    return DomainReport(target.domain, target.provider.name, target.host, DomainStatus.UNKNOWN, (reason,))


def _prefetch(resolver: Resolver, domain: str, facts: DnsFacts, selectors: Sequence[str]) -> None:
    """Send the known queries in parallel, so that a slow server delays the assessment once."""
    names = [*(key.selector for key in facts.keys), *facts.further_selectors, *selectors]
    resolver.query_all(
        [
            *((domain, kind) for kind in ("TXT", "MX", "A", "AAAA")),
            (f"_dmarc.{domain}", "TXT"),
            *dkim_advice.lookups(domain, names),
            *((name, "TXT") for name in facts.includes),
        ]
    )


def _public_mail_report(target: Target) -> DomainReport:
    """Return the report for a domain of a public mailbox provider, such as gmail.com."""
    domain, card = target.domain, target.provider
    if domain in card.mail_domains:
        reason = (
            f"{domain} is {card.name}’s own domain, and its own server sends your emails. "
            "You do not need to set up anything."
        )
        return DomainReport(domain, card.name, target.host, DomainStatus.ARRIVES, (reason,))
    reason = (
        f"Anyone can have an address at {domain}, so only its own servers may send for it. Receivers refuse emails from other "
        "servers or treat them as spam. Send from a domain of your own."
    )
    return DomainReport(domain, card.name, target.host, DomainStatus.REFUSED, (reason,))


def _dmarc_finding(resolver: Resolver, lookup: PolicyLookup) -> Finding:
    domain, title = lookup.domain, "DMARC"
    name = f"_dmarc.{domain}"
    answer = resolver.query(name, "TXT")
    published = tuple(PublishedRecord(name, "TXT", text) for text in answer.records)
    if domain in lookup.duplicates:
        sentence = f"There are {len(answer.records)} DMARC records at {name}. Only one is allowed, so receivers ignore them all."
        how = "Keep this record and delete the others."
        keep = (RecommendedRecord(name, "TXT", next(iter(answer.records)), how),)
        return Finding("dmarc", title, Severity.ERROR, sentence, owner_action(domain), published, keep)
    if lookup.record is None and lookup.unanswered_name:
        failed = f"_dmarc.{lookup.unanswered_name}"
        return lookup_failed("dmarc", title, resolver.query(failed, "TXT").status, failed, published)
    if lookup.record is None:
        sentence = f"No DMARC policy is published for {domain}. Gmail, Yahoo and Outlook require one from senders of many emails."
        if any(malformed == domain for malformed, _ in lookup.malformed):
            sentence = "The record there is not a DMARC record. It has to begin with v=DMARC1 in capital letters and a semicolon."
        how = "Add this record. It only monitors and does not block emails."
        starter = (RecommendedRecord(name, "TXT", "v=DMARC1; p=none", how),)
        return Finding("dmarc", title, Severity.WARNING, sentence, owner_action(domain), published, starter)
    return _published_policy_finding(lookup, lookup.record, published)


def _published_policy_finding(
    lookup: PolicyLookup, record: DmarcRecord, published: tuple[PublishedRecord, ...]
) -> Finding:
    policy = lookup.policy() or DmarcPolicy.NONE
    request = {
        DmarcPolicy.NONE: "It asks receivers only to count emails that fail",
        DmarcPolicy.QUARANTINE: "It asks receivers to put emails that fail into the spam folder",
        DmarcPolicy.REJECT: "It asks receivers to refuse emails that fail",
    }[policy]
    inherited = ""
    if lookup.policy_domain != lookup.domain:
        inherited = f" It is inherited from {lookup.policy_domain}."
        published = (*published, PublishedRecord(f"_dmarc.{lookup.policy_domain}", "TXT", record.text))
    sentence = f"A policy is published. {request} (p={policy}).{inherited}"
    finding = Finding("dmarc", "DMARC", Severity.OK, sentence, published=published, notes=record.problems)
    if any("p=" in problem or "policy" in problem for problem in record.problems):
        return replace(finding, severity=Severity.WARNING, action=owner_action(lookup.policy_domain))
    return finding


@dataclass(frozen=True)
class _Evidence:
    """Everything from which the status is derived. ``rejected``: the domain cannot receive email."""

    target: Target
    findings: dict[str, Finding]
    rejected: bool
    by_spf: Alignment
    by_dkim: Alignment
    policy: DmarcPolicy | None

    def needs_work(self, subject: str) -> bool:
        """Whether something is to be changed, or to be entered by the owner."""
        finding = self.findings[subject]
        asks = finding.severity is Severity.UNKNOWN and not finding.unanswered
        return asks or finding.severity in (Severity.WARNING, Severity.ERROR)

    @property
    def spf_is_covered_by_dkim(self) -> bool:
        """Whether an SPF warning does no harm: the server belongs to no known provider, and DKIM is aligned."""
        unknown = self.target.provider.dns.envelope is EnvelopeDomain.UNKNOWN
        is_warning = self.findings["spf"].severity is Severity.WARNING
        return unknown and self.by_dkim.vouches is True and is_warning


def _status(evidence: _Evidence) -> tuple[DomainStatus, tuple[str, ...]]:
    """Return the status and its reasons, the most severe first."""
    by_spf, by_dkim = evidence.by_spf, evidence.by_dkim
    reasons = [evidence.findings["mx"].sentence] if evidence.rejected else []
    if by_spf.passes is False and by_dkim.vouches is False:
        reasons.append("Your emails pass neither SPF nor DKIM. Gmail, Yahoo and others refuse such emails.")
    elif by_spf.vouches is False and by_dkim.vouches is False and evidence.policy is DmarcPolicy.REJECT:
        reasons.append(
            "Neither SPF nor DKIM passes for the From domain, and your own DMARC policy asks receivers to refuse such emails."
        )
    if reasons:
        return DomainStatus.REFUSED, tuple(reasons)
    unanswered = [_reason(one) for one in evidence.findings.values() if one.unanswered]
    if unanswered:
        return DomainStatus.UNKNOWN, tuple(unanswered)
    risks = _risks(evidence)
    if risks:
        return DomainStatus.AT_RISK, tuple(risks)
    return DomainStatus.ARRIVES, (_success_sentence(evidence),)


def _risks(evidence: _Evidence) -> list[str]:
    findings, by_spf, by_dkim = evidence.findings, evidence.by_spf, evidence.by_dkim
    risks = [_reason(findings["mx"])] if evidence.needs_work("mx") else []
    if by_spf.vouches is False and by_dkim.vouches is False and evidence.policy is DmarcPolicy.QUARANTINE:
        risks.append(
            "Neither SPF nor DKIM passes for the From domain, and your own DMARC policy sends such emails to the spam folder."
        )
    if evidence.needs_work("spf") and not evidence.spf_is_covered_by_dkim:
        risks.append(_reason(findings["spf"]))
    if evidence.needs_work("dkim"):
        known = by_dkim.vouches is not None or by_spf.vouches
        unknown = f"We cannot see whether {evidence.target.provider_label} signs your emails."
        risks.append(_reason(findings["dkim"]) if known else unknown)
    return_path = findings.get("return-path")
    if return_path is not None and return_path.severity is Severity.WARNING and by_dkim.vouches is not True:
        risks.append(_reason(return_path))
    if evidence.needs_work("dmarc"):
        risks.append(_reason(findings["dmarc"]))
    return risks


def _reason(finding: Finding) -> str:
    return f"{finding.title}: {finding.sentence}"


def _success_sentence(evidence: _Evidence) -> str:
    by_spf, by_dkim = evidence.by_spf.vouches, evidence.by_dkim.vouches
    who = "SPF and DKIM both pass" if by_spf and by_dkim else "DKIM passes" if by_dkim else "SPF passes"
    return f"{who} for {evidence.target.domain}, and a DMARC policy is in place. Your DNS records need no change."
