"""The mailbox reader against Dovecot: reports are found, and the mailbox stays as it was."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from html import unescape
from ipaddress import ip_address, ip_network
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from portal.bounces.mailbox import reading, saving
from portal.bounces.mailbox.models import BounceMailbox
from portal.bounces.meaning import Meaning
from portal.clock import utcnow
from portal.db import db
from portal.smtp.network.guard import HostOverride, PrivateTarget
from tests.bounces.mails import MESSAGE_ID, mail, notification, status_fields
from tests.bounces.support import GRACE, account_id_of, outcome, run_worker, send
from tests.conftest import make_config
from tests.smtp import badserver
from tests.smtp.badserver import PASSWORD, USERNAME

from .dovecot import IMAP, IMAPS, Dovecot, dovecot_missing
from .oidc import CLIENT, SECRET, OidcProvider, oidc_provider_missing, walk
from .test_consent import dovecot_settings

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


HOST, MAILBOX = "outlook.office365.com", "affiliates@brightleaf.example"
SCOPE = "https://outlook.office.com/IMAP.AccessAsUser.All"


class TestByConsent:
    """Dovecot asks oidc-provider about each token, which a person's consent on that one's pages led to."""

    @pytest.fixture
    def folder(self) -> Iterator[Path]:
        """A folder that Dovecot's processes, which have no root privileges, can read."""
        with tempfile.TemporaryDirectory(prefix="signet-interop-") as name:
            Path(name).chmod(0o755)
            yield Path(name)

    @pytest.fixture
    def servers(self, real_or_skip, folder: Path) -> Iterator[tuple[OidcProvider, Dovecot]]:
        real_or_skip(oidc_provider_missing())
        real_or_skip(dovecot_missing())
        with ExitStack() as stack:
            issuer = stack.enter_context(OidcProvider("http://127.0.0.1", scope=SCOPE))
            extra = dovecot_settings(folder, issuer, 9, HOST)
            yield issuer, stack.enter_context(Dovecot(extra=extra))

    @pytest.fixture
    def config(self, folder: Path, servers: tuple[OidcProvider, Dovecot]):
        issuer, dovecot = servers
        env = {
            "SIGNET_MICROSOFT_LOGIN_URL": issuer.url,
            "SIGNET_HOOK_PRIVATE": f"127.0.0.1/32:{issuer.ports[0]}:plaintext",
            "SIGNET_SMTP_CA_FILE": badserver.ca_file(),
        }
        config = make_config(folder / "instance", env=env)
        port = dovecot.ports[IMAPS]
        policy = replace(
            config.policy,
            private_targets=(PrivateTarget(ip_network("127.0.0.1/32"), port),),
            host_overrides=(HostOverride(HOST, 993, ip_address("127.0.0.1"), port),),
        )
        return replace(config, policy=policy)

    def test_a_mailbox_is_read_until_the_consent_is_withdrawn(
        self, app, owner, servers: tuple[OidcProvider, Dovecot]
    ):
        issuer, dovecot = servers
        sent = send(account_id_of())
        bounce = notification(status_fields(GRACE)).replace(b"k3f7q2w8", sent.reference.encode())
        _deliver(dovecot, "1.bounce", bounce)
        form = {"mailbox": MAILBOX, "tenant": "", "client_id": CLIENT, "client_secret": SECRET}
        page = unescape(owner.submit(f"{PAGE}/connect/microsoft", form).get_data(as_text=True))
        callback = urlsplit(walk(page.partition('content="1; url=')[2].partition('"')[0], MAILBOX))
        assert owner.get(callback.path, query_string=callback.query).status_code == 303
        row = _read()
        assert (row.problem, row.mails, row.reports) == ("", 1, 1), dovecot.log()
        assert outcome(sent.id).meaning is Meaning.HARD
        issuer.withdraw()
        assert _read().problem == "consent-lapsed"
