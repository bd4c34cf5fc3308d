"""A rehearsal server on free ports, and an independent client (smtplib) that trusts its certificate authority."""

import smtplib
import ssl
from dataclasses import dataclass
from pathlib import Path

import pytest

from portal.config import Config
from portal.rehearsal import server
from portal.rehearsal.listeners import PASSWORD, ListenerKind

TIMEOUT_S = 300  # of a client; only a hanging server needs as long
ANY_PORTS = dict.fromkeys(ListenerKind, 0)
MAIL = b"From: ada@example.org\r\nTo: grace@example.net\r\nSubject: Welcome\r\n\r\nHello\r\n..and goodbye\r\n"


def config_in(folder: Path, **variables: str) -> Config:
    """Return the configuration of a portal with the rehearsal enabled."""
    env = {
        "SECRET_KEY": "k" * 40,
        "SIGNET_KEYS": "a:" + "A" * 43 + "=",
        "SIGNET_REHEARSAL": "1",
    } | variables
    return Config.from_env(env, folder)


@dataclass
class Rehearsal:
    """A running server and clients for it."""

    handle: server.RunningServer
    inbox: Path

    def trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.handle.files.ca))

    def dial(self, kind: ListenerKind = ListenerKind.STARTTLS) -> smtplib.SMTP:
        """Connect, with encryption except to the plain listener."""
        port = self.handle.ports[kind]
        if kind is ListenerKind.TLS:
            return smtplib.SMTP_SSL("localhost", port, timeout=TIMEOUT_S, context=self.trust())
        smtp = smtplib.SMTP("localhost", port, timeout=TIMEOUT_S)
        smtp.ehlo()
        if kind is not ListenerKind.PLAIN:
            smtp.starttls(context=self.trust())
            smtp.ehlo()
        return smtp

    def log_in(self, username: str = "ada@example.org", password: str = PASSWORD) -> smtplib.SMTP:
        smtp = self.dial()
        smtp.login(username, password)
        return smtp

    def submit(self, username: str = "ada@example.org", recipient: str = "grace@example.net") -> list[str]:
        """Submit one message; return the replies from the login on, up to the first refusal."""
        replies = []
        with self.dial() as smtp:
            steps = (
                lambda: _log_in(smtp, username),
                lambda: smtp.mail("ada@example.org"),
                lambda: smtp.rcpt(recipient),
                lambda: smtp.data(MAIL),
            )
            for step in steps:
                code, text = step()
                replies.append(f"{code} {text.decode()}")
                if code >= 400:
                    break
        return replies

    def stored(self) -> list[Path]:
        return sorted(self.inbox.glob("*.eml"))


def _log_in(smtp: smtplib.SMTP, username: str) -> tuple[int, bytes]:
    try:
        return smtp.login(username, PASSWORD)
    except smtplib.SMTPAuthenticationError as refusal:
        return refusal.smtp_code, refusal.smtp_error


@pytest.fixture
def config(tmp_path):
    return config_in(tmp_path)


@pytest.fixture
def rehearsal(config, tmp_path):
    handle = server.start(config, ANY_PORTS)
    yield Rehearsal(handle, tmp_path / "rehearsal" / "inbox")
    handle.stop()
