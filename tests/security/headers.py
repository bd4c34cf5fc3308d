"""Messages composed from hostile names, subjects, addresses and bodies, read back by the standard library."""

from __future__ import annotations

import random
import re
from datetime import UTC, datetime
from email import message_from_bytes
from email.policy import compat32, default
from pathlib import Path
from tempfile import TemporaryDirectory

from flask import Flask

from portal.outbox.routing import Route
from portal.outbox.sending.message import AccountMessage
from portal.outbox.sending.mime import MessageRefused
from portal.outbox.store.types import QueuedMessage
from portal.smtp.mailbox import MailboxError
from portal.smtp.server import Security, Server
from portal.state import KEY, State
from portal.vault import Vault
from tests.conftest import KEYRING, make_config
from tests.security.rows import Row, none_of

EXPECTED = {
    "from", "to", "subject", "date", "message-id", "auto-submitted", "reply-to", "list-unsubscribe",
    "list-unsubscribe-post", "x-signet-ref", "mime-version", "content-type", "content-transfer-encoding",
}  # fmt: skip
HARMLESS = ["Ada", "O’Neil", "name", "ä", "漢字", "e\u0301", "😀", "=?utf-8?q?x?=", "=?utf-8?b?DQpCY2M6IGVAZS5lCg==?=",
            "=?", "?=", "=", '"', "\\", "<evil@evil.example>", ", evil@evil.example", ";", ":", "@", "(c)", "[x]", "   ",
            "Bcc: evil@evil.example", "%0d%0a", "&#13;&#10;", "{{ 7*7 }}", "a" * 90, ".", " "]  # fmt: skip
HOSTILE = [*HARMLESS, "\r\n", "\n", "\r", "\r\n\r\n", "\r\nBcc: evil@evil.example\r\n", "\r\n.\r\n", "\x00", "\x0b",
           "\x0c", "\x1c", "\x85", "\u2028", "\u2029", "\u202e", "\u2066", "\u200b", "\ufeff", "\ud800", "\t"]  # fmt: skip
RECIPIENTS = ["victim@example.org", "a+b@xn--bcher-kva.example", "vic tim@example.org", '"a b"@example.org',
              "v@e.example\r\nBcc: q@q.example", "v@example.org>,<w@example.org", "v@example.org"]  # fmt: skip
SENDER, NOW = "info@brightleaf.example", datetime(2026, 11, 29, tzinfo=UTC)
_ADDRESS = re.compile(r"[^\s<>,]+@[^\s<>,]+")


def rows(count: int, seed: int = 20261129) -> list[Row]:
    """Compose messages within the context of an app, which gives each its reference."""
    with TemporaryDirectory() as folder:
        app = Flask(__name__)
        app.extensions[KEY] = State(make_config(Path(folder)), Vault(KEYRING))
        with app.app_context():
            return _rows(count, seed)


def _rows(count: int, seed: int) -> list[Row]:
    """Compose ``count`` messages; three of four use signs that a header may carry, so that most are accepted."""
    draw, breaches, accepted = random.Random(seed), [], 0
    for number in range(count):
        row, route = _message(draw, number), _route(draw, number)
        try:
            message = AccountMessage(row, route, now=NOW)
            if message.has_bad_headers():
                continue
            raw = message.as_bytes()
            message.outgoing()
        except (MessageRefused, MailboxError, ValueError):
            continue
        except Exception as error:
            breaches.append(f"message {number}: {type(error).__name__}")
            continue
        accepted += 1
        breaches += [f"message {number}: {what}" for what in _problems(raw, row)]
    return [
        none_of("composed messages with a header or line that was not intended", count, breaches),
        Row("control: messages accepted among them", "at least a third", accepted, 3 * accepted >= count),
    ]


def _text(draw: random.Random, pieces: list[str], most: int) -> str:
    return "".join(
        draw.choice(pieces) if draw.random() < 0.55 else draw.choice("abcXYZ 0-_,.;")
        for _ in range(draw.randint(0, most))
    )


def _message(draw: random.Random, number: int) -> QueuedMessage:
    pieces = HARMLESS if number % 4 else HOSTILE
    return QueuedMessage(
        id=number, account_id=1, kind="new-sign-up", key=str(number), message_id=f"<{number:032x}@brightleaf.example>",
        recipient=RECIPIENTS[0] if number % 5 else draw.choice(RECIPIENTS), recipient_name=_text(draw, pieces, 8),
        subject=_text(draw, pieces, 60 if number % 3 == 0 else 14), text=_text(draw, HOSTILE, 12) + "\r\n.\r\nDATA\r\n",
        html=_text(draw, HOSTILE, 10) if number % 2 else "", is_sealed=False, is_test=False,
        unsubscribe_url="https://signet.example/u/" + ("abc" if number % 7 else _text(draw, pieces, 2)),
        forced_version_id=None, attempts=0, status="sending", lease_token="token",
    )  # fmt: skip


def _route(draw: random.Random, number: int) -> Route:
    pieces = HARMLESS if number % 4 else HOSTILE
    reply_to = (
        f"reply@{SENDER.partition('@')[2]}" if number % 2 else _text(draw, pieces, 3) if number % 3 else None
    )
    server = Server("smtp.example.com", 587, Security.STARTTLS)
    return Route(server, SENDER, _text(draw, pieces, 8), reply_to=reply_to, version_number=1)


def _problems(raw: bytes, row: QueuedMessage) -> list[str]:
    """Return what the bytes contain beyond what was intended, as two readers of the standard library see them."""
    found = []
    for policy in (compat32, default):
        names = [name.lower() for name in message_from_bytes(raw, policy=policy)]
        if set(names) - EXPECTED or len(names) != len(set(names)):
            found.append(f"headers {sorted(set(names) - EXPECTED) or 'repeated'}")
    rest = raw.replace(b"\r\n", b"")
    if b"\r" in rest or b"\n" in rest:
        found.append("a bare CR or LF")
    if any(len(line) > 998 for line in raw.split(b"\r\n")):
        found.append("a line of more than 998 octets")
    read = message_from_bytes(raw, policy=default)
    if [one.addr_spec for one in read["from"].addresses] != [SENDER]:
        found.append(f"From {read['from']}")
    if [one.addr_spec for one in read["to"].addresses] != [row.recipient]:
        found.append(f"To {read['to']}")
    return found
