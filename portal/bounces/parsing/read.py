"""Reads one mail: a bounce, a complaint, a delivery notice, an automatic reply, or none of these."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ...smtp.protocol.reply import plain_text
from .addresses import addresses_in, is_role, same
from .auto_replies import auto_reply_of, has_failure_subject, has_null_sender, is_from_system
from .delivery_status import (
    STATUS_TYPES,
    DeliveryStatus,
    RecipientStatus,
    has_status_fields,
    read_delivery_status,
)
from .fallback import other_recipients
from .feedback import FEEDBACK_TYPE, read_feedback
from .meaning import (
    RefusalMeaning,
    first_reply_code,
    first_status,
    meaning_of,
    meaning_of_report,
    specific_status,
)
from .mime import Mail, read_mail
from .model import MAX_FINDINGS, MAX_REASON_CHARS, BounceCause, BounceClass, Form, MailReport, RecipientReport
from .notifications import read_notification
from .returned import (
    RETURNED_TYPES,
    Returned,
    message_id_in,
    returned_in_text,
    returned_of,
    returned_part,
    split_text,
)
from .text_reports import (
    Mention,
    is_delay,
    mentions_in,
    says_failure,
    says_undelivered,
    transcript_about,
    words_about,
    words_of_all,
)
from .words import is_mailing_list

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .mime import Headers

_TRANSFERRED = frozenset({"delivered", "relayed", "expanded"})
_ENVELOPE_FIELDS = ("delivered-to", "x-original-to", "envelope-to", "to")
_REFERENCES = ("in-reply-to", "references")


def read_report(raw: bytes) -> MailReport:
    """Return what a mail reports. Never raises for any bytes; reads the first ``mime.MAX_BYTES`` of them, in linear time."""
    mail = read_mail(raw)
    report = _read(mail, raw)
    return replace(
        report,
        findings=tuple(_cleaned(one) for one in report.findings),
        delivered_to=tuple(
            dict.fromkeys(
                one
                for name in _ENVELOPE_FIELDS
                for value in mail.headers.all(name)
                for one in addresses_in(value)
            )
        )[:20],
    )


def _cleaned(finding: RecipientReport) -> RecipientReport:
    return replace(
        finding,
        recipient=plain_text(finding.recipient, 320),
        original_recipient=plain_text(finding.original_recipient, 320),
        reason=plain_text(finding.reason, MAX_REASON_CHARS),
    )


def _read(mail: Mail, raw: bytes) -> MailReport:
    if (complaint := read_feedback(mail)) is not None:
        findings, returned = complaint
        return MailReport(Form.FEEDBACK, findings, returned.message_id, returned.reference)
    lines, returned = _words(mail)
    status = _status_of(mail)
    if status is not None and status.recipients:
        return _delivery_report(mail, status, lines, returned)
    if (event := read_notification("\n".join(lines))) is not None:
        return MailReport(Form.NOTIFICATION, event[0], event[1])
    return _in_words(mail, lines, returned, raw)


def _words(mail: Mail) -> tuple[list[str], Returned]:
    """Return the lines of the report's own words and the returned message, from a part of its own or from the text."""
    part = returned_part(mail)
    texts = [one for one in mail.parts if one.type == "text/plain"]
    if not any(one.text().strip() for one in texts):
        texts = [one for one in mail.parts if one.type.startswith("text/") and one.type not in RETURNED_TYPES]
    if not texts:
        texts = [
            one for one in mail.parts if one.type not in RETURNED_TYPES | STATUS_TYPES | {FEEDBACK_TYPE}
        ][:1]
    lines, rest = split_text("\n".join(one.text() for one in texts))
    return lines, returned_of(part) if part else returned_in_text(rest)


def _status_of(mail: Mail) -> DeliveryStatus | None:
    part = next((one for one in mail.parts if one.type in STATUS_TYPES), None)
    if part is not None:
        return read_delivery_status(part.content())
    if not _is_report(mail.headers):
        return None
    torn = next(
        (one for one in mail.parts if one.type not in RETURNED_TYPES and has_status_fields(one.content())),
        None,
    )
    return read_delivery_status(torn.content()) if torn else None


def _delivery_report(
    mail: Mail, status: DeliveryStatus, lines: Sequence[str], returned: Returned
) -> MailReport:
    entries = status.recipients[:MAX_FINDINGS]
    mentions = mentions_in(lines, _senders(mail.headers, returned))
    failed = next(iter(addresses_in(mail.headers.get("x-failed-recipients"))), "")
    findings = [_of_status(one, lines, mentions, failed, alone=len(entries) == 1) for one in entries]
    return MailReport(
        Form.DELIVERY_STATUS,
        _once(findings),
        _message_id(mail, lines, returned),
        returned.reference,
        plain_text(status.envelope_id, 100),
    )


def _once(findings: Sequence[RecipientReport]) -> tuple[RecipientReport, ...]:
    """Return each recipient once, its first entry with a status."""
    kept: list[RecipientReport] = []
    for one in findings:
        if not any(same(one.recipient, other.recipient) and one.outcome is other.outcome for other in kept):
            kept.append(one)
    return tuple(kept)


def _of_status(
    entry: RecipientStatus, lines: Sequence[str], mentions: Sequence[Mention], failed: str, *, alone: bool
) -> RecipientReport:
    recipient = (
        entry.recipient
        or (mentions[0].address if len(mentions) == 1 and alone else "")
        or (failed if alone else "")
    )
    words = entry.diagnostic
    reply_code = first_reply_code(words)
    if entry.action in _TRANSFERRED or (not entry.action and entry.status.startswith("2")):
        return RecipientReport(
            BounceClass.DELIVERED,
            BounceCause.NOTHING,
            recipient,
            entry.original,
            entry.status,
            reply_code,
            words,
        )
    if entry.action == "deliverable":  # a verification (RFC 3461 defines none): nothing was sent
        return RecipientReport(
            BounceClass.NONE, BounceCause.NOTHING, recipient, entry.original, entry.status, reply_code, words
        )
    meaning = meaning_of(words, entry.status, reply_code)
    texts = _candidates(recipient, lines, mentions, alone=alone)
    if not meaning.certain:
        meaning, words = _surest(meaning, words, texts, lines if alone else (), entry.status)
    words = words or next(iter(texts), "")
    outcome = BounceClass.DELAYED if entry.action.startswith("delay") else meaning.outcome
    return RecipientReport(
        outcome,
        meaning.cause,
        recipient,
        entry.original,
        specific_status(entry.status, words),
        reply_code or first_reply_code(words),
        words,
    )


def _surest(
    meaning: RefusalMeaning, words: str, texts: Sequence[str], lines: Sequence[str], status: str = ""
) -> tuple[RefusalMeaning, str]:
    """Return the first certain meaning among texts, then that of the whole report, else the given one or a vague one."""
    vague = None
    for text in texts:
        other = meaning_of(text, status)
        if other.certain:
            return other, text
        vague = vague or (other, text)
    whole = meaning_of_report(" ".join(lines)) if lines else None
    if whole is not None:
        return whole, words or next(iter(texts), "")
    if meaning.cause is BounceCause.OTHER and vague is not None:
        return vague[0], words or vague[1]
    return meaning, words


def _candidates(address: str, lines: Sequence[str], mentions: Sequence[Mention], *, alone: bool) -> list[str]:
    """Return the words about an address, the surest first."""
    own = [one for one in mentions if same(one.address, address)] or (list(mentions) if alone else [])
    texts = [words_about(lines, one, mentions) for one in own[:1]]
    texts.append(transcript_about(lines, address))
    if alone:
        texts.append(words_of_all(lines))
    return [one for one in texts if one.strip()]


def _is_report(headers: Headers) -> bool:
    """Return whether the headers are those of a mail system that reports."""
    return is_from_system(headers) or has_null_sender(headers) or has_failure_subject(headers)


def _senders(headers: Headers, returned: Returned) -> list[str]:
    """Return the addresses that sent the message or the report, so did not fail."""
    names = ("from", "to", "sender", "reply-to", "delivered-to", "return-path", "x-original-to")
    return [
        *addresses_in(" ".join(value for name in names for value in headers.all(name))),
        *returned.senders,
    ]


def _message_id(mail: Mail, lines: Sequence[str], returned: Returned) -> str:
    """Return the Message-ID of the message that the report is about."""
    found = returned.message_id or message_id_in("\n".join(lines))
    if not found and _is_report(mail.headers):
        found = next((one for name in _REFERENCES for one in addresses_in(mail.headers.get(name))), "")
    return plain_text(found, 300)


def _in_words(mail: Mail, lines: Sequence[str], returned: Returned, raw: bytes) -> MailReport:
    headers = mail.headers
    away = auto_reply_of(headers)
    system = is_from_system(headers)
    reports = says_failure(lines) or has_failure_subject(headers) or bool(headers.get("x-failed-recipients"))
    if away is not None and not (system and reports):
        sender = next(iter(addresses_in(headers.get("from"))), "")
        return MailReport(
            Form.AUTO_REPLY,
            (RecipientReport(BounceClass.AUTO_REPLY, away, sender, reason=" ".join(lines)[:1000]),),
            _message_id(mail, lines, returned),
        )
    if not (reports and (_is_report(headers) or _returns_undelivered(mail, lines))):
        return MailReport(Form.NONE, (RecipientReport(BounceClass.NONE),))
    inner = _inner_report(mail)
    if inner is not None:
        return inner
    findings = _text_findings(mail, lines, returned) or other_recipients(raw)
    if not findings:
        return MailReport(Form.NONE, (RecipientReport(BounceClass.NONE),))
    return MailReport(Form.TEXT, tuple(findings), _message_id(mail, lines, returned), returned.reference)


def _returns_undelivered(mail: Mail, lines: Sequence[str]) -> bool:
    """Return whether a no-reply sender returns a message and states that it was not delivered."""
    sender = next(iter(addresses_in(mail.headers.get("from"))), "")
    return is_role(sender) and returned_part(mail) is not None and says_undelivered(lines)


def _inner_report(mail: Mail) -> MailReport | None:
    """Return what a notification reports that a gateway wrapped into another one of its own."""
    part = returned_part(mail)
    inner = read_mail(part.content()) if part else None
    if inner is None or inner.headers.report_type != "delivery-status" or not is_from_system(inner.headers):
        return None
    status = _status_of(inner)
    return _delivery_report(inner, status, *_words(inner)) if status and status.recipients else None


def _text_findings(mail: Mail, lines: Sequence[str], returned: Returned) -> list[RecipientReport]:
    failed = addresses_in(" ".join(mail.headers.all("x-failed-recipients")))
    mentions = mentions_in(lines, _senders(mail.headers, returned))
    addresses = failed or [one.address for one in mentions]
    if not addresses or (len(returned.recipients) == 1 and mentions and mentions[0].rank >= 3):
        addresses = returned.recipients if len(returned.recipients) == 1 else addresses
    delayed = is_delay(mail.headers.get("subject"), lines)
    refused_by_list = is_mailing_list("\n".join(lines))
    findings = []
    for address in addresses[:MAX_FINDINGS]:
        alone = len(addresses) == 1
        texts = _candidates(address, lines, mentions, alone=alone)
        vague = RefusalMeaning(BounceClass.SOFT, BounceCause.OTHER, certain=False)
        meaning, words = _surest(vague, "", texts, lines if alone else ())
        if refused_by_list:
            meaning = RefusalMeaning(BounceClass.BLOCKED, BounceCause.POLICY)
        words = words or next(iter(texts), "")
        findings.append(
            RecipientReport(
                BounceClass.DELAYED if delayed else meaning.outcome,
                meaning.cause,
                address,
                status=first_status(words),
                reply_code=first_reply_code(words),
                reason=words,
            )
        )
    return findings
