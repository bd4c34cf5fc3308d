"""From a row of the outbox and a route to the Flask-Mail message that leaves."""

from __future__ import annotations

import secrets
from datetime import datetime
from email.utils import format_datetime

from flask_mail import Message

from ..smtp.mailbox import header_safe
from .mime import mailbox_header, serialise
from .models import OutboxMessage
from .queue import open_body
from .route import Route


class AccountMessage(Message):
    """A Flask-Mail message that refuses every bad header and writes itself.

    Flask-Mail looks at four headers only, re-parses the sender's name as an address, and encodes bodies as
    raw 8-bit; here the addresses stay plain and the headers are built in one place.
    """

    def __init__(self, row: OutboxMessage, route: Route, *, now: datetime) -> None:
        text, html = bodies(row)
        super().__init__(
            subject=row.subject,
            sender=route.sender,  # the envelope sender; the From header has the display name too
            recipients=[row.recipient],
            body=text,
            html=html or None,
            reply_to=route.reply_to,
            date=now.timestamp(),
        )
        self.msgId = row.message_id or ""
        self.headers = _headers(row, route, now)

    def has_bad_headers(self) -> bool:
        return not all(header_safe(value) for value in self.headers.values())

    def as_bytes(self) -> bytes:
        return serialise(self.headers, self.body or "", self.html or "")


def new_message_id(route: Route) -> str:
    """Return a Message-ID on the sending domain, so that no machine's name travels with it."""
    domain = route.sender.rpartition("@")[2]
    return f"<{secrets.token_hex(12)}@{domain}>"


def bodies(row: OutboxMessage) -> tuple[str, str]:
    """Return text and HTML as they were rendered, opening the portal's own sealed mail."""
    if not row.private:
        return row.text, row.html
    return open_body(row.text, row.key), open_body(row.html, row.key) if row.html else ""


def from_header(route: Route) -> str:
    """Return the From as recipients see it."""
    return mailbox_header(route.display_name, route.sender)


def _headers(row: OutboxMessage, route: Route, now: datetime) -> dict[str, str]:
    headers = {
        "From": from_header(route),
        "To": mailbox_header(row.recipient_name, row.recipient),
        "Subject": row.subject,
        "Date": format_datetime(now),
        "Message-ID": row.message_id or "",
        "Auto-Submitted": "auto-generated",  # keeps vacation responders quiet (RFC 3834)
    }
    if route.reply_to:
        headers["Reply-To"] = route.reply_to
    return headers
