"""Fixtures of the arrival tests: the portal, servers and form of the settings tests, and one accepted test email."""

from __future__ import annotations

import re
from html import unescape

import pytest
from flask import Flask
from sqlalchemy import select

from portal.arrival.models import TestEmail
from portal.db import db
from portal.outbox.models import OutboxMessage
from portal.settings.models import SmtpSettings
from tests.pages import LintingClient
from tests.settings.conftest import _not_at_the_end_of_an_hour as _not_at_the_end_of_an_hour
from tests.settings.conftest import config as config
from tests.settings.conftest import form as form
from tests.settings.conftest import live as live
from tests.settings.conftest import servers as servers

PAGE = "/settings/arrival"
LINK = re.compile(r"http://127\.0\.0\.1(/arrived/[A-Za-z0-9_-]{43})")


def the_test() -> TestEmail:
    """Return the newest test email, detached from the session."""
    db.session.rollback()
    row = db.session.scalars(select(TestEmail).order_by(TestEmail.id.desc()).limit(1)).one()
    db.session.expunge_all()
    db.session.rollback()
    return row


def link_of(row: TestEmail) -> str:
    """Return the path of the link in a test email, which its text and its HTML part have in common."""
    message = db.session.get_one(OutboxMessage, row.message_id)
    (text,), (html,) = LINK.findall(message.text), LINK.findall(unescape(message.html))
    db.session.rollback()
    assert text == html
    return str(text)


@pytest.fixture
def checked(app: Flask, owner: LintingClient, live: SmtpSettings) -> TestEmail:
    """The test email of the check that made version 1 live."""
    return the_test()
