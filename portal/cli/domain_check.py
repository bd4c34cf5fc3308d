"""``flask domain check``: the page's list on the command line, for any domain, without storing anything."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from ..domains import page
from ..domains.assessment import Target, look
from ..domains.dkim import SELECTOR
from ..domains.findings import Finding, Report, visible
from ..domains.models import Verdict
from ..domains.resolver import Asker, is_public
from ..smtp.network.guard import HostError, canonical_host
from ..smtp.providers import Provider, load_catalogue
from ..smtp.providers.catalogue import normalise_host
from ..state import current_config

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ARRIVES, TROUBLE, NOT_LOOKED = 0, 1, 2


def run(name: str, provider: str, selectors: Sequence[str], as_json: bool, say: Callable[[str], None]) -> int:
    """Look at a domain and tell; return the exit status."""
    try:
        target = _target(name, provider, selectors)
    except ValueError as why:
        say(json.dumps({"domain": name, "error": str(why)}) if as_json else str(why))
        return NOT_LOOKED
    report = look(target, Asker(current_config().dns_servers, fresh=target.domain))
    if as_json:
        say(json.dumps(report.as_dict()))
    else:
        say("\n".join(visible(_lines(report))))
    if report.verdict is Verdict.UNKNOWN:
        return NOT_LOOKED
    return ARRIVES if report.verdict is Verdict.ARRIVES else TROUBLE


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


def _lines(report: Report) -> list[str]:
    lines = [f"{report.domain} by {report.provider}: {page.VERDICTS[report.verdict]}"]
    lines += [f"  {why}" for why in report.why]
    for finding in report.findings:
        lines += ["", *_finding(finding)]
    if report.alignment:
        lines += ["", "Alignment with the From domain"]
    for one in report.alignment:
        lines.append(f"  {one.mechanism:5} {page.VOUCHES[one.vouches]:8} {one.sentence}")
    return lines


def _finding(finding: Finding) -> list[str]:
    lines = [f"{finding.title}: {page.MARKS[finding.mark]}", f"  {finding.sentence}"]
    if finding.move:
        lines.append(f"  Whose move: {finding.move}")
    lines += [f"  There now:  {one.name} {one.kind} {one.value}" for one in finding.now]
    for one in finding.wanted:
        lines.append(f"  Paste:      {one.name} {one.kind} {one.value or '(' + one.how + ')'}")
        if one.value and one.how:
            lines.append(f"              {one.how}")
    return lines + [f"  Note: {note}" for note in finding.notes]
