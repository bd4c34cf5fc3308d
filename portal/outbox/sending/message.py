"""Builds the Flask-Mail message that is submitted, from a row of the outbox and a route."""

from __future__ import annotations

import re
from email.utils import format_datetime
from functools import lru_cache
from typing import TYPE_CHECKING

from flask_mail import Message

from ...clock import utcnow
from ...smtp.mailbox import is_header_safe, parse_mailbox
from ...smtp.protocol.envelope import Envelope, OutgoingMessage
from ...smtp.providers.model import PLACEHOLDER
from ..queue import open_body
from ..reference import HEADER, reference_of
from .mime import mailbox_header, serialise

if TYPE_CHECKING:
    from datetime import datetime

    from ..models import OutboxMessage
    from ..routing import Route
    from ..store.types import Claim, QueuedMessage

_AHEAD = 2  # messages built before their turn
# How templates/mail/layout.html begins, with the language of the text.
_LANGUAGE = re.compile(r'<!DOCTYPE html>\s{0,100}<html lang="([A-Za-z-]{2,20})"')


class AccountMessage(Message):
    """A Flask-Mail message that checks every header and is serialised by ``mime``.

    Flask-Mail checks four headers only, re-parses the sender's name as an address, and encodes bodies as raw 8-bit. This
    class keeps addresses plain and builds all headers in one place.
    """

    def __init__(self, row: OutboxMessage | QueuedMessage, route: Route, *, now: datetime) -> None:
        # Flask-Mail's own __init__ is not called: it creates an unused Message-ID from the host name of this machine,
        # which may cost a DNS query for every message.
        text, html = bodies(row)
        self.reference = reference_of(row.id)
        self.alts = {}
        self.subject = row.subject
        self.sender = self._sender = route.return_path(self.reference)  # the From header is route.author
        self._recipient = row.recipient
        self.recipients = [row.recipient]
        self.body, self.html = text, html or None
        self.reply_to = route.reply_to
        self.date = now.timestamp()
        self.msgId = row.message_id or ""
        self.charset = self.extra_headers = None
        self.cc, self.bcc, self.attachments = [], [], []
        self.mail_options, self.rcpt_options = [], []
        self.headers = _headers(row, route, self.reference, now)
        if found := _LANGUAGE.match(html.lstrip()):  # RFC 3282, for mail programs that offer a translation
            self.headers["Content-Language"] = found[1]
        self._bytes: bytes | None = None
        self._outgoing: OutgoingMessage | None = None

    def has_bad_headers(self) -> bool:
        if self._bytes is not None:
            return False  # each header was checked as it was serialised
        return not all(is_header_safe(value) for value in self.headers.values())

    def as_bytes(self) -> bytes:
        if self._bytes is None:
            self._bytes = serialise(self.headers, self.body or "", self.html or "")
        return self._bytes

    def outgoing(self) -> OutgoingMessage:
        """Return the envelope and the bytes for ``Session.send``. Raises MessageRefused or ValueError."""
        if self._outgoing is None:
            # The bytes were checked as they were serialised; the addresses are checked here.
            sender, recipient = _sender(self._sender), parse_mailbox(self._recipient)
            envelope = Envelope(sender, recipient, reference=self.reference)
            self._outgoing = OutgoingMessage(envelope, self.as_bytes())
        return self._outgoing


class PreparedMessages:
    """Messages that are built before their turn, while the server reads the message before.

    Holds the message in progress and the next two, as one connection pipelines no further.
    """

    def __init__(self) -> None:
        self._built: list[tuple[Claim, Route, AccountMessage]] = []

    def build(self, claim: Claim, route: Route) -> AccountMessage:
        """Return the message for this route; one that was prebuilt is not built again."""
        for known, known_route, message in self._built:
            if known is claim and known_route is route:
                return message
        message = AccountMessage(claim.message, route, now=utcnow())
        self._built = [*self._built[-_AHEAD:], (claim, route, message)]
        return message

    def prebuild(self, claim: Claim, route: Route) -> AccountMessage | None:
        """Build a message before its turn; None if that fails: the error is reported when it is the message's turn."""
        try:
            message = self.build(claim, route)
            message.outgoing()
        except Exception:
            self._built = [one for one in self._built if one[0] is not claim]
            return None
        return message


_sender = lru_cache(maxsize=256)(parse_mailbox)  # few senders, many messages


@lru_cache(maxsize=16)
def _date(second: datetime) -> str:
    return format_datetime(second)


def bodies(row: OutboxMessage | QueuedMessage) -> tuple[str, str]:
    """Return text and HTML as they were rendered; the portal's own mail is unsealed."""
    if not row.is_sealed:
        return row.text, row.html
    return open_body(row.text, row.key), open_body(row.html, row.key) if row.html else ""


def _headers(
    row: OutboxMessage | QueuedMessage, route: Route, reference: str, now: datetime
) -> dict[str, str]:
    headers = {
        "From": route.author,
        "To": mailbox_header(row.recipient_name, row.recipient),
        "Subject": row.subject,
        "Date": _date(now.replace(microsecond=0)),
        "Message-ID": row.message_id or "",
        "Auto-Submitted": "auto-generated",  # vacation responders do not reply to it (RFC 3834)
    }
    headers[HEADER] = reference
    if route.reference_header is not None:  # the provider repeats its value in its events
        name, value = route.reference_header
        headers[name] = value.replace(PLACEHOLDER, reference)
    headers |= dict(route.headers)
    if route.reply_to:
        headers["Reply-To"] = route.reply_to
    if row.unsubscribe_url:  # RFC 8058: a mail client may show a button that posts there
        headers["List-Unsubscribe"] = f"<{row.unsubscribe_url}>"
        headers["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    return headers
