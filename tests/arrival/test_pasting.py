"""Pasted headers are compared with what the test email was sent as, and only they say that From arrived as promised."""

from __future__ import annotations

from html import unescape
from typing import Any

import pytest
from sqlalchemy import select

from portal.arrival.models import FromOutcome, TestEmail
from portal.db import db
from portal.outbox.reference import reference_of
from portal.web.owner_limits import PASTED_HEADERS
from tests.arrival import receivers
from tests.arrival.conftest import PAGE, the_test
from tests.cases import in_one_test
from tests.pages import LintingClient
from tests.settings.conftest import text_of

pytestmark = pytest.mark.both_databases

REPLACED = "X-Google-Original-From: Brightleaf <info@brightleaf.example>\nFrom: Brightleaf <ada@gmail.com>"


def paste(browser: LintingClient, text: str) -> Any:
    return browser.submit(PAGE, {"headers": text})


@pytest.mark.parametrize("name", list(receivers.ALL))
def test_the_headers_of_each_receiver_give_the_expected_results(
    owner: LintingClient, checked: TestEmail, name: str
) -> None:
    answer = paste(owner, receivers.received(receivers.ALL[name], checked.header_id))
    assert answer.status_code == 303, text_of(answer)
    assert the_test().outcome == FromOutcome.AS_PROMISED
    page = text_of(owner.get(PAGE))
    assert "The From address arrived unchanged." in page
    assert "read all this from the headers that you pasted" in page


def test_google_s_silent_change_of_from_is_named(owner: LintingClient, checked: TestEmail) -> None:
    text = receivers.received(receivers.GMAIL, checked.header_id)
    text = text.replace("From: Brightleaf <info@brightleaf.example>", REPLACED)
    text = text.replace("@brightleaf.example header", "@gmail.com header").replace(
        "header.from=brightleaf.example", "header.from=gmail.com"
    )
    paste(owner, text)
    assert the_test().outcome == FromOutcome.REPLACED, "although DMARC passed, for gmail.com"
    page = unescape(text_of(owner.get(PAGE)))
    assert "The From address was replaced: the receiver saw ada@gmail.com." in page
    assert "Google replaced it with the mailbox that logs in." in page


@pytest.mark.parametrize(
    ("old", "new", "outcome"),
    [
        ("dmarc=pass", "dmarc=fail", FromOutcome.REFUTED),
        (
            "dmarc=pass",
            "dmarc=none",
            FromOutcome.AS_PROMISED,
        ),  # no policy; SPF and DKIM passed for the domain
        ("Authentication-Results:", "X-Results:", FromOutcome.NO_RESULTS),
    ],
)
def test_the_receiver_s_results_decide(
    owner: LintingClient, checked: TestEmail, old: str, new: str, outcome: FromOutcome
) -> None:
    paste(owner, receivers.received(receivers.GMAIL, checked.header_id).replace(old, new))
    assert the_test().outcome == outcome
    assert owner.get(PAGE).status_code == 200


def test_results_for_another_domain_do_not_vouch_without_dmarc(
    owner: LintingClient, checked: TestEmail
) -> None:
    text = receivers.received(receivers.POSTFIX, checked.header_id, path="bounce@relay.example")
    text = text.replace("header.d=brightleaf.example", "header.d=relay.example")
    text = text.replace("smtp.mailfrom=brightleaf.example", "smtp.mailfrom=relay.example")
    paste(owner, text)
    assert the_test().outcome == FromOutcome.REFUTED
    page = unescape(text_of(owner.get(PAGE)))
    assert "It passed for another domain" in page
    assert "Your provider uses its own address, so that bounces reach it." in page


def test_a_provider_that_replaces_the_message_id_is_matched_by_the_id_of_its_acceptance(
    owner: LintingClient, checked: TestEmail
) -> None:
    db.session.get_one(TestEmail, checked.id).queue_id = "0100018c-abcd-000000"
    db.session.commit()
    paste(owner, receivers.received(receivers.GMAIL, "<0100018c-abcd-000000@email.amazonses.com>"))
    assert the_test().outcome == FromOutcome.AS_PROMISED
    assert "by another of its references" in text_of(owner.get(PAGE))


def test_a_replaced_message_id_does_not_matter_where_the_reference_is_kept(
    owner: LintingClient, checked: TestEmail
) -> None:
    text = receivers.received(receivers.GMAIL, "<replaced@relay.example>")
    answer = paste(owner, f"X-Signet-Ref: {reference_of(checked.message_id)}\n{text}")
    assert answer.status_code == 303
    assert the_test().outcome == FromOutcome.AS_PROMISED
    assert paste(owner, f"X-Signet-Ref: {'0' * 32}\n{text}").status_code == 422


def test_new_headers_replace_what_the_former_ones_said(owner: LintingClient, checked: TestEmail) -> None:
    text = receivers.received(receivers.GMAIL, checked.header_id)
    paste(owner, text.replace("dmarc=pass", "dmarc=fail"))
    paste(owner, text)
    assert the_test().outcome == FromOutcome.AS_PROMISED


@in_one_test(
    ("text", "sentence"),
    [
        ("", "Paste the headers of the test email."),
        ("hello", "These headers are incomplete"),
        ("From: a@b.example\nSubject: x", "These headers are incomplete"),
        ("Message-ID: <a@b>\nSubject: x", "These headers are incomplete"),
        (
            receivers.received(receivers.GMAIL, "<other@brightleaf.example>"),
            "do not belong to a test email of this account",
        ),
        ("x" * 100_001, "100000 characters or fewer"),
        ("Message-ID: \x00\nFrom: \x07a@b.example", "These headers are incomplete"),
        ("Message-ID: <a\x00@b>\nFrom: a@b.example", "do not belong to a test email of this account"),
    ],
)
def test_other_texts_are_refused_beside_the_field_and_kept(
    owner: LintingClient, checked: TestEmail, text: str, sentence: str
) -> None:
    answer = paste(owner, text)
    assert answer.status_code == 422
    page = unescape(text_of(answer))
    assert sentence in page
    assert text[:10] in page
    assert the_test().outcome == ""


def test_the_headers_of_another_account_match_nothing(
    owner: LintingClient, stranger: LintingClient, checked: TestEmail
) -> None:
    assert paste(stranger, receivers.received(receivers.GMAIL, checked.header_id)).status_code == 422
    assert the_test().outcome == ""


def test_only_so_many_headers_are_read_in_an_hour(owner: LintingClient, checked: TestEmail) -> None:
    text = receivers.received(receivers.GMAIL, "<other@x>")
    answers = [paste(owner, text).status_code for _ in range(PASTED_HEADERS.amount + 1)]
    assert answers == [422] * PASTED_HEADERS.amount + [429]


def test_the_headers_themselves_are_not_stored(owner: LintingClient, checked: TestEmail) -> None:
    marked = receivers.received(receivers.GMAIL, checked.header_id).replace(
        "Subject: Welcome", "Subject: Zmark"
    )
    paste(owner, marked)
    db.session.rollback()
    row = db.session.execute(select(TestEmail.__table__)).one()
    assert "Zmark" not in repr(row)
    assert "192.0.2.10" not in repr(row)
