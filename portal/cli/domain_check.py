"""``flask domain check``: runs the domain check for any domain. Stores nothing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from ..domains import page
from ..domains.assessment import Target, assess
from ..domains.dkim import SELECTOR
from ..domains.findings import DomainReport, Finding, replace_unprintable
from ..domains.models import DomainStatus
from ..domains.resolver import Resolver, is_public
from ..smtp.network.guard import HostError, canonical_host
from ..smtp.providers import Provider, load_catalogue
from ..smtp.providers.catalogue import normalise_host
from ..state import current_config

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ARRIVES, PROBLEMS, NOT_CHECKED = 0, 1, 2


def run(
    name: str, provider: str, selectors: Sequence[str], as_json: bool, echo: Callable[[str], None]
) -> int:
    """Check a domain and print the report; return the exit status."""
    try:
        target = _target(name, provider, selectors)
    except ValueError as error:
        echo(json.dumps({"domain": name, "error": str(error)}) if as_json else str(error))
        return NOT_CHECKED
    report = assess(target, Resolver(current_config().dns_servers, uncached_domain=target.domain))
    if as_json:
        echo(json.dumps(report.as_dict()))
    else:
        echo("\n".join(replace_unprintable(_lines(report))))
    if report.status is DomainStatus.UNKNOWN:
        return NOT_CHECKED
    return ARRIVES if report.status is DomainStatus.ARRIVES else PROBLEMS


def _target(name: str, provider: str, selectors: Sequence[str]) -> Target:
    try:
        domain = canonical_host(name)
    except HostError:
        domain = ""
    if not is_public(domain):
        raise ValueError("This is no domain such as example.com.")
    for selector in selectors:
        if not SELECTOR.fullmatch(selector) or len(selector) > 100:
            raise ValueError(
                f"{selector!r} is no DKIM selector; it is the part before ._domainkey, such as s1."
            )
    card, host = _provider(provider)
    return Target(domain, card, host, tuple(one.lower() for one in selectors))


def _provider(text: str) -> tuple[Provider, str]:
    catalogue = load_catalogue()
    if not text:
        return catalogue.generic, ""
    card = catalogue.get(text.lower()) or catalogue.by_host(text)
    if card is not None:
        return card, text if "." in text else ""
    if "." not in text:
        known = ", ".join(sorted(one.id for one in catalogue))
        raise ValueError(f"No provider is called {text!r}. Known: {known}; or name the SMTP server.")
    return catalogue.generic, normalise_host(text)


def _lines(report: DomainReport) -> list[str]:
    lines = [f"{report.domain} by {report.provider}: {page.STATUS_LABELS[report.status]}"]
    lines += [f"  {error}" for error in report.reasons]
    for finding in report.findings:
        lines += ["", *_finding_lines(finding)]
    if report.alignment:
        lines += ["", "Alignment with the From domain"]
    for one in report.alignment:
        lines.append(f"  {one.mechanism:5} {page.VOUCHES_LABELS[one.vouches]:8} {one.sentence}")
    return lines


def _finding_lines(finding: Finding) -> list[str]:
    lines = [f"{finding.title}: {page.SEVERITY_LABELS[finding.severity]}", f"  {finding.sentence}"]
    if finding.source:
        lines.append(f"  Source: {finding.source}.")
    if finding.action:
        lines.append(f"  Who needs to act: {finding.action}")
    lines += [f"  There now:  {one.name} {one.kind} {one.value}" for one in finding.published]
    for one in finding.recommended:
        lines.append(f"  Paste:      {one.name} {one.kind} {one.value or '(' + one.how + ')'}")
        if one.value and one.how:
            lines.append(f"              {one.how}")
    return lines + [f"  Note: {note}" for note in finding.notes]
