"""The one statement of a sign-up reads the same as the look-ups of the rooms."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import update

from portal.accounts import standing
from portal.accounts.models import Account
from portal.affiliates.directory import find_programme
from portal.clock import utcnow
from portal.db import db
from portal.db.transaction import separate_reads
from portal.enrolment import signup, signup_rules
from portal.enrolment.programme_facts import read_facts
from portal.notices import branding
from tests.incidents.conftest import add_settings

pytestmark = pytest.mark.both_databases


def _facts(mailbox_key="grace@example.org", slug="brightleaf"):
    db.session.rollback()
    with separate_reads():
        return read_facts(slug, mailbox_key)


def _change(programme, **values):
    db.session.execute(update(Account).where(Account.id == programme.id).values(**values))
    db.session.commit()


def test_a_programme_with_nothing_saved_has_the_defaults(programme):
    signup_rules.save_rules(programme.id, signup_rules.Rules())
    facts = _facts()
    assert vars(facts.account).keys() >= {"name", "slug", "language"}
    assert (facts.rules, facts.branding) == (signup_rules.Rules(), branding.Branding())
    assert not facts.is_known
    assert _facts(slug="another") is None
    assert _facts(slug="a\x00b") is None


def test_each_change_is_in_the_next_facts(programme):
    for rules in (signup_rules.Rules(auto_approve=False, confirm=False), signup_rules.Rules()):
        signup_rules.save_rules(programme.id, rules)
        assert _facts().rules == rules == signup_rules.get_rules(programme.id)
    branding.save_address(programme, "1 Garden Lane", without=False, now=utcnow())
    assert (
        _facts().branding == branding.branding_of(programme.id) == branding.Branding(address="1 Garden Lane")
    )
    until = utcnow() + timedelta(hours=1)
    _change(programme, name="Copperpot", sign_ups_slow_until=until, suspended_at=until)
    facts = _facts()
    assert (facts.account.name, facts.account.sign_ups_slow_until) == ("Copperpot", until)
    assert standing.state_of(facts.account) is standing.AccountState.SUSPENDED
    assert find_programme("BrightLeaf").name == "Copperpot"


def test_a_programme_without_approval_is_limited_until_its_own_server_is_live(programme):
    assert not _facts().limited
    _change(programme, approved_at=None)
    assert _facts().limited
    add_settings(programme.id)
    db.session.commit()
    assert not _facts().limited


def test_a_known_mailbox_is_known_in_its_own_programme_only(programme):
    added = signup.new_affiliate(programme, "Grace Hopper", "grace@example.org", utcnow())
    db.session.add(added)
    db.session.commit()
    assert _facts().is_known
    assert not _facts("ada@example.org").is_known
