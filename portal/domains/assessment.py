"""One look at a sending domain: everything receivers will look at, and what they will make of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..smtp.providers import DnsFacts, EnvelopeDomain, Provider, load_catalogue
from . import dkim_advice, dmarc, mx
from .dmarc import Policy, Walk
from .findings import Alignment, Finding, Mark, Published, Report, Wanted, could_not_look, owners_move
from .models import Verdict
from .spf import advice
from .spf.evaluate import LOOK_UPS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .resolver import Asker

__all__ = ["Report", "Target", "broken", "look"]


@dataclass(frozen=True)
class Target:
    """What to look at: the From domain, the provider behind the submission server, selectors the owner knows."""

    domain: str
    provider: Provider
    host: str = ""
    selectors: tuple[str, ...] = ()

    @property
    def called(self) -> str:
        """How the provider is called in a sentence."""
        known = self.provider.dns.envelope is not EnvelopeDomain.UNKNOWN
        return self.provider.name.partition(" (")[0] if known else "your server"


def look(target: Target, asker: Asker) -> Report:
    """Ask for everything, and judge. Takes no longer than the asker's time. Raises nothing about the domain."""
    domain, facts = target.domain, target.provider.dns
    if load_catalogue().is_public_mail(domain):
        return _public_mail(target)
    _fetch(asker, domain, facts, target.selectors)
    receiving, refused = mx.look(asker, domain)
    spf, by_spf, tree = advice.look(asker, domain, target.called, facts, target.host)
    dkim, by_dkim, keys = dkim_advice.look(asker, domain, target.called, facts, target.selectors)
    way = dmarc.walk(asker, domain)
    policy = way.policy(exists=not refused)
    if way.record and way.record.strict_spf and facts.envelope is EnvelopeDomain.SUBDOMAIN:
        strict = (
            f"{way.at} asks for strict alignment (aspf=s), and {by_spf.domain} is another name than {domain}."
        )
        by_spf = Alignment("SPF", by_spf.domain, by_spf.passes, False, strict)
    path = advice.return_path(asker, domain, target.called, facts)
    findings = [receiving, spf, *([path] if path else []), dkim, _policy(asker, way)]
    verdict, why = _verdict(target, findings, refused, (by_spf, by_dkim), policy)
    details = {
        "spf": tree.root.as_dict() if tree.root else None,
        "look_ups": tree.look_ups,
        "look_ups_allowed": LOOK_UPS,
        "keys": [key.as_dict() for key in keys],
        "dmarc": [list(step) for step in way.steps],
        "organization": way.organization,
        "asked": asker.asked,
    }
    return Report(
        domain, target.provider.name, target.host, verdict, why, tuple(findings), (by_spf, by_dkim), details
    )


def broken(target: Target) -> Report:
    """Return the report of a look that failed through a fault of the portal."""
    why = "The look broke off through a fault of this portal; it is in the portal’s log."
    return Report(target.domain, target.provider.name, target.host, Verdict.UNKNOWN, (why,))


def _fetch(asker: Asker, domain: str, facts: DnsFacts, selectors: Sequence[str]) -> None:
    """Ask the first questions at once: a server that is slow is waited for once."""
    names = [*(key.selector for key in facts.keys), *selectors]
    asker.ask_all(
        [
            *((domain, kind) for kind in ("TXT", "MX", "A", "AAAA")),
            (f"_dmarc.{domain}", "TXT"),
            *((f"{name}._domainkey.{domain}", "TXT") for name in names),
            *((name, "TXT") for name in facts.includes),
        ]
    )


def _public_mail(target: Target) -> Report:
    domain, card = target.domain, target.provider
    if domain in card.mail_domains:
        why = f"{domain} is {card.name}’s own domain, and mail leaves through its own server. There is nothing for you to set up."
        return Report(domain, card.name, target.host, Verdict.ARRIVES, (why,))
    why = (
        f"Anybody can have an address at {domain}, so only its own servers may send for it. Others’ mail in its name is "
        "refused or taken for spam. Send from a domain of your own."
    )
    return Report(domain, card.name, target.host, Verdict.REFUSED, (why,))


def _policy(asker: Asker, way: Walk) -> Finding:
    domain, title = way.start, "DMARC"
    here = asker.ask(f"_dmarc.{domain}", "TXT")
    now = tuple(Published(f"_dmarc.{domain}", "TXT", text) for text in here.records)
    starter = (
        Wanted(f"_dmarc.{domain}", "TXT", "v=DMARC1; p=none", "Add this record. It asks for nothing yet."),
    )
    if domain in way.several:
        sentence = f"There are {len(here.records)} DMARC records at _dmarc.{domain}. Only one is allowed: none of them counts."
        keep = (
            Wanted(
                f"_dmarc.{domain}", "TXT", next(iter(here.records)), "Keep this one and take the others out."
            ),
        )
        return Finding("dmarc", title, Mark.BAD, sentence, owners_move(domain), now, keep)
    if way.record is None and way.silent:
        name = f"_dmarc.{way.silent}"
        return could_not_look("dmarc", title, asker.ask(name, "TXT").status, name, now)
    if way.record is None:
        sentence = f"No DMARC policy is published for {domain}. Gmail, Yahoo and Outlook ask for one from senders of many emails."
        if any(name == domain for name, _ in way.unreadable):
            sentence = "What stands there is no DMARC record: it has to begin with v=DMARC1, in capital letters, and a semicolon."
        return Finding("dmarc", title, Mark.CARE, sentence, owners_move(domain), now, starter)
    return _published_policy(way, now)


def _published_policy(way: Walk, now: tuple[Published, ...]) -> Finding:
    policy, record = way.policy(), way.record
    asks = {
        Policy.NONE: "It asks receivers for nothing but counting",
        Policy.QUARANTINE: "It asks receivers to put what fails into the spam folder",
        Policy.REJECT: "It asks receivers to refuse what fails",
    }[policy or Policy.NONE]
    inherited = "" if way.at == way.start else f" It is inherited from {way.at}."
    notes = record.complaints if record else ()
    if record and way.at != way.start:
        now = (*now, Published(f"_dmarc.{way.at}", "TXT", record.text))
    mark = Mark.CARE if any("p=" in note or "policy" in note for note in notes) else Mark.GOOD
    sentence = f"A policy is published. {asks} (p={policy}).{inherited}"
    move = owners_move(way.at) if mark is Mark.CARE else ""
    return Finding("dmarc", "DMARC", mark, sentence, move, now, notes=notes)


def _verdict(
    target: Target,
    findings: list[Finding],
    refused: bool,
    alignment: tuple[Alignment, Alignment],
    policy: Policy | None,
) -> tuple[Verdict, tuple[str, ...]]:
    """Say what receivers will make of it, the gravest reason first."""
    by_spf, by_dkim = alignment
    marks = {one.subject: one for one in findings}
    reasons = [marks["mx"].sentence] if refused else []
    if by_spf.passes is False and by_dkim.vouches is False:
        reasons.append(
            "Neither SPF nor DKIM vouches for this mail. Gmail, Yahoo and others refuse mail that neither vouches for."
        )
    elif by_spf.vouches is False and by_dkim.vouches is False and policy is Policy.REJECT:
        reasons.append(
            "Nothing vouches for the From domain, and your own DMARC policy asks receivers to refuse such mail."
        )
    if reasons:
        return Verdict.REFUSED, tuple(reasons)
    silent = [_reason(one) for one in findings if one.silent]
    if silent:
        return Verdict.UNKNOWN, tuple(silent)
    risks = _risks(target, marks, by_spf, by_dkim, policy)
    if risks:
        return Verdict.AT_RISK, tuple(risks)
    return Verdict.ARRIVES, (_all_well(target, by_spf, by_dkim),)


def _risks(
    target: Target, marks: dict[str, Finding], by_spf: Alignment, by_dkim: Alignment, policy: Policy | None
) -> list[str]:
    risks = [_reason(marks["mx"])] if marks["mx"].mark in (Mark.CARE, Mark.BAD) else []
    if by_spf.vouches is False and by_dkim.vouches is False and policy is Policy.QUARANTINE:
        risks.append(
            "Nothing vouches for the From domain, and your own DMARC policy sends such mail to the spam folder."
        )
    if marks["spf"].mark in (Mark.CARE, Mark.BAD) and not _covered_by_dkim(target, marks, by_dkim):
        risks.append(_reason(marks["spf"]))
    if marks["dkim"].mark in (Mark.CARE, Mark.BAD):
        known = by_dkim.vouches is not None or by_spf.vouches
        risks.append(
            _reason(marks["dkim"])
            if known
            else f"Whether {target.called} signs your mail cannot be seen from here."
        )
    path = marks.get("return-path")
    if path is not None and path.mark is Mark.CARE and by_dkim.vouches is not True:
        risks.append(_reason(path))
    if marks["dmarc"].mark in (Mark.CARE, Mark.BAD):
        risks.append(_reason(marks["dmarc"]))
    return risks


def _reason(finding: Finding) -> str:
    return f"{finding.title}: {finding.sentence}"


def _covered_by_dkim(target: Target, marks: dict[str, Finding], by_dkim: Alignment) -> bool:
    """Whether a poor SPF record does no harm: its server is nobody's we know, and a signature vouches."""
    unknown = target.provider.dns.envelope is EnvelopeDomain.UNKNOWN
    return unknown and by_dkim.vouches is True and marks["spf"].mark is Mark.CARE


def _all_well(target: Target, by_spf: Alignment, by_dkim: Alignment) -> str:
    who = (
        "SPF and DKIM both vouch"
        if by_spf.vouches and by_dkim.vouches
        else "DKIM vouches"
        if by_dkim.vouches
        else "SPF vouches"
    )
    return f"{who} for {target.domain}, and a DMARC policy is in place. Nothing in the DNS stands in the way."
