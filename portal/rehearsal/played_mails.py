"""Plays the mails by which servers without hooks report: into the mailbox of a message's envelope sender, read over IMAP."""

from __future__ import annotations

from email.utils import format_datetime
from typing import TYPE_CHECKING

from flask_babel import gettext as _

from ..bounces.mailbox import saving
from ..state import current_config
from . import inbox, mailboxes, store
from .played_reports import CannotPlay, Play

if TYPE_CHECKING:
    from datetime import datetime

    from .inbox import InboxMessage

PROVIDER = "mailbox"
_EDGE = "rehearsal-report"
_MAX_HEADER_BYTES = 64 * 1024
_MTA = "mx.rehearsal.example"
_FAILED = ("failed", "5.1.1", "550 5.1.1 There is no such mailbox")
_DELAYED = ("delayed", "4.4.1", "451 4.4.1 No answer from the server; trying again")
_DELIVERED = ("delivered", "2.0.0", "250 2.0.0 Accepted")
_STATUSES = {
    Play.BOUNCE: (_FAILED,),
    Play.REPLAY: (_FAILED,) * 5,
    Play.DELAY_THEN_DELIVERY: (_DELAYED, _DELIVERED),
}


def play(account_id: int, what: Play, message: InboxMessage, *, now: datetime) -> str:
    """Put the mails that report of a message into its sender's mailbox, and let it be read. Commits.

    Returns a sentence for the page. Raises CannotPlay.
    """
    config = current_config()
    raw = inbox.read_raw(store.inbox_folder(config), message.id) or b""
    head = raw[:_MAX_HEADER_BYTES].replace(b"\r\n", b"\n").partition(b"\n\n")[0].decode("utf-8", "replace")
    recipient = next(iter(message.recipients), "")
    if what is Play.COMPLAINT:
        mails = [_complaint(head, message.sender, recipient, now)]
    elif what in _STATUSES:
        mails = [_notification(head, message.sender, recipient, one, now) for one in _STATUSES[what]]
    else:
        raise CannotPlay(
            str(_("Reports by email have no signature and no list of a provider. Simulate another report."))
        )
    for mail in mails:
        mailboxes.add(mailboxes.mailboxes_folder(config), message.sender, mail.encode("utf-8", "replace"))
    mailbox = saving.find(account_id)
    if mailbox is None or mailbox.port != config.rehearsal_imap_port:
        return str(
            _(
                "The report is in the mailbox of %(sender)s. Connect it under Mailbox for bounces: server "
                "localhost, port %(port)d, SSL/TLS, username %(sender)s, password rehearsal.",
                sender=message.sender,
                port=config.rehearsal_imap_port,
            )
        )
    saving.read_now(account_id, now=now)
    return str(
        _(
            "The report is in the mailbox of %(sender)s. Signet reads it now. See the result under "
            "Deliveries.",
            sender=message.sender,
        )
    )


def _notification(head: str, sender: str, recipient: str, status: tuple[str, str, str], now: datetime) -> str:
    """Return a delivery status notification (RFC 3464)."""
    action, code, reply = status
    words = {"failed": "could not be delivered", "delayed": "is delayed", "delivered": "was delivered"}
    fields = (
        f"Reporting-MTA: dns; {_MTA}\n\nFinal-Recipient: rfc822; {recipient}\nAction: {action}\n"
        f"Status: {code}\nDiagnostic-Code: smtp; {reply}\n"
    )
    parts = (
        ("text/plain; charset=utf-8", f"Your email to {recipient} {words[action]}: {reply}\n"),
        ("message/delivery-status", fields),
        ("text/rfc822-headers", f"{head}\n"),
    )
    return _report(sender, f"Delivery report: {words[action]}", "delivery-status", parts, now)


def _complaint(head: str, sender: str, recipient: str, now: datetime) -> str:
    """Return a complaint (RFC 5965)."""
    fields = (
        f"Feedback-Type: abuse\nUser-Agent: Rehearsal/1\nVersion: 1\nOriginal-Rcpt-To: <{recipient}>\n"
        f"Reported-Domain: {sender.rpartition('@')[2]}\n"
    )
    parts = (
        ("text/plain; charset=utf-8", "A recipient called this email spam.\n"),
        ("message/feedback-report", fields),
        ("text/rfc822-headers", f"{head}\n"),
    )
    return _report(sender, "Complaint about an email", "feedback-report", parts, now)


def _report(sender: str, subject: str, kind: str, parts: tuple[tuple[str, str], ...], now: datetime) -> str:
    head = (
        f"Return-Path: <>\nFrom: Mail Delivery System <MAILER-DAEMON@{_MTA}>\nTo: {sender}\nSubject: {subject}\n"
        f"Date: {format_datetime(now)}\nAuto-Submitted: auto-replied\nMIME-Version: 1.0\n"
        f'Content-Type: multipart/report; report-type={kind}; boundary="{_EDGE}"\n\n'
    )
    body = "".join(f"--{_EDGE}\nContent-Type: {type_}\n\n{text}\n" for type_, text in parts)
    return f"{head}{body}--{_EDGE}--\n"
