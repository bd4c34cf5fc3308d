"""The mailbox reader against Dovecot: reports are found, and the mailbox stays as it was."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from portal.bounces.mailbox import reading, saving
from portal.bounces.mailbox.models import BounceMailbox
from portal.bounces.meaning import Meaning
from portal.clock import utcnow
from portal.db import db
from tests.bounces.mails import MESSAGE_ID, mail, notification, status_fields
from tests.bounces.support import GRACE, account_id_of, outcome, run_worker, send
from tests.conftest import make_config
from tests.smtp import badserver
from tests.smtp.badserver import PASSWORD, USERNAME

from .dovecot import IMAP, IMAPS, Dovecot

PAGE = "/settings/bounces/mailbox"


@pytest.fixture
def config(tmp_path, dovecot: Dovecot):
    ports = (dovecot.ports[IMAP], dovecot.ports[IMAPS])
    env = {
        "SIGNET_SMTP_PRIVATE": " ".join(f"127.0.0.0/8:{port} ::1/128:{port}" for port in ports),
        "SIGNET_SMTP_CA_FILE": badserver.ca_file(),
    }
    return make_config(tmp_path / "instance", env=env)


def _deliver(dovecot: Dovecot, name: str, raw: bytes) -> None:
    """Put a mail into the Maildir, as its owner."""
    owner = dovecot.mail.stat()
    for folder in ("tmp", "new", "cur"):
        (dovecot.mail / folder).mkdir(exist_ok=True)
        os.chown(dovecot.mail / folder, owner.st_uid, owner.st_gid)
    path = dovecot.mail / "tmp" / name
    path.write_bytes(raw)
    os.chown(path, owner.st_uid, owner.st_gid)
    path.rename(dovecot.mail / "new" / name)


def _mails(folder: Path) -> set[str]:
    """Return the mails with their flags, which Dovecot keeps in the names of the files."""
    return {path.name for name in ("new", "cur") for path in (folder / name).iterdir()}


def _read() -> BounceMailbox:
    mailbox = saving.find(account_id_of())
    assert mailbox is not None
    saving.read_now(mailbox.account_id, now=utcnow())
    reading.read(mailbox.id)
    run_worker()
    db.session.refresh(mailbox)
    return mailbox


@pytest.mark.parametrize(("port", "security"), [(IMAPS, "implicit"), (IMAP, "starttls")])
def test_dovecot_is_read_and_left_as_it_was(app, owner, dovecot: Dovecot, port: int, security: str):
    for folder in ("tmp", "new", "cur"):
        shutil.rmtree(dovecot.mail / folder, ignore_errors=True)
    sent = send(account_id_of())
    bounce = notification(status_fields(GRACE)).replace(b"k3f7q2w8", sent.reference.encode())
    _deliver(
        dovecot, "1.letter", mail("When do you pay?", "A question", From=GRACE, Return_Path=f"<{GRACE}>")
    )
    _deliver(dovecot, "2.bounce", bounce.replace(MESSAGE_ID.encode(), sent.header_id.strip("<>").encode()))
    fields = {"host": "localhost", "security": security, "port": str(dovecot.ports[port]), "folder": "INBOX"}
    assert owner.submit(PAGE, {**fields, "username": USERNAME, "password": PASSWORD}).status_code == 303
    row = _read()
    assert (row.problem, row.mails, row.reports) == ("", 2, 1)
    assert outcome(sent.id).meaning is Meaning.HARD
    assert all(":2," not in name or name.endswith(":2,") for name in _mails(dovecot.mail))
    _deliver(dovecot, "3.letter", mail("Thank you.", "An answer", From=GRACE, Return_Path=f"<{GRACE}>"))
    assert (_read().mails, len(_mails(dovecot.mail))) == (3, 3)


def test_dovecot_refuses_a_wrong_password_and_an_unknown_folder(app, owner, dovecot: Dovecot):
    fields = {
        "host": "localhost",
        "security": "implicit",
        "port": str(dovecot.ports[IMAPS]),
        "username": USERNAME,
    }
    owner.submit(PAGE, {**fields, "folder": "INBOX", "password": "wrong"})
    assert _read().problem == "login-refused"
    owner.submit(PAGE, {**fields, "folder": "Rückläufer", "password": PASSWORD})
    assert _read().problem == "no-folder"
