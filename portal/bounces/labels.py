"""What outcomes and events are called on pages, who reported them, and who has to act."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask_babel import gettext as _
from flask_babel import lazy_gettext

from ..smtp.providers import load_catalogue
from .meaning import BOUNCES, NOT_HANDED_OUT, Meaning
from .providers.catalogue import ADAPTERS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .models import BounceEvent, MessageOutcome

# The tag of an outcome: its CSS modifier and its text.
MEANING_TAGS: Mapping[str, tuple[str, str]] = {
    Meaning.DELIVERED: ("sent", lazy_gettext("Delivered")),
    Meaning.DELAYED: ("deferred", lazy_gettext("Delayed")),
    Meaning.SOFT: ("failed", lazy_gettext("Bounced")),
    Meaning.BLOCKED: ("failed", lazy_gettext("Blocked")),
    Meaning.HARD: ("failed", lazy_gettext("No such mailbox")),
    Meaning.COMPLAINT: ("failed", lazy_gettext("Reported as spam")),
}
_TITLES: Mapping[Meaning, str] = {
    Meaning.DELIVERED: lazy_gettext("Delivered to the receiver’s server"),
    Meaning.DELAYED: lazy_gettext("Delayed: the provider tries again"),
    Meaning.SOFT: lazy_gettext("Bounced: the provider stopped trying"),
    Meaning.BLOCKED: lazy_gettext("Bounced: refused by policy or content"),
    Meaning.HARD: lazy_gettext("Bounced: the mailbox does not exist"),
    Meaning.COMPLAINT: lazy_gettext("The recipient reported it as spam"),
    Meaning.UNSUBSCRIBED: lazy_gettext("The recipient unsubscribed"),
    Meaning.AUTO_REPLY: lazy_gettext("An automatic reply arrived"),
    Meaning.UNKNOWN: lazy_gettext("The provider reported something that Signet does not recognise"),
}
_ADVICE: Mapping[Meaning, str] = {
    Meaning.HARD: lazy_gettext("Ask the affiliate for another address."),
    Meaning.SOFT: lazy_gettext(
        "The recipient or their provider needs to act: the mailbox may be full, or the server unavailable."
    ),
    Meaning.BLOCKED: lazy_gettext(
        "The receiver refuses the sender or the text, not the mailbox. Check Sending domain."
    ),
    Meaning.COMPLAINT: lazy_gettext("Signet sends this recipient no more emails. Do not ask them why."),
}
_SOURCES: Mapping[str, str] = {
    "mailbox": lazy_gettext("your mailbox for bounces"),
    "generic": lazy_gettext("your own hook"),
}
_ICONS: Mapping[Meaning, str] = {Meaning.DELIVERED: "passed", Meaning.DELAYED: "warning"}


def source_name(source: str) -> str:
    """Return who reported an event."""
    if source in _SOURCES:
        return str(_SOURCES[source])
    adapter = ADAPTERS.get(source)
    if adapter is not None:
        return adapter.name
    card = next((one for one in load_catalogue().providers if one.id == source), None)
    return card.name if card else source


def title(event: BounceEvent | MessageOutcome) -> str:
    """Return what was reported, with its enhanced code or the reply code. A provider's own list is no receiver's refusal."""
    if event.meaning is Meaning.UNKNOWN and getattr(event, "kind", "") == NOT_HANDED_OUT:
        return str(_("The server did not let Signet read an email in the mailbox"))
    if event.is_listed and event.meaning in BOUNCES:
        return str(_("Not sent: %(name)s blocks this address", name=source_name(event.source)))
    code = event.status or (str(event.reply_code) if event.reply_code else "")
    words = str(_TITLES[event.meaning])
    return f"{words} ({code})" if code and event.meaning is not Meaning.DELIVERED else words


def details(event: BounceEvent | MessageOutcome) -> str:
    """Return the receiver's words and who reported them."""
    source = source_name(event.source)
    if not event.reason:
        return str(_("Reported by %(source)s", source=source))
    return f"{event.reason} · {_('reported by %(source)s', source=source)}"


def icon(meaning: Meaning) -> str:
    """Return the icon of an event in a timeline."""
    return _ICONS.get(meaning, "info" if meaning not in MEANING_TAGS else "failed")


def advice(meaning: Meaning, *, is_affiliate: bool, is_suppressed: bool) -> str:
    """Return who has to act, and how; empty if no person has to.

    ``is_affiliate``: the mailbox is that of an affiliate now. ``is_suppressed``: it is not written to now.
    """
    if meaning is Meaning.HARD and not is_affiliate:
        return ""
    if meaning is Meaning.COMPLAINT and not is_suppressed:
        return str(_("Do not ask the recipient why."))
    return str(_ADVICE.get(meaning, ""))
