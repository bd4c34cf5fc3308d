"""A failed draft can be discarded, a running check stopped, and the form filled from the live settings again."""

from __future__ import annotations

import re
import threading
from html import unescape

from portal.operations import reseal
from portal.outbox.models import OutboxMessage, Status
from portal.settings import check
from portal.settings.models import VersionState
from portal.settings.versions import newest
from portal.smtp.diagnosis.cases import load_cases
from portal.smtp.providers import load_catalogue
from portal.web.labels import is_about_retries
from tests.outbox.support import answering, in_context, join, message, wait_for
from tests.settings.conftest import PAGE, account_id, checks, save, text_of, versions, work
from tests.smtp.badserver import mute

REFUSED = answering(AUTH=b"535 5.7.8 Username and Password not accepted\r\n")
SILENT_AFTER_EHLO = answering(EHLO=mute)


def value_of(html, name):
    """Return the value of a text field of the form."""
    field = re.search(rf'<input[^>]*\bname="{name}"[^>]*>', html)[0]
    return unescape(re.search(r'value="([^"]*)"', field)[1])


def fail_a_draft(owner, form, servers, **changes):
    servers.one.script = REFUSED
    save(owner, form, **{"password": "wrong", **changes})
    work()


def test_a_failed_draft_is_discarded_and_the_live_settings_fill_the_form(owner, live, form, servers):
    fail_a_draft(owner, form, servers, username="bo@brightleaf.example")
    page = text_of(owner.get(PAGE))
    assert "bo@brightleaf.example" in value_of(page, "username")
    assert "Discard the draft" in page
    assert owner.submit(f"{PAGE}/drafts/discard", {}, page=PAGE).status_code == 303
    page = text_of(owner.get(PAGE))
    assert value_of(page, "username") == "ada@brightleaf.example"
    assert "bo@brightleaf.example" not in page
    assert "What went wrong" not in page
    assert [version.state.value for version in versions()] == ["live", "discarded"]


def test_a_discarded_draft_has_no_password_and_keeps_its_number(owner, live, form, servers):
    fail_a_draft(owner, form, servers)
    owner.submit(f"{PAGE}/drafts/discard", {}, page=PAGE)
    assert versions()[1].sealed_password == b""
    assert not sum(usage.unreadable for usage in reseal.count_by_key().values())
    assert owner.submit(f"{PAGE}/versions/2/check", {}, page=PAGE).status_code == 404
    save(owner, form)
    assert [version.number for version in versions()] == [1, 2, 3]


def test_discarding_shows_what_fills_the_form_afterwards(owner, form, servers):
    fail_a_draft(owner, form, servers)
    assert "You start with an empty form." in text_of(owner.get(PAGE))
    owner.submit(f"{PAGE}/versions/1/activate", {}, page=PAGE)
    owner.submit(f"{PAGE}/stop", {}, page=PAGE)
    fail_a_draft(owner, form, servers, username="bo@brightleaf.example")
    page = text_of(owner.get(PAGE))
    assert "The form then shows version 1 again." in page
    assert "empty form" not in page
    owner.submit(f"{PAGE}/drafts/discard", {}, page=PAGE)
    assert value_of(text_of(owner.get(PAGE)), "username") == "ada@brightleaf.example"


def test_several_drafts_are_discarded_together(owner, form, servers):
    fail_a_draft(owner, form, servers)
    fail_a_draft(owner, form, servers)
    assert "Discard 2 drafts" in text_of(owner.get(PAGE))
    owner.submit(f"{PAGE}/drafts/discard", {}, page=PAGE)
    page = text_of(owner.get(PAGE))
    assert value_of(page, "host") == ""
    assert "version-list" not in page


def test_a_draft_is_discarded_for_its_own_account_only(owner, stranger, form, servers):
    fail_a_draft(owner, form, servers)
    stranger.submit(f"{PAGE}/drafts/discard", {}, page=PAGE)
    assert versions()[0].state is VersionState.DRAFT


def test_a_check_of_a_discarded_draft_ends_without_activating_it(owner, form):
    save(owner, form)
    owner.submit(f"{PAGE}/drafts/discard", {}, page=PAGE)
    work()
    (one,) = checks()
    assert one.state == "failed"
    assert versions()[0].state is VersionState.DISCARDED


def test_the_live_settings_fill_the_form_beside_a_draft_and_keep_their_password(owner, live, form, servers):
    fail_a_draft(owner, form, servers, username="bo@brightleaf.example")
    page = text_of(owner.get(PAGE))
    assert "Back to the live settings" in page
    page = text_of(owner.get(f"{PAGE}?from=1"))
    assert value_of(page, "username") == "ada@brightleaf.example"
    assert 'aria-invalid="true"' not in page
    servers.one.script = answering()
    answer = save(owner, form, password="", based_on=value_of(page, "based_on"), from_name="Ada")
    assert answer.status_code == 303
    work()
    assert versions()[-1].state is VersionState.LIVE


def test_an_unknown_version_to_fill_the_form_from_is_ignored(owner, live):
    for number in ("7", "x", "-1", "٣", "9" * 40, ""):
        assert value_of(text_of(owner.get(f"{PAGE}?from={number}")), "host") == "localhost"


def test_a_missing_password_is_named_together_with_the_other_missing_fields(owner, live, stranger):
    answer = stranger.submit(PAGE, {"provider": "other"})
    assert answer.status_code == 422
    for sentence in ("Enter the SMTP server", "Enter the SMTP username.", "Enter the SMTP password."):
        assert sentence in text_of(answer)
    changed = {"host": "smtp.example.com", "username": "", "port": "587", "security": "starttls"}
    answer = owner.submit(PAGE, changed)
    assert "Enter the SMTP username." in text_of(answer)
    assert "You changed the SMTP Server, so enter the SMTP password again" in text_of(answer)


def test_a_missing_password_is_named_together_with_an_invalid_server(owner, form):
    answer = save(owner, form, host="smtp_example.com", password="")
    assert "no underscore" in text_of(answer)
    assert "Enter the SMTP password." in text_of(answer)


def test_a_running_check_is_stopped_and_its_worker_leaves_the_server(app, owner, form, servers):
    servers.one.script = SILENT_AFTER_EHLO
    save(owner, form)
    thread = threading.Thread(target=in_context(app, check.run, versions()[0].id))
    thread.start()
    wait_for(lambda: b"EHLO" in bytes(servers.one.received))
    page = text_of(owner.get(PAGE))
    assert "Running for" in page
    assert "up to 300 seconds" in page
    assert owner.submit(f"{PAGE}/check/stop", {}, page=PAGE).status_code == 303
    join(thread)  # the server itself never answers
    (one,) = checks()
    assert one.state == "failed"
    page = text_of(owner.get(PAGE))
    assert "You stopped this check." in page
    assert message(one.message_id).status is Status.FAILED
    servers.one.script = answering()
    owner.submit(f"{PAGE}/versions/1/check", {}, page=PAGE)
    work()
    assert versions()[0].state is VersionState.LIVE


def test_a_check_that_has_ended_is_not_changed_by_stopping_it(owner, live):
    owner.submit(f"{PAGE}/check/stop", {}, page=PAGE)
    assert checks()[0].state == "passed"
    assert "The check had already ended." in text_of(owner.get(PAGE))


def test_a_failed_check_shows_and_announces_every_fix_and_promises_no_repetition(owner, form, servers):
    servers.one.script = answering(AUTH=lambda peer, _line: peer.disconnect())
    save(owner, form)
    work()
    page = unescape(text_of(owner.get(PAGE)))
    announced = re.search(r'data-announce="([^"]+)"', page)[1]
    for sentence in (
        "closed the connection during the log-in",
        "does not repeat a check automatically",
        "check username and password",
    ):
        assert page.count(sentence) >= 2
        assert sentence in announced
    assert "retries automatically" not in page


def test_no_fix_of_any_case_promises_repetition_of_a_check():
    cases = [*load_cases(), *(case for card in load_catalogue() for case in card.cases)]
    for case in cases:
        for sentence in (fix for fix in case.fixes if not is_about_retries(fix)):
            assert not re.search(r"tries|slows down|continues when|do not need to do anything", sentence), (
                sentence
            )


def test_a_test_email_that_failed_shows_every_fix(owner, live, servers):
    servers.one.script = answering(MAIL=b"451 4.3.0 try later\r\n")
    owner.submit(f"{PAGE}/test", {}, page=PAGE)
    work()
    (id_,) = _tests()
    page = text_of(owner.get(f"{PAGE}?test={id_}"))
    assert "The test email was not accepted" in page
    assert "retries automatically" not in page


def _tests():
    from sqlalchemy import select

    from portal.db import db

    found = list(db.session.scalars(select(OutboxMessage.id).where(OutboxMessage.is_test)))
    db.session.rollback()
    return found


def test_the_newest_version_is_never_a_discarded_one(owner, live, form, servers):
    fail_a_draft(owner, form, servers)
    owner.submit(f"{PAGE}/drafts/discard", {}, page=PAGE)
    assert newest(account_id()).number == 1
