"""The operator's page of the workers: what each works on, and the refused rows of the job store."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import func, select

from portal.clock import utcnow
from portal.db import db
from portal.jobs import backend, heartbeat, refusals
from portal.jobs.models import RefusedRow
from tests.pages import LintingClient

PAGE = "/operator/workers"


def shown(browser: LintingClient, path: str = PAGE) -> str:
    answer = browser.get(path)
    assert answer.status_code == 200
    return " ".join(answer.get_data(as_text=True).split())


def count_rows() -> int:
    db.session.rollback()
    return db.session.scalar(select(func.count()).select_from(RefusedRow)) or 0


def test_the_page_shows_what_each_worker_works_on(
    app: Flask, operator: LintingClient, stranger: LintingClient
) -> None:
    page = shown(operator)
    assert "No worker ran in the last day" in page
    assert "None stored." in page
    assert "0 emails are being sent" in page
    for parts, words in ((["mail"], "emails"), (["checks"], "checks, alerts and other jobs"), ([], "–")):
        queues = backend.names_of(backend.parts_of(parts))
        assert queues == parts
        heartbeat.record_heartbeat(utcnow(), started_at=utcnow(), threads=3, queues=queues)
        cell = re.search(r'data-label="Works on"> (.*?) </td>', shown(operator))
        assert cell
        assert re.sub(r"<[^>]+>", "", cell[1]).strip() == words
    assert stranger.get(PAGE).status_code == app.test_client().get(PAGE).status_code == 404


def test_refused_jobs_are_listed_without_their_content_bounded_and_for_a_month(
    app: Flask, operator: LintingClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refusals, "_LISTED", refusals._LISTED.__class__("listed", 52, timedelta(days=1)))
    for number in range(54):
        refusals.record(app, "mail", f"reason {number}")
    assert refusals.count(utcnow()) == 54
    assert count_rows() == 52, "a flood fills no table"
    page = shown(operator)
    assert "Workers refused 54 rows of the job store within a day." in page
    assert ("reason 51<" in page, "reason 2<" in page, "reason 1<" in page) == (True, True, False)
    older = re.search(r'href="([^"]*\?before=\d+)"', page)
    assert older
    assert "reason 1<" in shown(operator, older[1])
    refusals.delete_old(utcnow() + refusals.RETENTION - timedelta(minutes=1))
    assert count_rows() == 52
    refusals.delete_old(utcnow() + refusals.RETENTION + timedelta(minutes=1))
    assert count_rows() == 0
