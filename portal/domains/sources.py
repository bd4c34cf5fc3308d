"""The sources of findings: the standard or the provider's documentation on which each one rests."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from .findings import Severity

if TYPE_CHECKING:
    from ..smtp.providers import DnsFacts
    from .findings import Finding

_STANDARDS = {
    "mx": "RFC 5321, section 5.1",
    "spf": "RFC 7208",
    "dkim": "RFC 6376 and RFC 8301",
    "dmarc": "RFC 9989",
}
_BULK_SENDER_RULES = "the rules of Google, Yahoo and Microsoft for senders of many emails"


def with_source(finding: Finding, provider: str, facts: DnsFacts) -> Finding:
    """Return a finding with its source, unless it has one or nothing was found out."""
    if finding.source or finding.unanswered:
        return finding
    named = [_STANDARDS.get(finding.subject, "")]
    asks = {"spf": facts.spf, "dkim": facts.dkim, "return-path": facts.return_path}.get(finding.subject)
    if asks or finding.subject == "return-path":
        named.append(f"the documentation of {provider}")
    if finding.subject == "dmarc" and finding.severity is Severity.WARNING and not finding.notes:
        named.append(_BULK_SENDER_RULES)
    text = ", and ".join(filter(None, named))
    return replace(finding, source=text[:1].upper() + text[1:])
