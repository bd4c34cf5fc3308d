"""The operator's page of the platform's sender: a check up to the recipient, with stages and diagnosis."""

from __future__ import annotations

from dataclasses import replace

import pytest
from flask import Flask
from sqlalchemy import select

from portal.db import db
from portal.operations import platform_sender
from portal.outbox.models import OutboxMessage
from portal.state import get_state
from tests.outbox.support import answering
from tests.pages import LintingClient
from tests.settings.conftest import config, servers
from tests.settings.conftest import form as settings_form

__all__ = ["config", "servers", "settings_form"]
PAGE = "/operator/platform-sender"


def check(operator: LintingClient, status: int = 200) -> str:
    answer = operator.submit(f"{PAGE}/check", {}, page=PAGE)
    assert answer.status_code == status
    return " ".join(answer.get_data(as_text=True).split())


def test_the_check_shows_stages_or_a_diagnosis_and_sends_nothing(
    app: Flask,
    operator: LintingClient,
    stranger: LintingClient,
    servers: object,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    page = operator.get(PAGE).get_data(as_text=True)
    assert "affiliates@signet.example" in page
    assert 'class="ladder"' not in page
    page = check(operator)
    assert "All steps up to the recipient ada@brightleaf.example passed" in page
    assert "Recipient accepted" in page
    assert "Message accepted" not in page
    servers.two.script = answering(AUTH=b"535 5.7.8 Username and Password not accepted\r\n")  # type: ignore[attr-defined]
    page = check(operator)
    assert "Stopped at: Log in." in page
    assert "535 5.7.8" in page
    assert "rehearsal" not in page.partition("What went wrong")[2].partition("</section>")[0], "no password"
    assert servers.two.messages == []  # type: ignore[attr-defined]
    assert db.session.scalars(select(OutboxMessage)).all() == []
    assert stranger.get(PAGE).status_code == app.test_client().get(PAGE).status_code == 404
    assert stranger.submit(f"{PAGE}/check", {}, page="/account").status_code == 404
    limit = replace(platform_sender.PAGE_LIMIT, amount=2)
    monkeypatch.setattr(platform_sender, "PAGE_LIMIT", limit)
    assert "Wait a few minutes" in check(operator, 429)


def test_a_portal_without_a_sender_states_what_is_missing(app: Flask, operator: LintingClient) -> None:
    state = get_state(app)
    state.config = replace(state.config, platform=replace(state.config.platform, server=""))
    page = operator.get(PAGE).get_data(as_text=True)
    assert "The portal has no sender" in page
    assert operator.submit(f"{PAGE}/check", {}, page="/account").status_code == 422
