"""Migration of a database without events: affiliates are kept, and each gets the event of its sign-up."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from portal import bootstrap, create_app
from portal.affiliates import page_keys
from portal.affiliates.models import AffiliateState
from portal.db import db
from portal.enrolment import listing, signup_rules
from portal.events import event_log
from portal.events.models import EmailDecision
from portal.events.types import EventType
from tests.conftest import make_config
from tests.enrolment.support import account_of
from tests.migrations import make_tables

pytestmark = [pytest.mark.both_databases, pytest.mark.empty_database]
THEN = "2026-03-02 09:00:00+00:00"
_ROWS = (
    "INSERT INTO account (id, slug, name, created_at) VALUES (1, 'brightleaf', 'Brightleaf', :then)",
    "INSERT INTO affiliate (id, account_id, name, mailbox, mailbox_key, code, dashboard_key, consented_at, created_at)"
    " VALUES (7, 1, 'Grace HOPPER', 'Grace@example.org', 'grace@example.org', 'GRACE42K', 'd7', :then, :then),"
    " (8, 1, 'Sia', 'sia@example.org', 'sia@example.org', 'SIA42KKK', 'd8', :then, :then)",
    "INSERT INTO outbox_message (id, account_id, kind, key, recipient, recipient_name, subject, text, html, private,"
    " urgent, status, attempts, created_at, next_attempt_at) VALUES (70, 1, 'new-sign-up', 'new-sign-up:7',"
    " 'Grace@example.org', 'Grace HOPPER', 'Welcome', 'Hello', '', false, false, 'sent', 1, :then, :then)",
)


def test_affiliates_without_events_stay_active_and_get_a_sign_up_event(tmp_path):
    app = create_app(make_config(tmp_path / "instance"))
    with app.app_context():
        make_tables("0001")
        with db.engine.begin() as connection:
            for statement in _ROWS:
                connection.execute(sa.text(statement), {"then": THEN})
    bootstrap.migrate(app)
    with app.app_context():
        account = account_of()
        assert account.time_zone == "UTC"
        assert signup_rules.get_rules(account.id) == signup_rules.Rules(auto_approve=True, confirm=False)
        [sia, grace] = listing.list_affiliates(account).rows
        assert {sia.affiliate.state, grace.affiliate.state} == {AffiliateState.ACTIVE}
        keys = [page_keys.open_keys(one.affiliate) for one in (sia, grace)]
        assert [one.dashboard for one in keys] == ["d8", "d7"]
        assert keys[0].preferences != keys[1].preferences
        found = listing.list_affiliates(account, listing.AffiliateFilters(search="hopper")).rows
        assert [one.affiliate.id for one in found] == [7]
        events = event_log.list_events(account.id).rows
        assert {one.type for one in events} == {EventType.SIGNED_UP}
        assert [one.affiliate_id for one in events] == [8, 7]
        assert [one.created_at for one in events] == [grace.affiliate.created_at] * 2
        mails = event_log.emails_by_event(one.id for one in events)
        welcomes = {mails[one.id][0].recipient: mails[one.id][0] for one in events}
        for mailbox, message_id, decision in (
            ("Grace@example.org", 70, EmailDecision.QUEUED),
            ("sia@example.org", None, EmailDecision.OFF),
        ):
            assert (welcomes[mailbox].message_id, welcomes[mailbox].decision) == (message_id, decision)
        db.session.remove()
        db.engine.dispose()
