"""Fixtures: Brightleaf with a shop and one active affiliate, a visitor's browser, and the counts that were written."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import select

from portal.accounts.models import LinkForm
from portal.affiliates.models import Affiliate, AffiliateState
from portal.clock import utcnow
from portal.db import db
from portal.enrolment.signup import new_affiliate
from portal.programme import saving, short_links, visits
from portal.programme.models import VisitCount
from tests.enrolment.support import account_of

SHOP = "https://shop.brightleaf.example/"
BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
SETTINGS = saving.ProgrammeSettings(SHOP, LinkForm.SHORT, "", 30, "", "", "", "")


@pytest.fixture(autouse=True)
def no_late_counts(app):
    """Let no count of a test reach the database of the next one."""
    yield
    timer = visits.buffer_of(app)._timer
    if timer is not None:
        timer.cancel()
        timer.join(120)


@pytest.fixture
def set_shop(app, owner):
    """Return a function that saves Brightleaf's settings, with some of them changed, as its owner does."""

    def set_shop(**changes):
        saving.save_settings(account_of().id, replace(SETTINGS, **changes), now=utcnow())
        short_links.forget_targets(app)

    return set_shop


def add_affiliate(slug="brightleaf", name="Grace Hopper", mailbox="grace@example.org", **changes):
    new = new_affiliate(account_of(slug), name, mailbox, utcnow())
    new.state = AffiliateState.ACTIVE
    new.confirmed_at = new.consented_at = utcnow()
    for field, value in changes.items():
        setattr(new, field, value)
    db.session.add(new)
    db.session.commit()
    return new


@pytest.fixture
def grace(owner) -> Affiliate:
    """An active affiliate of Brightleaf."""
    return add_affiliate()


@pytest.fixture
def visit(app):
    """Return a function that opens an address as a visitor's browser does, and returns the response."""

    def visit(path, *, method="GET", address="192.0.2.7", **headers):
        sent = {"User-Agent": BROWSER, **{name.replace("_", "-"): value for name, value in headers.items()}}
        return app.test_client().open(
            path, method=method, headers=sent, environ_base={"REMOTE_ADDR": address}
        )

    return visit


@pytest.fixture
def counted(app):
    """Return a function that writes what is counted and returns the sums of an affiliate: visits, visitors, others."""

    def counted(affiliate_id):
        db.session.commit()
        visits.buffer_of(app).flush(app)
        query = select(VisitCount).where(VisitCount.affiliate_id == affiliate_id)
        rows = list(db.session.scalars(query))
        sums = tuple(sum(getattr(row, name) for row in rows) for name in ("visits", "visitors", "others"))
        db.session.rollback()
        return sums

    return counted
