"""Concurrent requests of one owner, on a database with concurrent writers."""

from __future__ import annotations

import pytest
from sqlalchemy import func, select

from portal.accounts.models import Owner
from portal.clock import utcnow
from portal.db import db
from portal.settings import check, versions
from portal.settings.models import SmtpSettings, VersionState
from portal.settings.validation import SettingsInput
from tests.outbox.support import answering, run_together
from tests.settings.conftest import PAGE, account_id, checks, save, work
from tests.settings.conftest import versions as saved

pytestmark = pytest.mark.only_postgresql


def the_owner():
    return db.session.scalars(select(Owner)).one()


def test_concurrently_saved_versions_get_consecutive_numbers(app, owner, form):
    values = {name: value for name, value in form.items() if name in SettingsInput.__dataclass_fields__}
    values["port"] = int(form["port"])

    def save_one(number):
        return versions.save_draft(the_owner(), SettingsInput(**values), now=utcnow()).number

    assert sorted(run_together(app, 6, save_one)) == [1, 2, 3, 4, 5, 6]


def test_of_concurrently_activated_versions_one_is_live(app, owner, form):
    for _ in range(4):
        assert save(owner, form).status_code == 303
    account = account_id()

    def activate(number):
        versions.force_activate(versions.find(account, number + 1), now=utcnow())

    assert run_together(app, 4, activate) == [None] * 4
    live = select(func.count()).select_from(SmtpSettings).where(SmtpSettings.state == VersionState.LIVE)
    assert db.session.scalar(live) == 1
    db.session.rollback()


def test_a_check_is_claimed_by_one_of_several_workers(app, owner, form, servers):
    save(owner, form)
    (version,) = saved()
    assert run_together(app, 4, lambda _: check.run(version.id)) == [None] * 4
    assert len(servers.one.messages) == 1
    assert saved()[0].state is VersionState.LIVE


def test_a_stop_during_a_check_that_passes_is_kept(app, owner, form, servers):
    def stop(peer, _line):
        with app.app_context():
            versions.stop_using(account, now=utcnow())
        peer.send(b"250 2.0.0 Ok: queued as 1\r\n")

    save(owner, form)
    account = account_id()
    servers.one.script = answering(DOT=stop)
    work()
    assert saved()[0].state is VersionState.DRAFT
    assert checks()[0].state == "failed"
    assert owner.get(PAGE).status_code == 200
