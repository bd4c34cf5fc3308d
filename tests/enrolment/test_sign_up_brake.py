"""The sign-up form slows down when many networks sign up at once; the owner is told and may raise the limits."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select

from portal.accounts.models import Account
from portal.clock import utcnow
from portal.db import db
from portal.enrolment import min_fill_time, sign_up_brake, signup
from portal.incidents import monitor
from portal.incidents.models import Incident, IncidentKind
from portal.programme import saving
from tests.enrolment.support import GRACE, account_of

JOIN = "/join/brightleaf"
LIMIT = saving.DEFAULT_LIMIT


def _incidents():
    db.session.rollback()
    query = select(Incident).where(Incident.kind == IncidentKind.SIGN_UPS)
    return {one.cause: one for one in db.session.scalars(query)}


def _post(client, number, *, opened=None, network=None):
    fields = GRACE | {"mailbox": f"stranger{number}@x{number}.example"}
    if opened is not None:
        # a form counts once, and its timestamp has milliseconds
        fields["started"] = min_fill_time.issue_form_timestamp(opened - timedelta(milliseconds=number))
    address = network or f"198.51.{100 + number // 250}.{1 + number % 250}"
    return client.submit(JOIN, fields, page=JOIN, environ_base={"REMOTE_ADDR": address})


@pytest.mark.both_databases
def test_many_strangers_from_many_networks_slow_the_form_for_all(owner, client):
    assert [_post(client, number).status_code for number in range(LIMIT + 1)] == [303] * (LIMIT + 1)
    assert list(_incidents()) == [sign_up_brake.Limit.AT_ONCE]
    assert _incidents()[sign_up_brake.Limit.AT_ONCE].alert_at is not None
    assert "from many networks at once" in owner.get("/affiliates").get_data(as_text=True)
    refused = _post(client, 100)
    page = refused.get_data(as_text=True)
    assert refused.status_code == 429
    assert 0 < int(refused.headers["Retry-After"]) <= 30
    assert "Press Sign up again in" in page
    assert 'value="stranger100@x100.example"' in page
    begin = utcnow()
    lately = begin - timedelta(seconds=40)
    assert _post(client, 100, opened=begin - timedelta(seconds=31)).status_code == 303, (
        "a person waits half a minute"
    )
    assert _post(client, 101, opened=begin - timedelta(hours=3)).status_code == 429, (
        "a form of this morning is served anew"
    )
    quick = [_post(client, number, opened=lately).status_code for number in range(102, 102 + 3 * LIMIT)]
    assert quick == [303] * (3 * LIMIT - 1) + [429]
    assert "Leave this page open" in _post(client, 300, opened=lately).get_data(as_text=True)
    assert _post(client, 300, opened=begin - timedelta(seconds=601)).status_code == 303, (
        "robots do not shut out a person who waits"
    )
    fields = {"shop_url": "", "link_form": "short", "visit_days": "30", "sign_ups_per_network": "20"}
    assert owner.submit("/programme", fields | {"sign_ups_at_once": "500"}).status_code == 303
    assert _post(client, 301).status_code == 303, "the owner raised the limit"


def test_a_slow_form_is_used_once(programme, app):
    account = account_of()
    account.sign_ups_slow_until = utcnow() + timedelta(minutes=30)
    db.session.commit()
    form = sign_up_brake.OpenForm("one", 40.0)
    sign_up_brake.admit(account, form, now=utcnow())
    with pytest.raises(sign_up_brake.FormSlowed) as caught:
        sign_up_brake.admit(account, form, now=utcnow())
    assert caught.value.renew
    sign_up_brake.admit(account, sign_up_brake.OpenForm("two", 40.0), now=utcnow())
    sign_up_brake.admit(account, form, now=utcnow() + timedelta(hours=1))


@pytest.mark.both_databases
def test_a_full_network_is_refused_until_the_owner_raises_its_limit(owner, client):
    one = {"network": "192.0.2.7"}
    answers = [_post(client, number, **one).status_code for number in range(LIMIT + 1)]
    assert answers == [303] * LIMIT + [429]
    assert list(_incidents()) == [sign_up_brake.Limit.NETWORK]
    assert _post(client, 900).status_code == 303, "others sign up as before"
    fields = {"shop_url": "", "link_form": "short", "visit_days": "30", "sign_ups_at_once": "20"}
    assert owner.submit("/programme", fields | {"sign_ups_per_network": "30"}).status_code == 303
    assert _post(client, 901, **one).status_code == 303
    incident = _incidents()[sign_up_brake.Limit.NETWORK]
    incident.last_seen_at = utcnow() - timedelta(hours=2)
    db.session.commit()
    monitor.run()
    assert not _incidents()[sign_up_brake.Limit.NETWORK].is_open


def test_a_network_that_is_refused_the_confirmation_again_is_reported(owner, client):
    account_of("brightleaf").sign_ups_per_network = 5
    db.session.commit()
    path = "/join/brightleaf/send-again"
    for number in range(6):
        answer = client.submit(
            path, {"mailbox": f"a{number}@x{number}.example"}, page="/join/brightleaf/thanks"
        )
    assert answer.status_code == 429
    assert list(_incidents()) == [sign_up_brake.Limit.NETWORK]


def test_an_incident_of_a_german_form_is_stored_in_english(owner, client):
    account_of("brightleaf").language = "de"
    db.session.commit()
    for number in range(LIMIT + 1):
        refused = _post(client, number, network="192.0.2.7")
    assert '<html lang="de">' in refused.get_data(as_text=True)
    diagnosis = _incidents()[sign_up_brake.Limit.NETWORK].diagnosis
    assert diagnosis["cause"].startswith("More people than your limit allows")
    assert diagnosis["fixes"][0].startswith("If they share a network, such as at a trade fair")


def test_a_mailbox_with_too_many_emails_is_no_network_at_its_limit(owner, client):
    for number in range(4):
        fields = GRACE | {"mailbox": f"grace+{number}@example.org"}
        client.submit(JOIN, fields, page=JOIN, environ_base={"REMOTE_ADDR": f"192.0.2.{number}"})
    assert not _incidents()


def test_the_usual_sign_up_writes_nothing_for_it(programme):
    now, account = utcnow(), account_of()
    for number in range(LIMIT):
        form = sign_up_brake.OpenForm("", 0.0)
        signup.sign_up(
            "brightleaf", signup.SignUp("Ada", f"a{number}@x.example", f"n{number}", form=form), now=now
        )
    assert db.session.scalar(select(Account.sign_ups_slow_until).where(Account.id == account.id)) is None
    signup.sign_up("brightleaf", signup.SignUp("Ada", "last@x.example", "n99", form=form), now=now)
    db.session.rollback()
    assert db.session.scalar(select(Account.sign_ups_slow_until).where(Account.id == account.id)) > now
