"""The operator's page of accounts."""

from __future__ import annotations

import re

import pytest
from flask import Flask
from sqlalchemy import select

from portal.accounts.models import Account
from portal.accounts.standing import AccountState, state_of
from portal.db import db
from portal.status.labels import CODE_LABELS
from portal.status.model import Code
from tests.operations.conftest import id_of
from tests.pages import LintingClient

PAGE = "/operator/accounts"


def shown(browser: LintingClient) -> str:
    response = browser.get(PAGE)
    assert response.status_code == 200
    return " ".join(response.get_data(as_text=True).split())


def copperpot() -> Account:
    db.session.rollback()
    return db.session.scalars(select(Account).where(Account.slug == "copperpot")).one()


def press(operator: LintingClient, button: str, **fields: str) -> None:
    answer = operator.submit(f"{PAGE}/{id_of('copperpot')}/{button}", fields, page=PAGE)
    assert answer.status_code == 303


def test_the_page_lists_every_account(operator: LintingClient, stranger: LintingClient) -> None:
    page = shown(operator)
    for text in ("Brightleaf", "Copperpot", "bo@copperpot.example", "affiliates@signet.example", "Active"):
        assert text in page
    assert len(re.findall(r'data-code="[a-z-]+"', page)) >= 2, "the sending status of each account"
    assert ">no-worker<" not in page
    assert page.count(">No worker<") == 2, "in words"
    assert '>Suspend<span class="visually-hidden"> copperpot</span></summary>' in page
    operator.submit("/account/language", {"language": "de"}, page="/account")
    german = shown(operator)
    assert '>Stilllegen<span class="visually-hidden"> copperpot</span></summary>' in german
    assert "Aussetzen" not in german, "the word for affiliates"


def test_each_sending_status_has_words() -> None:
    assert set(CODE_LABELS) == set(Code)


@pytest.mark.parametrize("button", ["approve", "suspend", "resume"])
def test_other_owners_neither_see_the_page_nor_decide(
    app: Flask, operator: LintingClient, stranger: LintingClient, button: str
) -> None:
    assert stranger.get(PAGE).status_code == 404
    path = f"{PAGE}/{id_of('copperpot')}/{button}"
    assert stranger.submit(path, {}, page="/account").status_code == 404
    assert stranger.submit(f"{PAGE}/invite", {"mailbox": "c@d.example"}, page="/account").status_code == 404
    assert app.test_client().get(PAGE).status_code == 404
    assert state_of(copperpot()) is AccountState.ACTIVE


def test_the_operator_suspends_and_resumes_an_account(
    operator: LintingClient, stranger: LintingClient
) -> None:
    press(operator, "suspend", reason="Many complaints")
    assert state_of(copperpot()) is AccountState.SUSPENDED
    assert "Many complaints" in shown(operator)
    assert "Many complaints" in stranger.get("/deliveries").get_data(as_text=True)
    press(operator, "resume")
    assert state_of(copperpot()) is AccountState.ACTIVE


def test_the_operator_approves_an_account(operator: LintingClient, stranger: LintingClient) -> None:
    account = copperpot()
    account.approved_at, account.is_waiting = None, True
    db.session.commit()
    assert "Waiting for approval" in shown(operator)
    press(operator, "approve")
    assert copperpot().approved_at is not None
    assert "Waiting for approval" not in shown(operator)


def test_an_unknown_account_is_not_found(operator: LintingClient) -> None:
    assert operator.submit(f"{PAGE}/999999/suspend", {}, page=PAGE).status_code == 404


def test_the_operator_invites_a_person(app: Flask, operator: LintingClient) -> None:
    answer = operator.submit(f"{PAGE}/invite", {"mailbox": "cy@dovetail.example"}, page=PAGE)
    (path,) = re.findall(r"http://127\.0\.0\.1(/register/invited/[\w-]+)", answer.get_data(as_text=True))
    assert "cy@dovetail.example" in app.test_client().get(path).get_data(as_text=True)
    assert "/register/invited/" not in shown(operator), "the link is shown once"


@pytest.mark.parametrize("mailbox", ["", "nobody", "ada@brightleaf.example"])
def test_an_invitation_to_an_invalid_or_known_mailbox_has_an_error(
    operator: LintingClient, mailbox: str
) -> None:
    answer = operator.submit(f"{PAGE}/invite", {"mailbox": mailbox}, page=PAGE)
    assert answer.status_code == 422
    assert 'id="mailbox-error"' in answer.get_data(as_text=True)
