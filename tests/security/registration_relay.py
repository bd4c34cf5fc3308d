"""The registration relay: what a stranger who registers makes the platform's sender carry to people who never agreed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

from flask import Flask
from sqlalchemy import select

from portal import create_app
from portal.accounts.models import Account
from portal.db import close_connections, db
from portal.outbox.models import OutboxMessage
from portal.outbox.queue import SYSTEM, open_body
from portal.outbox.sending.drain import drain_queue
from tests.conftest import PASSWORD, make_config
from tests.outbox.support import honest
from tests.security.mail_bomb import Stranger
from tests.security.rows import Row
from tests.smtp import badserver
from tests.smtp.badserver import BadServer

STRANGERS = "victim.example"
_NAME, _OWNER = "Dovetail", "cy@dovetail.example"
_LINK = "https://evil.example/login"
_LOOK_ALIKES = (
    f"Account locked, see {_LINK}",
    "dovetail.example",
    "evil[.]example",
    "hxxp evil",
    "a@evil.example",
)
_WORDS = ("evil.example", _NAME.lower(), _OWNER, "cy young", "paid to look")


def rows(folder: Path, posts: int = 12) -> list[Row]:
    """Register, then write to ``posts`` strangers by every way there is; return what reaches them. ``folder`` is empty."""
    with BadServer(honest()) as server, _portal(folder, server) as app:
        attacker = Stranger(app)
        names = sum(_register(attacker, name) == 303 for name in _LOOK_ALIKES)
        _register(attacker, _NAME)
        link = re.search(r"/register/\S+", _portal_email("confirm-registration"))[0]
        attacker.post(link, {})
        _write_to_strangers(attacker, Stranger(app), posts)
        account_id = db.session.scalars(select(Account.id)).one()
        db.session.rollback()
        for queue in (SYSTEM, account_id):
            drain_queue(queue)
        found = [one for one in map(_parsed, server.messages) if STRANGERS in str(one["To"])]
    questions = ("Is this your address? Confirm your sign-up", "Confirm your address for emails from Signet")
    other = [one for one in found if str(one["Subject"]) not in questions]
    worded = [one for one in found if any(word in _text(one).lower() for word in _WORDS)]
    answered = [one for one in found if one["Reply-To"] or not str(one["From"]).startswith("Signet <")]
    figures = (
        ("names with a link that may register", names),
        ("emails to strangers other than a question to confirm", len(other)),
        ("emails to strangers with words of the account", len(worded)),
        ("emails to strangers with Reply-To or another name than Signet", len(answered)),
    )
    measured = [Row(f"registration relay: {name}", "0", count, count == 0) for name, count in figures]
    asked = len(found)  # the control: the questions themselves do arrive
    return [*measured, Row("registration relay: questions that arrive", "at least 1", asked, asked > 0)]


@contextmanager
def _portal(folder: Path, server: BadServer) -> Iterator[Flask]:
    """A portal with open registration whose platform's sender is this server, in an app context."""
    env = {
        "SIGNET_SMTP_PORTS": str(server.port),
        "SIGNET_SMTP_PRIVATE": f"127.0.0.0/8:{server.port} ::1/128:{server.port}",
        "SIGNET_SMTP_CA_FILE": badserver.ca_file(),
        "MAIL_PORT": str(server.port),
        "MAIL_USE_TLS": "0",
        "MAIL_USE_SSL": "1",
    }
    app = create_app(make_config(folder, env=env, lease=600.0))
    with app.app_context():
        db.create_all(bind_key=None)
        try:
            yield app
        finally:
            db.session.remove()
            close_connections()


def _register(attacker: Stranger, programme: str) -> int:
    fields = {"programme": programme, "name": "Cy Young", "mailbox": _OWNER, "password": PASSWORD}
    return attacker.post("/register", fields)


def _write_to_strangers(attacker: Stranger, visitor: Stranger, posts: int) -> None:
    attacker.post("/affiliates/rules", {"auto_approve": "y"}, page="/affiliates/rules")  # no confirmation
    text = {"subject": "You are paid to look", "html": f'<p><a href="{_LINK}">Log in</a></p>', "text": ""}
    attacker.post("/automated-emails/new-sign-up", {**text, "based_on": "0", "save": "1"})
    look = {"accent": "#1f3f5c", "address": "paid to look", "footer": f"paid to look {_LINK}"}
    attacker.post("/automated-emails/look", look)
    for number in range(posts):
        mailbox = f"someone{number}@{STRANGERS}"
        invitation = {"name": "Dear Customer", "mailbox": mailbox, "message": f"Confirm at {_LINK}"}
        attacker.post("/affiliates/invite", invitation)
        attacker.post("/automated-emails/mailboxes", {"mailbox": mailbox}, page="/automated-emails")
        visitor.post("/join/dovetail", {"name": "Any Body", "mailbox": mailbox, "consent": "y"})


def _portal_email(kind: str) -> str:
    row = db.session.scalars(select(OutboxMessage).where(OutboxMessage.kind == kind)).first()
    assert row is not None
    text = open_body(row.text, row.key)
    db.session.rollback()
    return text


def _parsed(raw: bytes) -> EmailMessage:
    return message_from_bytes(raw.lstrip(), policy=policy.default)  # type: ignore[return-value]


def _text(mail: EmailMessage) -> str:
    parts = [part.get_content() for part in mail.walk() if part.get_content_maintype() == "text"]
    return "\n".join([str(mail["From"]), str(mail["Subject"]), str(mail["Reply-To"]), *parts])
