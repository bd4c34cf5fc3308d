"""The advanced settings: EHLO name, envelope sender, further headers, messages per connection, reply time."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from flask_babel import gettext as _

from ..outbox.reference import REFERENCE_CHARS
from ..smtp.network.guard import HostError, canonical_host
from ..smtp.providers.model import PLACEHOLDER
from ..state import current_config

if TYPE_CHECKING:
    from ..smtp.providers.model import Provider
    from .models import SmtpSettings

MAX_HEADERS = 5
MAX_MESSAGES_PER_CONNECTION = 1000
REPLY_SECONDS = (60, 600)  # RFC 5321 section 4.5.3.2.6 asks for ten minutes after the final dot
# What providers read from the header of a message. None of them changes its recipients or its content.
HEADER_NAMES = (
    "X-PM-Message-Stream",  # Postmark
    "X-PM-Tag",
    "X-SES-CONFIGURATION-SET",
    "X-SES-MESSAGE-TAGS",
    "X-Mailgun-Tag",
    "X-Mailgun-Track",
    "X-Mailgun-Track-Clicks",
    "X-Mailgun-Track-Opens",
    "X-MC-Tags",  # Mandrill
    "X-MC-Subaccount",
    "X-MC-Track",
    "X-Mailjet-Campaign",
    "X-MJ-CustomID",  # Mailjet
    "X-Mailin-Tag",  # Brevo
    "X-Entity-Ref-ID",
    "Feedback-ID",
    "X-Auto-Response-Suppress",
)
_BY_LOWER_NAME = {name.lower(): name for name in HEADER_NAMES}
_MAX_LOCAL_BYTES = 64  # RFC 5321 section 4.5.3.1.1
_VALUE = re.compile(r"[!-~](?:[ -~]{0,198}[!-~])?")  # printable ASCII


@dataclass(frozen=True, kw_only=True)
class AdvancedInput:
    """Submitted values, stripped but not validated; an empty one is the default."""

    ehlo_name: str = ""
    envelope_sender: str = ""  # a mailbox or empty: the form validates it
    headers: str = ""  # one on each line
    messages_per_connection: str = ""
    reply_seconds: str = ""


def apply(values: AdvancedInput, version: SmtpSettings, errors: dict[str, str]) -> None:
    """Set the advanced columns of a version; add a sentence to ``errors`` for each field that is invalid."""
    version.ehlo_name = _ehlo_name(values.ehlo_name, errors)
    version.envelope_sender = _envelope_sender(values.envelope_sender, errors)
    version.headers = _headers(values.headers, errors)
    version.messages_per_connection = _number(
        "messages_per_connection", values.messages_per_connection, (1, MAX_MESSAGES_PER_CONNECTION), errors
    )
    version.reply_seconds = _number("reply_seconds", values.reply_seconds, REPLY_SECONDS, errors)


def form_values(version: SmtpSettings) -> dict[str, Any]:
    """Return the advanced values of a saved version for the form."""
    return {
        "ehlo_name": version.ehlo_name,
        "envelope_sender": version.envelope_sender,
        "headers": "\n".join(f"{name}: {value}" for name, value in version.headers),
        "messages_per_connection": str(version.messages_per_connection or ""),
        "reply_seconds": str(version.reply_seconds or ""),
    }


@dataclass(frozen=True)
class Defaults:
    """What applies where a field is empty, for the hints."""

    ehlo_name: str
    messages: int
    seconds: float


def defaults(card: Provider) -> Defaults:
    """Return the defaults of this installation, and what the provider's card states instead."""
    config = current_config()
    messages = card.messages_per_connection or config.tuning.connection_max_messages
    return Defaults(config.ehlo_name, messages, config.limits.deadline)


def _ehlo_name(text: str, errors: dict[str, str]) -> str:
    """Return a host name, or an address literal such as [192.0.2.1] (RFC 5321 section 4.1.3).

    An address without brackets becomes a literal: many servers refuse it as a name.
    """
    if not text:
        return ""
    try:
        return _address_literal(text) or canonical_host(text)
    except HostError:
        errors["ehlo_name"] = _("Enter a host name such as portal.example.com, or leave this empty.")
        return ""


def _address_literal(text: str) -> str:
    """Return the literal of an IP address with or without brackets and tag; empty for any other text."""
    inner = text.removeprefix("[").removesuffix("]")
    if inner[:5].lower() == "ipv6:":
        inner = inner[5:]
    try:
        address = ip_address(inner if "%" not in inner else "")  # behind a % any text is a zone
    except ValueError:
        return ""
    return f"[{address}]" if address.version == 4 else f"[IPv6:{address}]"


def _envelope_sender(text: str, errors: dict[str, str]) -> str:
    """Return a mailbox, also one with a place for the reference of each message (VERP)."""
    local = text.rpartition("@")[0].replace(PLACEHOLDER, "0" * REFERENCE_CHARS)
    if PLACEHOLDER in text and len(local.encode()) > _MAX_LOCAL_BYTES:
        errors["envelope_sender"] = _(
            "With %(placeholder)s replaced by 32 characters, the part before @ is longer than 64. Shorten it.",
            placeholder=PLACEHOLDER,
        )
    return text


def _number(name: str, text: str, bounds: tuple[int, int], errors: dict[str, str]) -> int | None:
    if not text:
        return None
    low, high = bounds
    if text.isascii() and text.isdigit() and len(text) < 7 and low <= int(text) <= high:
        return int(text)
    errors[name] = _("Enter a number from %(low)d to %(high)d, or leave this empty.", low=low, high=high)
    return None


def _headers(text: str, errors: dict[str, str]) -> list[list[str]]:
    """Return the headers as [name, value]. The first line that is invalid is named in the error."""
    found: dict[str, str] = {}
    for line in filter(None, (line.strip() for line in text.splitlines())):
        name, _colon, value = (part.strip() for part in line.partition(":"))
        known = _BY_LOWER_NAME.get(name.lower())
        if known is None:
            errors["headers"] = _(
                "You cannot set the header %(name)s. You can set: %(listed)s.",
                name=name[:60],
                listed=", ".join(HEADER_NAMES),
            )
        elif not _VALUE.fullmatch(value):
            errors["headers"] = _(
                "The value of %(name)s must have 1 to 200 characters: plain letters, digits and punctuation.",
                name=known,
            )
        elif known in found or len(found) == MAX_HEADERS:
            errors["headers"] = _(
                "Enter each header only once, and at most %(max)d headers.", max=MAX_HEADERS
            )
        else:
            found[known] = value
        if "headers" in errors:
            return []
    return [[name, value] for name, value in found.items()]
