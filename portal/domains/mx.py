"""MX check: whether a domain exists and receives email (null MX: RFC 7505; fallback to the address: RFC 5321)."""

from __future__ import annotations

from dataclasses import replace

from .findings import Finding, PublishedRecord, Severity, lookup_failed, owner_action
from .resolver import DnsAnswer, LookupStatus, Resolver

_SUBJECT, _TITLE = "mx", "Receiving"
_NEITHER_NOTE = (
    "Some receivers refuse senders whose domain has neither an MX record nor an address "
    "(Postfix: reject_unknown_sender_domain). An MX record avoids this."
)


def assess(
    resolver: Resolver, domain: str, provider: str, *, bounces_by_mx: bool, is_own_envelope: bool = False
) -> tuple[Finding, bool]:
    """Return the finding, and whether receivers reject email from such a domain.

    An MX record is where bounces and answers go. Receivers of email from the domain do not ask for one, so none is needed
    where the provider takes the bounces (``bounces_by_mx`` is false).

    Args:
        is_own_envelope: whether the envelope sender is at the domain itself, to which late bounces are sent.
    """
    answer = resolver.query(domain, "MX")
    addresses = [resolver.query(domain, kind) for kind in ("A", "AAAA")]
    if not answer.answered:
        return lookup_failed(_SUBJECT, _TITLE, answer.status, domain), False
    if answer.records:
        return _assess_records(resolver, answer, domain)
    has_address = any(one.records for one in addresses)
    if not has_address and not all(one.answered for one in addresses):
        return lookup_failed(_SUBJECT, _TITLE, answer.status, domain), False
    if all(one.status is LookupStatus.NO_NAME for one in (answer, *addresses)):
        sentence = (
            f"{domain} does not exist in the DNS. Receivers refuse emails from domains that do not exist."
        )
        action = f"{owner_action(domain)} Check the spelling, and whether the domain is paid for."
        return _finding(Severity.ERROR, sentence, action), True
    where = "go to its web address, if anything listens there" if has_address else "are lost"
    notes = () if has_address else (_NEITHER_NOTE,)
    if bounces_by_mx:
        sentence = f"{domain} has no MX record, so bounces and replies {where}."
        finding = _finding(Severity.WARNING, sentence, owner_action(domain))
        return replace(finding, notes=notes), False
    if (
        is_own_envelope
    ):  # what receivers refuse at once reaches the provider; what they return later goes to the domain
        sentence = (
            f"{domain} has no MX record, and it does not need one to send. {provider} reports the emails that receivers refuse "
            f"at once. Later bounces and replies {where}."
        )
    else:
        sentence = (
            f"{domain} has no MX record, and it does not need one to send: {provider} receives the bounces. "
            f"Replies {where}."
        )
    notes = (
        "If people reply to your emails, set Reply-To to a mailbox that you read, or add an MX record.",
        *notes,
    )
    source = "RFC 5321, section 5.1; SPF, DKIM and DMARC do not require an MX record"
    return replace(_finding(Severity.INFO, sentence), notes=notes, source=source), False


def _assess_records(resolver: Resolver, answer: DnsAnswer, domain: str) -> tuple[Finding, bool]:
    hosts = [record.partition(" ")[2] for record in sorted(answer.records, key=_preference)]
    published = tuple(PublishedRecord(domain, "MX", record) for record in answer.records)
    if hosts == ["."]:
        sentence = (
            f"{domain} has a null MX record, which states that it accepts no email. Receivers refuse email from addresses "
            "that cannot receive replies."
        )
        action = f"{owner_action(domain)} Replace the record “0 .” with the MX record of your mail server."
        finding = _finding(Severity.ERROR, sentence, action, published)
        return replace(finding, source="RFC 7505, section 4.2"), True
    resolver.query_all((host, kind) for host in hosts[:3] for kind in ("A", "AAAA"))
    pairs = [[resolver.query(host, kind) for kind in ("A", "AAAA")] for host in hosts[:3] if host != "."]
    without_address = [pair[0].name for pair in pairs if all(one.is_void for one in pair)]
    if pairs and len(without_address) == len(pairs) and len(hosts) <= 3:
        sentence = f"The MX record names {', '.join(without_address)}, which has no address. Email cannot be delivered there."
        return _finding(Severity.WARNING, sentence, owner_action(domain), published), False
    return _finding(Severity.OK, f"{domain} exists and receives mail.", published=published), False


def _preference(record: str) -> int:
    number = record.partition(" ")[0]
    return int(number) if number.isdigit() else 0


def _finding(
    severity: Severity, sentence: str, action: str = "", published: tuple[PublishedRecord, ...] = ()
) -> Finding:
    return Finding(_SUBJECT, _TITLE, severity, sentence, action, published)
