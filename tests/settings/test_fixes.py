"""An offered fix was verified by a probe; applying it saves, checks and activates a version."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from portal import create_app
from portal.db import db
from portal.rehearsal.listeners import ListenerKind
from portal.settings.models import SettingsCheck, SmtpSettings, VersionState
from tests.conftest import logged_in
from tests.pages import LintingClient
from tests.settings.conftest import PAGE, rehearsal_config, save, work

pytestmark = pytest.mark.thorough


@pytest.fixture
def app(tmp_path, rehearsal):
    """A portal with a running rehearsal server, which answers every mistake as a provider does."""
    app = create_app(rehearsal_config(tmp_path, rehearsal))
    app.test_client_class = LintingClient
    with app.app_context():
        db.create_all(bind_key=None)
        yield app
        db.session.remove()
        db.engine.dispose()


@pytest.fixture
def entered(rehearsal):
    return {
        "host": "localhost",
        "username": "postmaster@brightleaf.example",
        "password": "rehearsal",
        "domain": "brightleaf.example",
        "security": "starttls",
        "port": str(rehearsal.ports[ListenerKind.STARTTLS]),
        "mechanism": "automatic",
    }


def last_check():
    db.session.rollback()
    return db.session.scalars(select(SettingsCheck).order_by(SettingsCheck.id.desc())).first()


def live():
    db.session.rollback()
    return db.session.scalars(select(SmtpSettings).where(SmtpSettings.state == VersionState.LIVE)).first()


@pytest.mark.parametrize(
    ("mistake", "fix"),
    [
        ({"security": "implicit"}, {"security": "starttls"}),
        ({"port": ListenerKind.TLS}, {"security": "implicit"}),
        ({"port": ListenerKind.PLAIN}, {"port": ListenerKind.STARTTLS}),
        ({"port": ListenerKind.EXPIRED}, None),
        ({"mechanism": "cram-md5"}, {"mechanism": "automatic"}),
        ({"username": "postmaster"}, None),  # without a domain any username is accepted there
        ({"password": "wrong"}, None),
        ({"username": "sender-refused@brightleaf.example"}, None),
    ],
)
def test_a_mistake_is_fixed_only_by_a_verified_change(app, rehearsal, entered, mistake, fix):
    owner = logged_in(app, "Brightleaf", "Ada Fairweather", "ada@brightleaf.example")
    number = lambda value: str(rehearsal.ports[value]) if isinstance(value, ListenerKind) else value  # noqa: E731
    save(owner, entered, **{name: number(value) for name, value in mistake.items()})
    work()
    check = last_check()
    if fix is None:
        assert check.fix is None
        assert "Apply this fix" not in owner.get(PAGE).get_data(as_text=True)
        return
    assert check.fix["values"] == {name: number(value) for name, value in fix.items()}
    page = owner.get(PAGE).get_data(as_text=True)
    assert "Apply this fix and test again" in page
    assert live() is None, "nothing changes before the owner applies the fix"

    answer = owner.submit(f"{PAGE}/versions/1/apply", {}, page=PAGE)
    assert answer.status_code == 303
    work()
    assert live().number == 2
    for name, value in fix.items():
        assert str(getattr(live(), name)) == number(value)
    page = owner.get(PAGE).get_data(as_text=True)
    assert "&lt;info@brightleaf.example&gt;" in page
    assert "Platform’s sender" not in page


def test_a_version_without_a_verified_fix_is_not_changed(app, entered):
    owner = logged_in(app, "Brightleaf", "Ada Fairweather", "ada@brightleaf.example")
    save(owner, entered)
    work()
    answer = owner.submit(f"{PAGE}/versions/1/apply", {}, page=PAGE, follow_redirects=True)
    assert "no longer a tested fix" in answer.get_data(as_text=True)
    db.session.rollback()
    assert db.session.query(SmtpSettings).count() == 1


def test_a_fix_of_another_account_cannot_be_applied(app, rehearsal, entered):
    owner = logged_in(app, "Brightleaf", "Ada Fairweather", "ada@brightleaf.example")
    stranger = logged_in(app, "Copperpot", "Bo Larsen", "bo@copperpot.example")
    save(owner, entered, security="implicit")
    work()
    assert stranger.submit(f"{PAGE}/versions/1/apply", {}, page=PAGE).status_code == 404
