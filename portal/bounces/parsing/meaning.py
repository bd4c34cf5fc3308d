"""The meaning of a receiving server's words: the outcome and its cause.

The words are those of SMTP replies, so ``portal.smtp.diagnosis`` explains them; this module maps its cases to outcomes and
adds what only bounces contain. Words count more than codes: servers refuse unknown mailboxes with 5.7.1 and full ones with
5.1.1. An address is called unknown only by words or by a code that means nothing else, because it is suppressed for that.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING

from ...smtp.diagnosis.diagnose import DiagnosisKind, RetryClass
from ...smtp.diagnosis.explain_cli import ExplainError, explain_reply
from .model import BounceCause, BounceClass
from .words import phrases_in, says_refused

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ...smtp.diagnosis.diagnose import Diagnosis

_MAX_WORDS_CHARS = 1500
STATUS = re.compile(r"(?<![\w.:\-/])#?([245]\.\d{1,3}\.\d{1,3})(?![\w.]*\d)")
REPLY_CODE = re.compile(r"(?<![\w.:\-/@])([245][0-5]\d)(?=[\s\-#:'\"<,]|$)")
_UNAVAILABLE = re.compile(r"\bmailbox unavailable", re.IGNORECASE)
# "The recipient's mail server rejected …" and "recipient domain" name no mailbox.
_RECIPIENT = re.compile(
    r"\brecipients?(?! (?:(?:e-?mail|mail) )?(?:server|system|domain|host|gateway|organi[sz]ation|policy))(?!['’\w])",
    re.IGNORECASE,
)
_UNAVAILABLE_CODES = frozenset({"", "0.0", "5.0", "1.0", "2.0"})
_SYNTAX = frozenset({"500", "501", "502", "503", "504"})  # of commands
_K, _C, _O = DiagnosisKind, BounceCause, BounceClass


@dataclass(frozen=True)
class RefusalMeaning:
    """An outcome with its cause; ``certain`` if words or a clear code state it, not only a general code."""

    outcome: BounceClass
    cause: BounceCause
    certain: bool = True


# Cases of the diagnosis by code, where the kind is too coarse.
_CASES: Mapping[str, tuple[BounceClass, BounceCause]] = MappingProxyType({
    "recipient-domain-unknown": (_O.HARD, _C.UNKNOWN_DOMAIN),
    "recipient-domain-not-found-now": (_O.SOFT, _C.UNREACHABLE),
    "recipient-unknown": (_O.HARD, _C.UNKNOWN_MAILBOX),
    "recipient-not-found": (_O.HARD, _C.UNKNOWN_MAILBOX),
    "recipient-closed": (_O.SOFT, _C.MAILBOX_DISABLED),
    "recipient-account-closed": (_O.SOFT, _C.MAILBOX_DISABLED),
    "recipient-account-inactive": (_O.SOFT, _C.MAILBOX_DISABLED),
    "recipient-may-not-receive": (_O.SOFT, _C.MAILBOX_DISABLED),
    "recipient-chooses-senders": (_O.BLOCKED, _C.POLICY),
    "recipient-suppressed": (_O.BLOCKED, _C.SUPPRESSED),
    "recipient-program-failed": (_O.SOFT, _C.SERVER),
    "recipient-server-not-reached": (_O.SOFT, _C.UNREACHABLE),
    "recipient-server-unreachable": (_O.SOFT, _C.UNREACHABLE),
    "recipient-receives-too-much": (_O.SOFT, _C.RATE),
    "enhanced-unreachable": (_O.SOFT, _C.UNREACHABLE),
    "enhanced-loop": (_O.SOFT, _C.LOOP),
    "enhanced-too-big": (_O.SOFT, _C.TOO_BIG),
    "message-size": (_O.SOFT, _C.TOO_BIG),
    "message-too-big": (_O.SOFT, _C.TOO_BIG),
    "code-too-big": (_O.SOFT, _C.TOO_BIG),
    "service-refused-here": (_O.BLOCKED, _C.REPUTATION),
    "service-refused-by-provider": (_O.BLOCKED, _C.REPUTATION),
    "no-service-there": (_O.HARD, _C.UNKNOWN_DOMAIN),
    "policy-refused": (_O.BLOCKED, _C.POLICY),
    "policy-refused-for-now": (_O.BLOCKED, _C.POLICY),
    "enhanced-policy": (_O.BLOCKED, _C.POLICY),
    "policy-block": (_O.BLOCKED, _C.POLICY),
    "exchange-rule": (_O.BLOCKED, _C.POLICY),
    "refused-before-the-content": (_O.BLOCKED, _C.POLICY),
    "exchange-recipient-chooses-senders": (_O.BLOCKED, _C.POLICY),
    "exchange-recipient-wants-a-login": (_O.BLOCKED, _C.POLICY),
    "microsoft-recipient-chooses-senders": (_O.BLOCKED, _C.POLICY),
    "exchange-size": (_O.SOFT, _C.TOO_BIG),
    "provider-code-size": (_O.SOFT, _C.TOO_BIG),
    "enhanced-international": (_O.HARD, _C.UNKNOWN_MAILBOX),
})  # fmt: skip
_KINDS: Mapping[DiagnosisKind, tuple[BounceClass, BounceCause]] = MappingProxyType({
    _K.DOMAIN: (_O.BLOCKED, _C.AUTHENTICATION),
    _K.NETWORK: (_O.BLOCKED, _C.REPUTATION),
    _K.EHLO_NAME: (_O.BLOCKED, _C.REPUTATION),
    _K.SENDER_IDENTITY: (_O.BLOCKED, _C.SENDER),
    _K.LOGIN_REQUIRED: (_O.BLOCKED, _C.SENDER),
    _K.LOGIN_DISABLED: (_O.BLOCKED, _C.SENDER),
    _K.CREDENTIALS: (_O.BLOCKED, _C.AUTHENTICATION),
    _K.MECHANISM: (_O.BLOCKED, _C.SENDER),
    _K.NOT_SMTP: (_O.SOFT, _C.SERVER),
    _K.ACCOUNT: (_O.BLOCKED, _C.SENDER),
    _K.SECURITY: (_O.BLOCKED, _C.POLICY),
    _K.CONTENT: (_O.BLOCKED, _C.CONTENT),
    _K.RATE: (_O.BLOCKED, _C.RATE),  # a limit for the sender, no state of the mailbox
    _K.GREYLISTED: (_O.SOFT, _C.RATE),
    _K.SERVER_FAULT: (_O.SOFT, _C.SERVER),
    _K.PROTOCOL: (_O.SOFT, _C.SERVER),
    _K.RECIPIENT: (_O.SOFT, _C.MAILBOX_FULL),
})  # fmt: skip
# Enhanced codes that are specific enough without words (RFC 3463, RFC 7504, RFC 7505).
_STATUS: Mapping[str, tuple[BounceClass, BounceCause]] = MappingProxyType({
    "1.1": (_O.HARD, _C.UNKNOWN_MAILBOX),
    "1.2": (_O.HARD, _C.UNKNOWN_DOMAIN),
    "1.3": (_O.HARD, _C.UNKNOWN_MAILBOX),
    "1.6": (_O.HARD, _C.MOVED),
    "1.7": (_O.BLOCKED, _C.SENDER),
    "1.8": (_O.BLOCKED, _C.SENDER),
    "1.10": (_O.HARD, _C.UNKNOWN_DOMAIN),
    "2.1": (_O.SOFT, _C.MAILBOX_DISABLED),
    "2.2": (_O.SOFT, _C.MAILBOX_FULL),
    "2.3": (_O.SOFT, _C.TOO_BIG),
    "3.4": (_O.SOFT, _C.TOO_BIG),
    "4.1": (_O.SOFT, _C.UNREACHABLE),
    "4.2": (_O.SOFT, _C.UNREACHABLE),
    "4.3": (_O.SOFT, _C.UNREACHABLE),
    "4.4": (_O.HARD, _C.UNKNOWN_DOMAIN),
    "4.5": (_O.BLOCKED, _C.RATE),  # congestion; at Google the sender's daily limit
    "4.6": (_O.SOFT, _C.LOOP),
    "4.7": (_O.SOFT, _C.UNREACHABLE),
    "4.310": (_O.HARD, _C.UNKNOWN_DOMAIN),
    "5.3": (_O.SOFT, _C.RATE),
})  # fmt: skip
_SUBJECTS: Mapping[str, tuple[BounceClass, BounceCause]] = MappingProxyType({
    "3": (_O.SOFT, _C.SERVER),
    "4": (_O.SOFT, _C.UNREACHABLE),
    "5": (_O.SOFT, _C.SERVER),
    "6": (_O.BLOCKED, _C.CONTENT),
    "7": (_O.BLOCKED, _C.POLICY),
})  # fmt: skip
_REFUSALS = frozenset({"recipient-refused"})
_VAGUE_CASES = ("code-recipient", "recipient-not-deliverable")  # "not deliverable" states no reason
_VAGUE_REFUSALS = frozenset({"", "5.0.0", "5.5.0"})
_ADDRESS_CODES = frozenset({"1.1", "1.2", "1.3", "1.6", "1.10"})
_VAGUE = frozenset({"5.0.0", "4.0.0", "5.7.0", "5.7.1", "5.1.0", "5.2.0", "5.3.0", "5.5.0", "5.4.0", ""})


def meaning_of(words: str, status: str = "", reply_code: str = "") -> RefusalMeaning:
    """Return what a refusal means; ``words`` are those of the receiving server, or of the report if it quotes none."""
    words = " ".join(words[:_MAX_WORDS_CHARS].split())
    status, reply_code = specific_status(status, words), reply_code or first_reply_code(words)
    found = _by_words(words, status, reply_code)
    if (
        found is None
        and _UNAVAILABLE.search(words)
        and reply_code == "550"
        and status.partition(".")[2] in _UNAVAILABLE_CODES
    ):
        return RefusalMeaning(
            BounceClass.HARD, BounceCause.UNKNOWN_MAILBOX
        )  # RFC 5321 section 4.2.2; others write why
    if found is None or not _fits(found, status, reply_code):
        meaning = _by_codes(status, reply_code, found)
        is_refused = (
            found is None and meaning.cause in {BounceCause.OTHER, BounceCause.SERVER} and says_refused(words)
        )
        return (
            RefusalMeaning(BounceClass.BLOCKED, BounceCause.POLICY)
            if is_refused and reply_code[:1] != "4"
            else meaning
        )
    if found.cause is BounceCause.MAILBOX_DISABLED and status.partition(".")[2] in _ADDRESS_CODES:
        return RefusalMeaning(BounceClass.HARD, BounceCause.UNKNOWN_MAILBOX)
    return found


def meaning_of_report(words: str) -> RefusalMeaning | None:
    """Return what the words of a whole report mean, by phrases that no other part of a report contains, or None."""
    found = phrases_in(words)
    return RefusalMeaning(*found) if found else None


def specific_status(stated: str, words: str) -> str:
    """Return the enhanced code: that of the words, where the stated one is general or missing."""
    quoted = first_status(words)
    return quoted if quoted and (not stated or stated.endswith(".0.0")) else stated or quoted


def first_status(words: str) -> str:
    """Return the first enhanced code, or ""; a specific one before ``5.0.0``."""
    codes = STATUS.findall(words)
    return next((code for code in codes if not code.endswith(".0.0")), codes[0] if codes else "")


def first_reply_code(words: str) -> str:
    """Return the first SMTP reply code of a refusal, or ""."""
    return next((code for code in REPLY_CODE.findall(words) if code[0] != "2"), "")


@lru_cache(maxsize=512)
def _by_words(words: str, status: str, reply_code: str) -> RefusalMeaning | None:
    """Return what the words mean, or None if only codes are left."""
    own = phrases_in(words)
    if own is not None:
        return RefusalMeaning(*own)
    if not re.search(r"[^\W\d]{3}", words):
        return None
    text = words
    if not first_reply_code(words[:60]):
        prefix = " ".join(filter(None, [reply_code or ("450" if status.startswith("4") else "550"), status]))
        text = f"{prefix} {words}"
    try:
        diagnosis = explain_reply("", "", text)
    except ExplainError:
        return None
    return _of_case(diagnosis, words, status, reply_code)


def _of_case(diagnosis: Diagnosis, words: str, status: str, reply_code: str) -> RefusalMeaning | None:
    code, kind = diagnosis.code, diagnosis.kind
    if (
        (code.startswith("code-") and not code.startswith("code-recipient"))
        or code.endswith("-somewhere")
        or code in {"out-of-step", "server-trouble"}
    ):
        return None
    if code in _REFUSALS or code.startswith(_VAGUE_CASES):
        # "Rejected" means that the address is unknown, unless the code means another thing. X.4.1 is such a code unless the
        # recipient is named: Microsoft 365 refuses unknown ones with it.
        subject = status.partition(".")[2]
        is_address = (
            subject in _ADDRESS_CODES | {"1.0"}
            or (subject == "4.1" and bool(_RECIPIENT.search(words)))
            or (status in _VAGUE_REFUSALS and code in _REFUSALS)
        )
        return (
            RefusalMeaning(BounceClass.HARD, BounceCause.UNKNOWN_MAILBOX)
            if is_address and reply_code[:1] != "4"
            else None
        )
    if code == "trouble-with-a-lasting-code":
        return None
    if code in _CASES:
        return RefusalMeaning(*_CASES[code])
    if code == "enhanced-recipient-unknown":
        return None  # by the code
    if kind is DiagnosisKind.RECIPIENT and diagnosis.retry_class is RetryClass.RECIPIENT:
        return RefusalMeaning(BounceClass.HARD, BounceCause.UNKNOWN_MAILBOX)
    return RefusalMeaning(*_KINDS[kind]) if kind in _KINDS else None


def _fits(found: RefusalMeaning, status: str, reply_code: str) -> bool:
    """Return whether the words do not contradict the codes: a domain that a passing code names is not given up.

    An unknown command is no unknown mailbox.
    """
    if found.cause is BounceCause.UNKNOWN_MAILBOX and reply_code in _SYNTAX and not status.startswith("5.1"):
        return False
    return not (
        found.cause is BounceCause.UNKNOWN_DOMAIN
        and status.startswith("4")
        and not reply_code.startswith("5")
    )


def _by_codes(status: str, reply_code: str, found: RefusalMeaning | None) -> RefusalMeaning:
    if found is not None:
        return RefusalMeaning(
            BounceClass.SOFT,
            BounceCause.UNREACHABLE if found.cause is BounceCause.UNKNOWN_DOMAIN else BounceCause.SERVER,
        )
    lasting = status.startswith("5") or (not status and reply_code.startswith("5"))
    detail = status.partition(".")[2]
    entry = _STATUS.get(detail) or _SUBJECTS.get(detail.partition(".")[0])
    if entry is not None:
        outcome, cause = entry
        if outcome is BounceClass.HARD and not lasting:
            outcome, cause = BounceClass.SOFT, BounceCause.UNREACHABLE
        return RefusalMeaning(outcome, cause, certain=status not in _VAGUE)
    return RefusalMeaning(BounceClass.SOFT, BounceCause.OTHER, certain=False)
