"""Home: the sending status, the steps of a new account, what waits, and the figures of the week."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta

from sqlalchemy import select, update

from portal.accounts.models import Account
from portal.affiliates.models import Affiliate, AffiliateState
from portal.clock import utcnow
from portal.db import db
from portal.domains.models import DomainStatus
from portal.enrolment import signup_rules
from portal.home import checklist, figures
from portal.incidents.models import Incident, IncidentKind
from portal.outbox.models import OutboxMessage, Status
from portal.outbox.queue import get_queue
from portal.status.model import Code, Facts, SendingStatus, StatusItem, Through, Tone
from portal.status.sending import status_of
from tests.accounts.people import make_team
from tests.outbox.support import enqueue_message


def home(browser):
    answer = browser.get("/")
    assert answer.status_code == 200
    return " ".join(answer.get_data(as_text=True).split())


def account():
    return db.session.scalars(select(Account)).one()


def sign_up(browser, name):
    fields = {"name": name, "mailbox": f"{name.lower()}@visitors.example", "consent": "y"}
    assert browser.submit("/join/brightleaf", fields).status_code == 303


def open_steps(html):
    return re.findall(r'class="check-item" data-step="(\w+)"', html)


def test_a_newcomer_sees_the_status_the_providers_and_no_figures(app, owner, client):
    html = home(owner)
    assert 'data-code="no-worker"' in html
    assert open_steps(html) == ["connect", "arrival", "records", "design", "shop", "share"]
    assert 'href="/settings/set-up/mailgun"' in html
    assert "Nothing yet." in html
    assert "Waiting for you" not in html
    assert client.get("/").location == "/log-in?next=/"
    # A step is done as soon as its state is.
    db.session.execute(update(Account).values(shop_url="https://shop.brightleaf.example/"))
    db.session.commit()
    sign_up(client, "Mae")
    html = home(owner)
    assert open_steps(html) == ["connect", "arrival", "records", "design"]
    assert "2 of 6 steps are done." in html


def test_a_viewer_sees_who_can_take_the_steps(app):
    team = make_team(app)
    html = home(team.viewer)
    assert len(open_steps(html)) == 6
    assert "/settings/set-up" not in html
    assert "Only owners can change this." in html
    assert "Only owners and editors can change this." in html
    assert "/settings/set-up" not in home(team.editor)


def test_the_checklist_goes_away_when_all_is_done(app, owner, client):
    db.session.execute(update(Account).values(shop_url="https://shop.brightleaf.example/"))
    db.session.commit()
    sign_up(client, "Mae")
    owner.submit("/automated-emails/look", {"accent": "#7a1f3d", "footer": "Brightleaf, Harbour Street 1"})
    now = utcnow()
    facts = Facts(through=Through.OWN, received_at=now, domain_status=DomainStatus.ARRIVES)
    status = SendingStatus(facts, (), "")
    id_ = account().id
    assert checklist.steps(id_, status) == []
    practice = replace(status, missing=(StatusItem(Code.PRACTICE, Tone.INFO, "It is practice."),))
    assert not checklist.is_connected(practice)
    at_risk = replace(status, facts=replace(facts, domain_status=DomainStatus.AT_RISK))
    assert [one.key for one in checklist.steps(id_, at_risk) if not one.is_done] == ["records"]
    assert not checklist.is_connected(status_of(id_))


def test_the_sign_up_page_is_offered_while_it_answers(app, owner, client):
    sign_up(client, "Mae")
    assert "People use it to sign up as your affiliates." in home(owner)
    db.session.execute(update(Account).values(suspended_at=utcnow()))
    db.session.commit()
    assert client.get("/join/brightleaf").status_code == 503
    assert "People use it to sign up as your affiliates." not in home(owner)


def test_the_checklist_names_the_approval_where_the_programme_decides(app, owner):
    assert "you get its email" in home(owner)
    signup_rules.save_rules(account().id, signup_rules.Rules(auto_approve=False))
    html = home(owner)
    assert "Then approve your application." in html
    assert "you get its email" not in html


def test_the_checklist_links_no_sign_up_page_before_the_approval(app, owner):
    db.session.execute(update(Account).values(approved_at=None, is_waiting=True))
    db.session.commit()
    html = home(owner)
    assert "Your sign-up page is closed until the operator of this portal approves your account." in html
    assert "/join/brightleaf" not in html


def test_what_waits_and_the_figures_of_the_week(app, owner, client):
    id_ = account().id
    sign_up(client, "Mae")
    sign_up(client, "Noor")
    db.session.execute(update(Affiliate).values(state=AffiliateState.PENDING))
    sent = enqueue_message(id_, "sign-up:1")
    failed = enqueue_message(id_, "sign-up:2")
    now = utcnow()
    for message, status in ((sent, Status.SENT), (failed, Status.FAILED)):
        row = db.session.get(OutboxMessage, message)
        row.status, row.settled_at = status, now
    db.session.add(
        Incident(
            account_id=id_,
            kind=IncidentKind.SENDING,
            cause="silent",
            diagnosis={"cause": "The server is silent.", "fixes": []},
            opened_at=now,
            episode_started_at=now,
            last_seen_at=now,
        )
    )
    get_queue(id_).held_at = now
    db.session.commit()
    html = home(owner)
    assert "2 affiliates are waiting for your approval." in html
    assert 'href="/affiliates?status=pending"' in html
    assert "on hold" in html
    assert "See the incident" in html
    week = figures.read(id_, now=now)
    assert (week.sent, week.failed, week.sign_ups) == (1, 1, 2)
    assert (week.delivered, week.visits) == (None, None)
    later = figures.read(id_, now=now + timedelta(days=8))
    assert later.is_empty
