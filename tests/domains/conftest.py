"""Fixtures of the domain checks: a portal that queries the test's name server, and an owner who sends through Mailgun."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import time_machine
from flask import Flask
from sqlalchemy import select

from portal.clock import utcnow
from portal.config import Config
from portal.db import db
from portal.domains import checks, resolver
from portal.domains.models import DomainCheck
from portal.settings import versions
from portal.settings.models import SmtpSettings
from tests.conftest import make_config
from tests.domains.sample_domains import good
from tests.domains.zones import Zones
from tests.pages import LintingClient

PAGE = "/settings/sending-domain"
SETTINGS = "/settings/email-preferences"
FORM = {
    "provider": "mailgun",
    "host": "smtp.mailgun.org",
    "username": "postmaster@shop.example",
    "password": "a password of Mailgun",
    "domain": "shop.example",
    "security": "starttls",
    "port": "587",
    "mechanism": "automatic",
    "wrapped_user": "",
    "from_name": "",
    "reply_to": "",
}


@pytest.fixture(autouse=True)
def _empty_cache() -> Iterator[None]:
    """Empty the resolver's cache, because tests publish different records at the same names."""
    resolver._cache.__init__()  # type: ignore[misc]
    yield


@pytest.fixture
def clock() -> Iterator[time_machine.Coordinates]:
    """Travel to a time from which no test reaches the next window of a rate limit, which begins at a round hour."""
    with time_machine.travel("2026-03-02 09:01:00+00:00") as moving:
        yield moving


@pytest.fixture
def zones() -> Iterator[Zones]:
    with Zones(good()) as server:
        yield server


@pytest.fixture
def config(tmp_path: Path, zones: Zones, clock: time_machine.Coordinates) -> Config:
    return make_config(tmp_path / "instance", dns_servers=(zones.at,))


@pytest.fixture
def draft(app: Flask, owner: LintingClient) -> SmtpSettings:
    """Version 1, saved and never checked."""
    assert owner.submit(SETTINGS, FORM).status_code == 303
    return the_version()


@pytest.fixture
def live(draft: SmtpSettings) -> SmtpSettings:
    versions.activate(db.session.get_one(SmtpSettings, draft.id), now=utcnow())
    db.session.commit()
    return the_version()


def the_version() -> SmtpSettings:
    version = db.session.scalars(select(SmtpSettings).order_by(SmtpSettings.id.desc()).limit(1)).one()
    db.session.expunge(version)
    db.session.rollback()
    return version


def the_check() -> DomainCheck:
    db.session.rollback()
    check = db.session.scalars(select(DomainCheck).order_by(DomainCheck.id.desc()).limit(1)).one()
    db.session.expunge(check)
    db.session.rollback()
    return check


def work() -> int:
    """Run the due checks, as a worker's sweep does; return their number."""
    jobs = checks.find_due_work(utcnow())
    db.session.rollback()
    for _, version_id in jobs:
        checks.run(version_id)
    db.session.rollback()
    return len(jobs)
