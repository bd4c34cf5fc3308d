"""Events of Amazon SES that its notification service sends by email, as JSON in the text.

Fields: https://docs.aws.amazon.com/ses/latest/dg/notification-contents.html
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from .meaning import first_reply_code, first_status, meaning_of
from .model import MAX_FINDINGS, BounceCause, BounceClass, RecipientReport

if TYPE_CHECKING:
    from collections.abc import Mapping

_ENVELOPES = ("Message", "message")
_MAX_PREFACE_CHARS = 1000
_FINAL = frozenset({"permanent"})


def read_notification(text: str) -> tuple[tuple[RecipientReport, ...], str] | None:
    """Return the findings of an event and the Message-ID that it names, or None if the text is no event."""
    event = _event(text)
    if event is None:
        return None
    kind = str(event.get("notificationType") or event.get("eventType") or "").lower().replace(" ", "")
    mail = _table(event.get("mail"))
    headers = _table(mail.get("commonHeaders"))
    message_id = str(headers.get("messageId") or mail.get("messageId") or "").strip("<> ")
    reader = _READERS.get(kind)
    if reader is None:
        return None
    findings = reader(event, [str(one) for one in _list(mail.get("destination"))])
    return tuple(findings[:MAX_FINDINGS]) or (RecipientReport(BounceClass.NONE),), message_id


def _event(text: str) -> Mapping[str, Any] | None:
    if "{" not in text[:_MAX_PREFACE_CHARS]:
        return None
    text = text[text.index("{") :]
    # The service breaks lines that are longer than mail permits.
    for spelling in (text, re.sub(r"\n ?", "", text)):
        event = _decoded(spelling)
        if event is not None:
            return event
    return None


def _decoded(text: str) -> Mapping[str, Any] | None:
    for _ in range(2):  # the event, or the notification around it
        try:
            value, _end = json.JSONDecoder().raw_decode(text)
        except (ValueError, RecursionError):
            return None
        if not isinstance(value, dict):
            return None
        if isinstance(value.get("mail"), dict):
            return value
        text = next((one for key in _ENVELOPES if isinstance(one := value.get(key), str)), "")
    return None


def _table(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _bounce(event: Mapping[str, Any], _destination: list[str]) -> list[RecipientReport]:
    bounce = _table(event.get("bounce"))
    lasting = str(bounce.get("bounceType", "")).lower() in _FINAL
    subtype = str(bounce.get("bounceSubType", "")).lower()
    findings = []
    for entry in map(_table, _list(bounce.get("bouncedRecipients"))):
        words = str(entry.get("diagnosticCode") or "").partition(";")[2].strip() or str(
            entry.get("diagnosticCode") or ""
        )
        status = str(entry.get("status") or "")
        meaning = meaning_of(words, status)
        outcome, cause = meaning.outcome, meaning.cause
        if "suppress" in subtype:
            outcome, cause = BounceClass.HARD, BounceCause.SUPPRESSED
        elif subtype == "noemail" and not meaning.certain:
            outcome, cause = BounceClass.HARD, BounceCause.UNKNOWN_MAILBOX
        elif outcome is BounceClass.HARD and not lasting:
            outcome = BounceClass.SOFT
        findings.append(
            RecipientReport(
                outcome,
                cause,
                str(entry.get("emailAddress") or ""),
                status=status or first_status(words),
                reply_code=first_reply_code(words),
                reason=words,
            )
        )
    return findings


def _complaint(event: Mapping[str, Any], _destination: list[str]) -> list[RecipientReport]:
    complaint = _table(event.get("complaint"))
    kind = str(complaint.get("complaintFeedbackType") or "abuse").lower()
    if kind == "not-spam":
        return [RecipientReport(BounceClass.NONE, BounceCause.NOT_SPAM)]
    cause = {"fraud": BounceCause.FRAUD, "virus": BounceCause.VIRUS, "other": BounceCause.OTHER}.get(
        kind, BounceCause.ABUSE
    )
    return [
        RecipientReport(BounceClass.COMPLAINT, cause, str(_table(entry).get("emailAddress") or ""))
        for entry in _list(complaint.get("complainedRecipients"))
    ]


def _delivery(event: Mapping[str, Any], destination: list[str]) -> list[RecipientReport]:
    delivery = _table(event.get("delivery"))
    reply = str(delivery.get("smtpResponse") or "")
    recipients = [str(one) for one in _list(delivery.get("recipients"))] or destination
    return [RecipientReport(BounceClass.DELIVERED, recipient=one, reason=reply) for one in recipients]


def _delay(event: Mapping[str, Any], _destination: list[str]) -> list[RecipientReport]:
    entries = _list(_table(event.get("deliveryDelay")).get("delayedRecipients"))
    return [
        RecipientReport(
            BounceClass.DELAYED,
            meaning_of(str(entry.get("diagnosticCode") or ""), str(entry.get("status") or "")).cause,
            str(entry.get("emailAddress") or ""),
            status=str(entry.get("status") or ""),
            reason=str(entry.get("diagnosticCode") or ""),
        )
        for entry in map(_table, entries)
    ]


_READERS = {"bounce": _bounce, "complaint": _complaint, "delivery": _delivery, "deliverydelay": _delay}
