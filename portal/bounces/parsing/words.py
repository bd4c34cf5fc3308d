"""Phrases of bounces that are no SMTP replies: those of mail systems, in several languages.

``portal.smtp.diagnosis`` recognises replies. A report often has a phrase of the mail system instead.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from ...smtp.diagnosis.phrases import fold, phrase_pattern
from .model import BounceCause, BounceClass

if TYPE_CHECKING:
    from collections.abc import Mapping

_MAX_CHARS = 1500

# Tried in order; the first match counts.
_PHRASES: Mapping[tuple[BounceClass, BounceCause], tuple[str, ...]] = MappingProxyType({
    (BounceClass.BLOCKED, BounceCause.POLICY): (
        "groups.google.com support", "permission to post", "not a registered gateway user", "not a member of * list",
        "not allowed to post", "administrative prohibition", "envelope blocked", "one or more recipients @ blocked",
        "one or more recipients * blocked", "nicht berechtigt an diesen empfänger",
    ),
    (BounceClass.BLOCKED, BounceCause.RATE): ("a limit for sending mail", "sending quota", "user sending limit"),
    (BounceClass.SOFT, BounceCause.SERVER): (
        "pipe to", "procmail", "unknown mailer error", "no such file or directory", "local delivery failed", "child status 75",
        "cannot open mailbox", "can t create", "couldn t create", "insufficient system storage", "not enough disk space",
    ),
    (BounceClass.BLOCKED, BounceCause.CONTENT): ("malformed address",),
    (BounceClass.SOFT, BounceCause.LOOP): (
        "too many hops", "hop count exceeded", "mail loop", "routing loop", "loops back to", "duplicated message id",
    ),
    (BounceClass.BLOCKED, BounceCause.REPUTATION): ("user complaints", "bad dns ptr", "ptr resource record", "unexpected volume",
        "ask your postmaster for help or to contact @"),
    (BounceClass.BLOCKED, BounceCause.SUPPRESSED): ("on the suppression list", "bounced address", "address is suppressed"),
    (BounceClass.BLOCKED, BounceCause.SENDER): (
        "sender address rejected", "sender was rejected", "domain of sender address", "unroutable sender",
        "relay access denied", "relaying denied", "insecure mail relay", "authrequired", "notauthorized",
        "unauthenticated senders",
    ),
    (BounceClass.HARD, BounceCause.MOVED): ("no longer on server", "has moved", "not our customer", "user has left"),
    (BounceClass.SOFT, BounceCause.MAILBOX_DISABLED): (
        "account is disabled", "account has been disabled", "account is locked", "account that you tried to reach is inactive",
        "account that you tried to reach is disabled", "mailbox disabled", "mailbox is disabled", "account suspended",
    ),
    (BounceClass.HARD, BounceCause.UNKNOWN_MAILBOX): (
        "account or domain may not exist", "invalid recipient", "unknown or illegal", "invalid final delivery userid",
        "check if address is correct", "no valid recipients", "not listed in public name", "destinataire invalide",
        "address is possibly incorrect", "user is unknown",
        "recipnotfound", "recipientnotfound", "not listed in * directory", "unknown recipient", "unknown user", "user unknown",
        "no such user", "no such recipient", "no such mailbox", "no mailbox here by that name", "mailbox does not exist",
        "mailbox not found", "recipient name is not recognized", "user not exist", "user does not exist", "invalid user address",
        "doesn t have a * account", "not a registered * user", "email address could not be found",
        "address couldn t be found", "address not found", "e mail address was not found", "email address was not found",
        "email address * was not found", "does not like recipient", "don t exists that user", "destinataire non valide",
        # Exchange and Domino, in the languages of the sender
        "e mailadres * kan niet worden gevonden", "impossibile trovare l indirizzo", "encontrar o endereco de email",
        "nie mozna odnalezc wprowadzonego adresu", "hitta den e postadress", "mailadresse * blev ikke fundet",
        "emailovou adresu * nelze najit", "메일 주소를 찾을 수 없", "nicht im domino verzeichnis",
    ),
    (BounceClass.HARD, BounceCause.UNKNOWN_DOMAIN): (
        "unrouteable address", "unrouteable mail domain", "couldn t find any host", "domain is not reachable",
        "domain * does not exist", "no mx found", "does not accept mail", "doesn t receive email", "no smtp service",
        "host unknown", "unknown host", "bad destination system",
        "couldn t find a mail exchanger", "unknown mail host", "unable to route to domain",
    ),
    (BounceClass.SOFT, BounceCause.UNREACHABLE): (
        "unexpected name server reply", "after multiple retries", "could not find a gateway", "retry timeout exceeded",
        "failing for a long time", "host not reachable",
        "in the queue too long", "message expired", "delivery attempts",
    ),
    (BounceClass.SOFT, BounceCause.TOO_BIG): (
        "mail size limit", "message size limit", "message too large", "message size exceeds",
    ),
    (BounceClass.SOFT, BounceCause.MAILBOX_FULL): (
        "mailbox full", "mailbox is full", "mailbox exceeds allowed size", "over quota", "overquota", "quota exceeded",
        "exceeded * quota", "mailfolder is full", "mail folder is full", "over its disk quota", "disk quota",
        "boîte aux lettres * pleine",
    ),
})  # fmt: skip


# Tried last: they state that the message was refused, but no reason.
_REFUSALS = (
    "access denied", "invalid ip", "not accepting connections", "you are not allowed", "blocked", "denied", "protocol violation",
    "refused by", "rejected by",
)  # fmt: skip


def says_refused(words: str) -> bool:
    """Return whether the words state a refusal without a reason."""
    return bool(phrase_pattern(_REFUSALS).search(fold(words[:_MAX_CHARS])))


def is_mailing_list(text: str) -> bool:
    """Return whether a mailing list refused the message; it may have done so in any language."""
    return "groups.google.com" in text


def phrases_in(words: str) -> tuple[BounceClass, BounceCause] | None:
    """Return the meaning of the first phrase that occurs, or None."""
    folded = fold(words[:_MAX_CHARS])
    for meaning, phrases in _PHRASES.items():
        if phrase_pattern(phrases).search(folded):
            return meaning
    return None
