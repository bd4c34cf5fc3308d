"""The operator's page of one account, and that of invitations."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
import time_machine
from flask import Flask
from sqlalchemy import delete, select

from portal.accounts import invitations, standing
from portal.accounts.models import Account, OwnerSession, RegistrationInvitation
from portal.accounts.profile import set_operator
from portal.accounts.registration import create_owner
from portal.affiliates import platform_screen
from portal.clock import utcnow
from portal.db import db
from portal.operations import people
from portal.outbox.queue import get_queue
from portal.settings.models import SmtpSettings, VersionState
from tests.accounts.people import Team, make_team
from tests.accounts.people import id_of as id_of_person
from tests.operations.conftest import id_of
from tests.outbox.support import enqueue_message, start_drain
from tests.pages import LintingClient

LINK = re.compile(r"http://127\.0\.0\.1(/register/invited/[\w-]+)")
PAGE = "/operator/invitations"


def shown(browser: LintingClient, path: str) -> str:
    answer = browser.get(path)
    assert answer.status_code == 200
    return " ".join(answer.get_data(as_text=True).split())


def invite(*mailboxes: str) -> None:
    for mailbox in mailboxes:
        invitations.invite(mailbox, link=invitations.link_to, now=utcnow())


def ids() -> list[int]:
    db.session.rollback()
    return list(db.session.scalars(select(RegistrationInvitation.id).order_by(RegistrationInvitation.id)))


def test_the_page_shows_the_people_with_roles_and_log_ins(
    app: Flask, operator: LintingClient, stranger: LintingClient
) -> None:
    path = f"/operator/accounts/{id_of('copperpot')}"
    page = shown(operator, path)
    for text in ("Bo Larsen", "bo@copperpot.example", "Owner", "Contact", "One person"):
        assert text in page
    assert 'data-copy="mailbox-1"' in page
    assert re.search(r"last seen <time [^>]*>just now</time> <span class=\"ago\">", page), (
        "and the exact time"
    )
    assert path in shown(operator, "/operator/accounts"), "the list leads to it"
    db.session.execute(
        delete(OwnerSession).where(OwnerSession.owner_id == id_of_person("bo@copperpot.example"))
    )
    db.session.commit()
    assert "none stored" in shown(operator, path)
    assert operator.get("/operator/accounts/999999").status_code == 404
    assert stranger.get(path).status_code == app.test_client().get(path).status_code == 404


def test_many_people_have_pages(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    team: Team = make_team(app)
    assert set_operator("ada@brightleaf.example", operator=True)
    monkeypatch.setattr(people, "PAGE_SIZE", 2)
    path = f"/operator/accounts/{id_of('brightleaf')}"
    first, second = shown(team.owner, path), shown(team.owner, f"{path}?page=2")
    assert ("Eve Quill" in first, "Vic Glass" in first) == (True, False)
    assert ("Eve Quill" in second, "Vic Glass" in second) == (False, True)
    assert "Vic Glass" in shown(team.owner, f"{path}?page=9")
    assert "3 people" in first


def test_an_invitation_gets_a_new_link_that_ends_the_earlier_one(app: Flask, operator: LintingClient) -> None:
    assert "No open invitations" in shown(operator, PAGE)
    first = invitations.invite("cy@dovetail.example", link=invitations.link_to, now=utcnow())
    (old,) = ids()
    answer = operator.submit(f"{PAGE}/{old}/renew", {}, page=PAGE)
    (path,) = LINK.findall(answer.get_data(as_text=True))
    assert "cy@dovetail.example" in app.test_client().get(path).get_data(as_text=True)
    assert app.test_client().get(first.removeprefix("http://127.0.0.1")).status_code == 404
    page = shown(operator, PAGE)
    assert "cy@dovetail.example" in page
    assert "/register/invited/" not in page
    with time_machine.travel(utcnow() + timedelta(days=8), tick=False):
        assert ">Ended<" in shown(operator, PAGE)


def test_an_invitation_is_withdrawn_and_long_lists_have_pages(
    app: Flask, operator: LintingClient, stranger: LintingClient
) -> None:
    invite(*(f"n{number}@dovetail.example" for number in range(52)))
    page = shown(operator, PAGE)
    assert ("n51@" in page, "n2@" in page, "n1@" in page) == (True, True, False)
    older = re.search(r'href="([^"]*\?before=\d+)"', page)
    assert older
    assert "n1@dovetail.example" in shown(operator, older[1])
    link = invitations.invite("z@dovetail.example", link=invitations.link_to, now=utcnow())
    last = ids()[-1]
    for action in ("renew", "withdraw"):
        assert stranger.submit(f"{PAGE}/{last}/{action}", {}, page="/account").status_code == 404
    assert stranger.get(PAGE).status_code == 404
    assert operator.submit(f"{PAGE}/{last}/withdraw", {}, page=PAGE).status_code == 303
    assert app.test_client().get(link.removeprefix("http://127.0.0.1")).status_code == 404
    assert operator.submit(f"{PAGE}/{last}/withdraw", {}, page=PAGE).status_code == 404


def test_a_person_who_registered_meanwhile_gets_no_new_link(operator: LintingClient, app: Flask) -> None:
    invite("cy@dovetail.example")
    create_owner("Dovetail", "Cy", "cy@dovetail.example", "a long password of Cy", now=utcnow())
    db.session.commit()
    answer = operator.submit(f"{PAGE}/{ids()[0]}/renew", {}, page=PAGE, follow_redirects=True)
    assert "already registered" in answer.get_data(as_text=True)


def test_the_operator_limits_what_the_platform_s_sender_carries(
    app: Flask, operator: LintingClient, stranger: LintingClient
) -> None:
    account_id = id_of("copperpot")
    path = f"/operator/accounts/{account_id}"
    assert "without a limit" in shown(operator, path)
    for wrong in ("-1", "1.5", "many", "1000001", "99999999999"):
        answer = operator.submit(f"{path}/limit", {"per_day": wrong}, page=path)
        assert answer.status_code == 422
        assert 'id="per_day-error"' in answer.get_data(as_text=True)
    assert operator.submit(f"{path}/limit", {"per_day": "1"}, page=path).status_code == 303
    page = shown(operator, path)
    assert "0 of 1 emails in 24 hours" in page
    assert 'value="1"' in page
    queue = get_queue(account_id)
    assert platform_screen.gate(queue, utcnow()) == 1
    enqueue_message(account_id, "one")
    start_drain(account_id)
    assert platform_screen.gate(get_queue(account_id), utcnow()) == 0, "what is being sent counts"
    assert "1 of 1 emails" in shown(operator, path)
    assert operator.submit(f"{path}/limit", {"per_day": "0"}, page=path).status_code == 303
    assert operator.submit(f"{path}/limit", {"per_day": ""}, page=path).status_code == 303
    assert platform_screen.gate(get_queue(account_id), utcnow()) is None
    assert stranger.submit(f"{path}/limit", {"per_day": "9"}, page="/account").status_code == 404
    assert operator.submit("/operator/accounts/999999/limit", {"per_day": "9"}, page=path).status_code == 404


def test_a_limit_of_an_operator_takes_the_place_of_that_of_unapproved_accounts(
    app: Flask, operator: LintingClient, stranger: LintingClient
) -> None:
    account_id = id_of("copperpot")
    account = db.session.get_one(Account, account_id)
    account.approved_at = None
    assert standing.platform_limit(account) == 100
    account.platform_per_day = 7
    assert standing.platform_limit(account) == 7
    db.session.commit()
    assert "up to 7 emails a day" in shown(stranger, "/account"), "the banner states the limit that applies"
    account = db.session.get_one(Account, account_id)
    version = SmtpSettings(
        account_id=account_id, number=1, host="smtp.x.example", port=587, security="starttls"
    )
    version.mechanism, version.username, version.sealed_password = "automatic", "bo@x.example", b"x"
    version.domain, version.wrapped_user, version.state = "x.example", "info", VersionState.LIVE
    version.password_saved_at = version.created_at = utcnow()
    db.session.add(version)
    db.session.flush()
    assert standing.platform_limit(account) is None, "its own server has no such limit"
    version.failover_since = utcnow()
    db.session.flush()
    assert standing.platform_limit(account) == 7, "in a failover the platform's sender carries the emails"
