"""Mails in the likeness of those that mail systems send, in words of our own."""

from __future__ import annotations

ORIGINAL = """\
Return-Path: <programme@sender.example>
Received: from portal.sender.example by relay.sender.example; Mon, 2 Feb 2026 10:00:00 +0000
Message-ID: <0a1b2c3d4e5f6071.letter@sender.example>
X-Signet-Ref: k3f7q2w8
From: Programme <programme@sender.example>
To: {recipient}
Subject: Your application
Content-Type: text/plain

Thank you for applying. Unsubscribe: https://portal.sender.example/u/1
"""
MESSAGE_ID = "0a1b2c3d4e5f6071.letter@sender.example"
ADA = "ada@receiver.example"


def original(recipient: str = ADA) -> str:
    return ORIGINAL.format(recipient=recipient)


def mail(body: str, subject: str = "Undelivered Mail Returned to Sender", **headers: str) -> bytes:
    """Return a mail of a mail system; a header that is given replaces the usual one, an empty one removes it."""
    fields = {
        "Return-Path": "<>",
        "From": "Mail Delivery System <MAILER-DAEMON@relay.sender.example>",
        "To": "programme@sender.example",
        "Subject": subject,
        "Message-ID": "<report-1@relay.sender.example>",
        "Content-Type": "text/plain; charset=utf-8",
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    head = "".join(f"{name}: {value}\n" for name, value in fields.items() if value)
    return f"{head}\n{body}".encode()


def status_fields(
    recipient: str = ADA,
    action: str = "failed",
    status: str = "5.1.1",
    diagnostic: str = "smtp; 550 5.1.1 <ada@receiver.example>: Recipient address rejected: User unknown",
    *more: str,
) -> str:
    lines = [
        f"Final-Recipient: rfc822; {recipient}",
        f"Action: {action}",
        f"Status: {status}",
        *([f"Diagnostic-Code: {diagnostic}"] if diagnostic else []),
        *more,
    ]
    return "\n".join(lines)


def notification(
    *groups: str,
    text: str = "Your message could not be delivered.",
    returned: str | None = None,
    returned_type: str = "message/rfc822",
    per_message: str = "Reporting-MTA: dns; relay.sender.example",
    status_type: str = "message/delivery-status",
    **headers: str,
) -> bytes:
    """Return a delivery status notification (RFC 3464) with one group of fields for each recipient."""
    parts = [
        f"Content-Type: text/plain; charset=utf-8\n\n{text}\n",
        f"Content-Type: {status_type}\n\n"
        + "\n\n".join([per_message, *(groups or (status_fields(),))])
        + "\n",
        f"Content-Type: {returned_type}\n\n{original() if returned is None else returned}",
    ]
    body = "".join(f"--edge\n{part}\n" for part in parts) + "--edge--\n"
    kind = 'multipart/report; report-type=delivery-status; boundary="edge"'
    return mail(body, Content_Type=kind, **headers)


def complaint(kind: str, *fields: str, returned: str | None = None) -> bytes:
    """Return a complaint (RFC 5965)."""
    lines = [f"Feedback-Type: {kind}", "User-Agent: Complaints/1.0", "Version: 1", *fields]
    parts = [
        "Content-Type: text/plain\n\nThis is a report about a message that a person marked.\n",
        "Content-Type: message/feedback-report\n\n" + "\n".join(lines) + "\n",
        f"Content-Type: message/rfc822\n\n{original() if returned is None else returned}",
    ]
    body = "".join(f"--edge\n{part}\n" for part in parts) + "--edge--\n"
    kind_of_report = 'multipart/report; report-type=feedback-report; boundary="edge"'
    return mail(body, "Complaint", From="feedback@receiver.example", Content_Type=kind_of_report)
