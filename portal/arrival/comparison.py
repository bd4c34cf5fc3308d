"""Compares what a test email was sent as with what its receiver saw, by the pasted headers."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from flask_babel import gettext as _

from . import authentication_results, headers
from .models import FromOutcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .authentication_results import MethodResult, ReceiverResults
    from .headers import PastedHeaders
    from .models import TestEmail

_MAX_TEXT_CHARS = 254
_METHOD_TITLES = {"spf": "SPF", "dkim": "DKIM", "dmarc": "DMARC"}
_PASSED = "pass"


@dataclass(frozen=True)
class Seen:
    """The result of one method: ``result`` and ``domain`` are the receiver's words. Empty: it wrote none."""

    result: str = ""
    domain: str = ""


@dataclass(frozen=True)
class Observed:
    """What the headers of a received email show, as it is stored: addresses, results, and who wrote them."""

    author: str
    return_path: str
    reply_to: str
    header_id: str
    original_author: str  # that Google keeps when it replaces the From field
    receiver: str
    has_results: bool
    from_arc: bool
    forwarders: int
    spf: Seen
    dkim: Seen
    dmarc: Seen
    is_found: bool = False  # by the reader of the mailbox for bounces; else pasted

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for the table."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Observed:
        """Return what ``as_dict`` has stored."""
        seen = {name: Seen(**values[name]) for name in _METHOD_TITLES}
        return cls(**{**values, **seen})

    @property
    def methods(self) -> dict[str, Seen]:
        return {"spf": self.spf, "dkim": self.dkim, "dmarc": self.dmarc}


@dataclass(frozen=True)
class ComparisonRow:
    """One line of the comparison. ``is_as_promised`` None: it cannot be known, or does not count."""

    subject: str
    promised: str
    seen: str
    is_as_promised: bool | None
    note: str = ""


def observe(pasted: PastedHeaders, author_domain: str) -> Observed:
    """Read addresses and results from pasted headers. ``author_domain`` is the domain of the From address as sent."""
    results = authentication_results.receiver_results(pasted)
    return Observed(
        author=_short(headers.mailbox(pasted.first("from"))),
        return_path=_short(headers.mailbox(pasted.first("return-path"))),
        reply_to=_short(headers.mailbox(pasted.first("reply-to"))),
        header_id=_short(headers.first_word(pasted.first("message-id"))),
        original_author=_short(headers.mailbox(pasted.first("x-google-original-from"))),
        receiver=_short(results.receiver) if results else "",
        has_results=results is not None,
        from_arc=results is not None and results.from_arc,
        forwarders=authentication_results.forwarders(pasted),
        spf=_best(results, "spf", author_domain),
        dkim=_best(results, "dkim", author_domain),
        dmarc=_best(results, "dmarc", author_domain),
    )


def outcome_of(sent: TestEmail, seen: Observed) -> FromOutcome:
    """Return how the From address arrived.

    The receiver's DMARC result decides. Where it wrote none, or there is no policy, a passed SPF or DKIM result for the domain
    of the From address counts, as DMARC would count it (RFC 7489 section 3.1).
    """
    promised = headers.mailbox(sent.sender)
    if seen.author != promised:
        return FromOutcome.REPLACED
    if not seen.has_results:
        return FromOutcome.NO_RESULTS
    domain = promised.rpartition("@")[2]
    if seen.dmarc.result == _PASSED:
        return FromOutcome.AS_PROMISED
    has_verdict = seen.dmarc.result not in ("", "none", "bestguesspass")
    aligned = any(one.result == _PASSED and is_aligned(one.domain, domain) for one in (seen.spf, seen.dkim))
    return FromOutcome.AS_PROMISED if aligned and not has_verdict else FromOutcome.REFUTED


def is_aligned(domain: str, author_domain: str) -> bool:
    """Return whether a domain is that of the From address, or one is a subdomain of the other."""
    if not domain or "." not in min(domain, author_domain, key=len):
        return False
    return (
        domain == author_domain
        or f".{domain}".endswith(f".{author_domain}")
        or f".{author_domain}".endswith(f".{domain}")
    )


def rows(sent: TestEmail, seen: Observed) -> list[ComparisonRow]:
    """Return the comparison, the From address first."""
    promised = headers.mailbox(sent.sender)
    domain = promised.rpartition("@")[2]
    found = [
        ComparisonRow(
            _("From"), promised, seen.author or "–", seen.author == promised, _from_note(promised, seen)
        ),
        _return_path_row(sent, seen),
    ]
    if sent.reply_to:
        same = seen.reply_to == sent.reply_to.lower()
        missing = _("There is no Reply-To, so replies go to the From address.")
        changed = _("Replies go to a different address than you chose.")
        note = "" if same else changed if seen.reply_to else missing
        found.append(ComparisonRow(_("Reply-To"), sent.reply_to, seen.reply_to or "–", same, note))
    found += [
        _method_row(method, one, domain, is_known=seen.has_results) for method, one in seen.methods.items()
    ]
    if sent.header_id and seen.header_id != sent.header_id:
        note = _("Your provider replaced it. Signet recognised the email by another of its references.")
        found.append(ComparisonRow("Message-ID", sent.header_id, seen.header_id or "–", None, note))
    return found


def headline(outcome: FromOutcome, seen: Observed) -> str:
    """Return the result in one sentence."""
    match outcome:
        case FromOutcome.AS_PROMISED:
            return str(_("The From address arrived unchanged."))
        case FromOutcome.REPLACED:
            return str(
                _("The From address was replaced: the receiver saw %(seen)s.", seen=seen.author or "–")
            )
        case FromOutcome.REFUTED:
            return str(_("The From address arrived, but the receiver could not verify that it is yours."))
    return str(
        _(
            "The From address arrived. We do not know whether the receiver could verify it: these "
            "headers do not contain results that certainly come from the receiver."
        )
    )


def source_note(seen: Observed) -> str:
    """Return who wrote the results, and that the headers are what was pasted."""
    parts = []
    if seen.has_results:
        name = seen.receiver or _("the receiver, which does not give its name")
        parts.append(
            _(
                "The results come from %(name)s, from its ARC seal, a signature that forwarding servers add.",
                name=name,
            )
            if seen.from_arc
            else _("The results come from %(name)s.", name=name)
        )
    if seen.forwarders > 1:
        parts.append(
            _(
                "Several servers signed the email on its way (ARC), so it was probably "
                "forwarded. Forwarding can make SPF fail."
            )
        )
    parts.append(
        _("Signet read all this from the email in the mailbox for bounces.")
        if seen.is_found
        else _("Signet read all this from the headers that you pasted.")
    )
    return " ".join(map(str, parts))


def _best(results: ReceiverResults | None, method: str, author_domain: str) -> Seen:
    """Return the result of a method; of several signatures, one that passed for the domain of the From address."""
    found: Sequence[MethodResult] = results.results_of(method) if results else ()
    if not found:
        return Seen()

    def rank(one: MethodResult) -> tuple[bool, bool]:
        return (one.result != _PASSED, not is_aligned(one.domain, author_domain))

    best = min(found, key=rank)
    return Seen(_short(best.result), _short(best.domain))


def _from_note(promised: str, seen: Observed) -> str:
    if seen.author == promised:
        return ""
    if seen.original_author:
        return str(
            _(
                "Google replaced it with the mailbox that logs in. Add %(promised)s to the “Send mail "
                "as” addresses of that mailbox, or send as %(seen)s.",
                promised=promised,
                seen=seen.author,
            )
        )
    return str(
        _("Your provider replaced it with another address. Verify %(promised)s there.", promised=promised)
    )


def _return_path_row(sent: TestEmail, seen: Observed) -> ComparisonRow:
    promised = sent.return_path.lower()
    if not seen.return_path:
        note = _("These headers do not contain a Return-Path, the address for bounces.")
        return ComparisonRow(_("Return-Path"), promised or "–", "–", None, note)
    if not promised or seen.return_path == promised:
        same = True if promised else None
        return ComparisonRow(_("Return-Path"), promised or "–", seen.return_path, same)
    note = _("Your provider uses its own address, so that bounces reach it. This is normal.")
    return ComparisonRow(_("Return-Path"), promised, seen.return_path, None, note)


def _method_row(method: str, seen: Seen, author_domain: str, *, is_known: bool) -> ComparisonRow:
    title = _METHOD_TITLES[method]
    promised = _("pass for %(domain)s", domain=author_domain)
    if not seen.result:
        note = _("The receiver did not record a result.") if is_known else _("Unknown.")
        return ComparisonRow(title, promised, "–", None, note)
    text = f"{seen.result} ({seen.domain})" if seen.domain else seen.result
    if seen.result != _PASSED:
        return ComparisonRow(
            title, promised, text, False if seen.result != "none" or method != "dmarc" else None
        )
    if method == "dmarc" or is_aligned(seen.domain, author_domain):
        return ComparisonRow(title, promised, text, is_as_promised=True)
    note = _("It passed for another domain, so it does not count for your From address.")
    return ComparisonRow(title, promised, text, None, note)


def _short(text: str) -> str:
    """Return a text of the headers as it is stored and shown: printable and short."""
    return "".join(char for char in text if char.isprintable())[:_MAX_TEXT_CHARS]
