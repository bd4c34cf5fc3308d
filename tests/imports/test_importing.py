"""An import from the upload to the emails: preview, nothing or all that is valid, a crash, a second click, no platform."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa

from portal import create_app
from portal.affiliates import platform_screen, suppressions
from portal.affiliates.consent import AgreementWay
from portal.affiliates.models import Affiliate, AffiliateState, SuppressionReason
from portal.clock import utcnow
from portal.db import db, readiness
from portal.db.migrate import downgrade, upgrade
from portal.enrolment.signup import new_affiliate
from portal.imports import checking, mailing, running, uploads
from portal.imports.models import AffiliateImport, ImportState
from portal.imports.reading import read_rows
from portal.outbox.models import OutboxMessage
from portal.outbox.queue import is_own_server_only
from portal.outbox.store.types import Claim, QueuedMessage
from portal.privacy import erasing
from portal.settings import credentials
from portal.settings.models import SmtpSettings, VersionState
from portal.web import owner_limits
from tests.conftest import make_config
from tests.enrolment.support import account_of, messages, path_in
from tests.migrations import make_tables
from tests.pages import downloaded
from tests.test_account_states_migration import _fill, _triggers
from tests.test_plain_names import _tables

HEAD = "Name,Email,Code,Consent date,Unsubscribed\n"


def upload(owner, text, name="affiliates.csv", **fields):
    page = owner.get("/affiliates/import").get_data(as_text=True)
    hidden = dict(re.findall(r'name="(csrf_token|key)"[^>]*value="([^"]+)"', page))
    file = (io.BytesIO(text if isinstance(text, bytes) else text.encode()), name)
    data = {**hidden, "file": file, **fields}
    return owner.post("/affiliates/import", data=data, content_type="multipart/form-data")


def choose(owner, path, **changes):
    """Send the form of the columns as it stands, with changes."""
    page = owner.get(path).get_data(as_text=True)
    fields = {"has_headings": "y", "date_order": "day", "hours": "8", "consent_source": "our old system"}
    for name, options in re.findall(r'<select[^>]*name="(\w+)"(.*?)</select>', page, re.S):
        chosen = re.search(r'<option selected value="([^"]*)"', options)
        fields[name] = chosen[1] if chosen else ""
    return owner.submit(path, fields | changes, page=path)


def own_server(account_id):
    now = utcnow()
    row = SmtpSettings(account_id=account_id, number=1, host="smtp.example.com", port=587, security="starttls",
                       mechanism="auto", username="ada", domain="brightleaf.example", wrapped_user="info",
                       state=VersionState.LIVE, created_at=now)  # fmt: skip
    row.password_saved_at = now
    credentials.seal(row, "a password")
    db.session.add(row)
    db.session.commit()
    return row


def only_import():
    db.session.rollback()
    return db.session.scalars(sa.select(AffiliateImport).execution_options(populate_existing=True)).one()


def stored():
    db.session.rollback()
    rows = db.session.scalars(sa.select(Affiliate).order_by(Affiliate.id))
    return {row.mailbox: row for row in rows}


@pytest.mark.both_databases
def test_an_import_keeps_codes_records_consent_and_writes_to_those_it_should(owner, stranger, client):
    account_id = account_of().id
    suppressions.suppress(account_id, "bounced@x.example", SuppressionReason.BOUNCED, now=utcnow())
    suppressions.suppress(account_id, "quiet@x.example", SuppressionReason.BOUNCED, now=utcnow())
    db.session.commit()
    lines = [
        "Ada Agreed,ada@x.example,ada-code,2026-01-02,no",
        "Ben Asked,ben@x.example,,,",
        "Cleo Quiet,cleo@x.example,,02.03.2025,yes",
        "Quiet Bounce,quiet@x.example,,2026-01-02,",
        "Bounced,bounced@x.example,,,",
        "No Address,,,,",
        "Ada Again,ADA@x.example,,,",
    ]
    answer = upload(owner, HEAD + "\n".join(lines))
    assert answer.status_code == 303
    path = answer.location
    assert stranger.get(path).status_code == 404
    assert client.get(path).status_code == 303
    assert choose(owner, path, welcome="y").status_code == 303
    page = owner.get(path).get_data(as_text=True)
    for text in ("your own server only", "Your own server does not send yet", "is on your list of blocked addresses",
                 "email address is missing", "The same address is in line 2", "within 8 hours"):  # fmt: skip
        assert text in page, text
    file = downloaded(owner, f"{path}/faults.csv").get_data(as_text=True).removeprefix("\ufeff")
    assert [row[:1] + row[2:4] for row in csv.reader(io.StringIO(file))][1:] == [
        ["6", "Bounced", "bounced@x.example"],
        ["7", "No Address", ""],
        ["8", "Ada Again", "ADA@x.example"],
    ]

    # Nothing is added while the own server does not send, nor with faults unless the owner asks for the valid lines.
    assert owner.submit(f"{path}/start", {"lines": "valid"}, page=path).status_code == 422
    own_server(account_id)
    refused = owner.submit(f"{path}/start", {"lines": "all"}, page=path)
    assert (refused.status_code, "nothing was added" in refused.get_data(as_text=True)) == (422, True)
    assert stored() == {}
    for _ in range(2):  # a second click
        assert owner.submit(f"{path}/start", {"lines": "valid"}, page="/affiliates/import").status_code == 303
    row = only_import()
    assert (row.state, running.find_work(utcnow())) == (ImportState.ADDING, [(uploads.JOB, row.id)])
    running.run(row.id)
    running.run(row.id)
    found = stored()
    assert set(found) == {"ada@x.example", "ben@x.example", "cleo@x.example", "quiet@x.example"}
    ada, ben = found["ada@x.example"], found["ben@x.example"]
    assert (ada.code, ada.state, ada.consent_way) == (
        "ada-code",
        AffiliateState.ACTIVE,
        AgreementWay.ELSEWHERE,
    )
    assert (ada.consent_source, f"{ada.consented_at:%Y-%m-%d}") == ("our old system", "2026-01-02")
    assert (ben.state, ben.consented_at) == (AffiliateState.UNCONFIRMED, None)
    unsubscribed = suppressions.find_suppression(account_id, "cleo@x.example")
    assert unsubscribed.reason is SuppressionReason.UNSUBSCRIBED
    row = only_import()
    assert (row.added, row.left_out, row.emails, row.text) == (4, 3, 2, "")
    assert "Sends emails" in owner.get(path).get_data(as_text=True)

    # Each step queues some of the emails, none twice, and none to the owner.
    for step in range(4):
        assert (
            mailing.find_work(utcnow() + timedelta(hours=step + 1)) or only_import().state is ImportState.DONE
        )
        db.session.execute(sa.update(AffiliateImport).values(next_mail_at=utcnow()))
        db.session.commit()
        mailing.run(row.id)
        mailing.run(row.id)  # the job is repeated
    row = only_import()
    assert (row.state, row.queued) == (ImportState.DONE, 2)
    queued = db.session.scalars(sa.select(OutboxMessage).order_by(OutboxMessage.id)).all()
    by_recipient = sorted((one.recipient, one.kind) for one in queued)
    assert by_recipient == [
        ("ada@x.example", "new-sign-up"),
        ("ben@x.example", "confirm-sign-up"),
    ]
    assert all(is_own_server_only(one.key) for one in queued)
    assert "By your import" in owner.get(f"/affiliates/{ada.id}").get_data(as_text=True)

    # Who confirms is active at once: the import was the owner's approval.
    link = path_in("confirm-sign-up", "confirm-sign-up")
    assert "With this button you agree" in client.get(link).get_data(as_text=True)
    client.submit(link, {})
    ben = stored()["ben@x.example"]
    assert (ben.state, ben.consent_way) == (AffiliateState.ACTIVE, AgreementWay.CONFIRMATION)

    # The same file again adds no person; an erased person is not added.
    result = erasing.erase(account_id, ada.id, by="Ada", now=utcnow())
    erasing.run(result.erasure.id)
    again = upload(owner, HEAD + "\n".join(lines[:2]))
    page = owner.get(again.location).get_data(as_text=True)
    assert "This person was erased" in page
    assert "already on your list" in page
    assert owner.submit(f"{again.location}/start", {"lines": "valid"}, page=again.location).status_code == 422


def test_who_unsubscribed_elsewhere_or_here_gets_no_email(owner):
    account_id = account_of().id
    own_server(account_id)
    suppressions.suppress(account_id, "here@x.example", SuppressionReason.UNSUBSCRIBED, now=utcnow())
    db.session.commit()
    lines = [
        "Quiet Ada,ada@x.example,,,yes",
        "Quiet Ben,ben@x.example,,2026-01-02,yes",
        "Cleo,here@x.example,,,",
    ]
    path = upload(owner, HEAD + "\n".join(lines)).location
    choose(owner, path, welcome="y")
    assert "This person unsubscribed" in owner.get(path).get_data(as_text=True)
    owner.submit(f"{path}/start", {"lines": "valid"}, page=path)
    running.run(only_import().id)
    assert set(stored()) == {"ben@x.example"}
    assert (only_import().emails, only_import().state) == (0, ImportState.DONE)


def test_a_worker_that_dies_repeats_no_line_and_a_stopped_import_adds_no_more(owner, monkeypatch):
    monkeypatch.setattr(running, "BATCH", 3)
    text = "Email,Consent date\n" + "".join(f"a{number}@x.example,2026-01-02\n" for number in range(10))
    path = upload(owner, text).location
    choose(owner, path)
    owner.submit(f"{path}/start", {"lines": "all"}, page=path)
    row = only_import()
    now = utcnow()
    lines = running.read_lines(read_rows(row.text), running.Choices.load(row.choices), now)
    assert running._add_batch(row.id, lines, now)  # and the worker dies
    assert len(stored()) == 3
    assert "Line 3 of 10" in owner.get(path).get_data(as_text=True)
    running.run(row.id)
    assert (len(stored()), only_import().state) == (10, ImportState.DONE)
    assert messages("new-sign-up") == []

    more = upload(owner, text.replace("a", "b")).location
    owner.submit(f"{more}/stop", {}, page=more)
    stopped = db.session.scalars(sa.select(AffiliateImport).order_by(AffiliateImport.id.desc())).first()
    assert (stopped.state, stopped.text) == (ImportState.STOPPED, "")
    running.run(stopped.id)
    assert len(stored()) == 10
    assert downloaded(owner, f"{more}/faults.csv").status_code == 404


def test_the_emails_wait_for_the_own_server_and_never_leave_through_the_platform(owner):
    account_id = account_of().id
    server_id = own_server(account_id).id
    path = upload(owner, "Email\na@x.example\n").location
    owner.submit(f"{path}/start", {"lines": "all"}, page=path)
    row = only_import()
    row_id = row.id
    running.run(row_id)
    db.session.get_one(SmtpSettings, server_id).failover_since = utcnow()
    db.session.commit()
    mailing.run(row.id)
    row = only_import()
    assert (row.queued, row.state) == (0, ImportState.MAILING)
    assert row.next_mail_at > utcnow() + timedelta(minutes=5)
    db.session.get_one(SmtpSettings, server_id).failover_since = None
    row.next_mail_at = utcnow()
    db.session.commit()
    mailing.run(row.id)
    [message] = db.session.scalars(sa.select(OutboxMessage)).all()
    values = {name: getattr(message, name) for name in QueuedMessage._fields}
    claims = [Claim(QueuedMessage(**values), "t"), Claim(QueuedMessage(**values | {"key": "event:1"}), "t")]
    account_of().approved_at = utcnow()
    db.session.commit()
    platform_screen.screen(account_id, claims, utcnow())
    assert claims[0].refusal.diagnosis["code"] == "own-server-only"
    assert claims[0].refusal.retry_at > utcnow()
    assert claims[1].refusal is None


def test_the_preview_shows_typing_errors_and_other_spellings_at_gmail(owner):
    account = account_of()
    db.session.add(new_affiliate(account, "Bo", "b.o@gmail.com", utcnow()))
    db.session.commit()
    mailboxes = ("ada@gmial.com", "eva@gmail.com", "e.va+x@googlemail.com", "bo@gmail.com", "lin@x.example")
    path = upload(owner, "Email\n" + "\n".join(mailboxes)).location
    page = owner.get(path).get_data(as_text=True)
    for doubt in ("Did you mean ada@gmail.com?", "The same Gmail mailbox is in line 3.",
                  "An affiliate on your list has the same Gmail mailbox."):  # fmt: skip
        assert page.count(doubt) == 1, doubt
    row = only_import()
    found = uploads.preview(row, now=utcnow())
    assert ([line.number for line in found.doubtful], len(found.valid)) == ([2, 4, 5], 5)


def test_uploads_are_checked_and_a_second_click_stores_one(owner):
    assert upload(owner, b"PK\x03\x04").status_code == 422
    assert upload(owner, "Email\n", key="short").status_code == 422
    empty = owner.submit("/affiliates/import", {"key": "k" * 43}, page="/affiliates/import")
    assert "Choose a file" in empty.get_data(as_text=True)
    large = upload(
        owner, "Email,Note\n" + f"a@x.example,{'x' * 1500}\n" * 600
    )  # more than other requests may have
    assert large.status_code == 303
    answers = [upload(owner, "Email\na@x.example\n", key="k" * 43).location for _ in range(2)]
    assert answers[0] == answers[1]
    missing = choose(owner, answers[0], column_mailbox="")
    assert (missing.status_code, "Choose the column" in missing.get_data(as_text=True)) == (422, True)
    source = choose(owner, answers[0], consented_on="2026-01-01", consent_source="")
    assert (source.status_code, "Enter where they agreed" in source.get_data(as_text=True)) == (422, True)
    db.session.execute(sa.update(AffiliateImport).values(created_at=utcnow() - timedelta(days=8)))
    db.session.commit()
    uploads.forget_old(utcnow())
    assert set(db.session.scalars(sa.select(AffiliateImport.text))) == {""}


def test_a_file_without_persons_or_with_a_line_too_many_is_refused_with_a_sentence(owner, monkeypatch):
    for text in (",,,\n", "sep=;\n", ";;\n\n;"):
        answer = upload(owner, text)
        assert (answer.status_code, "The file is empty" in answer.get_data(as_text=True)) == (422, True)
    monkeypatch.setattr(checking, "MAX_LINES", 2)
    assert upload(owner, "a@x.example\nb@x.example\nc@x.example\n").status_code == 422
    path = upload(owner, "Email\na@x.example\nb@x.example\n").location
    answer = choose(owner, path, has_headings="")
    assert (answer.status_code, "more than 10,000 lines" in answer.get_data(as_text=True)) == (422, True)
    assert owner.get(path).status_code == 200


def test_a_consent_of_today_counts_for_a_file_that_was_uploaded_days_ago(owner):
    path = upload(owner, "Email\na@x.example\n").location
    db.session.execute(sa.update(AffiliateImport).values(created_at=utcnow() - timedelta(days=4)))
    db.session.commit()
    assert choose(owner, path, consented_on=f"{utcnow():%Y-%m-%d}").status_code == 303
    owner.submit(f"{path}/start", {"lines": "all"}, page=path)
    running.run(only_import().id)
    assert (only_import().added, only_import().left_out) == (1, 0)


def test_the_lines_of_files_are_checked_a_limited_number_of_times_an_hour(owner, monkeypatch):
    path = upload(owner, HEAD + "Ada Lovelace,ada@lovelace.example,,,\n").headers["Location"]
    monkeypatch.setattr(owner_limits, "IMPORT_PREVIEWS", replace(owner_limits.IMPORT_PREVIEWS, amount=2))
    assert [owner.get(path).status_code for _ in range(3)] == [200, 200, 429]
    assert [
        owner.submit(f"{path}/{one}", {}, page="/account").status_code for one in ("start", "faults.csv")
    ] == [
        429,
        429,
    ]
    page = owner.get(path).get_data(as_text=True)
    assert "Your file and your columns are kept." in page
    monkeypatch.undo()
    assert "lovelace.example" in owner.get(path).get_data(as_text=True)


def test_the_list_reads_no_file_and_few_files_may_wait(owner, monkeypatch):
    monkeypatch.setattr(uploads, "_MAX_WAITING", 1)
    path = upload(owner, "Email\na@x.example\n").location
    account_id = account_of().id
    db.session.expunge_all()
    assert "text" in sa.inspect(uploads.list_newest(account_id)[0]).unloaded
    refused = upload(owner, "Email\nb@x.example\n")
    assert (refused.status_code, "are already waiting" in refused.get_data(as_text=True)) == (422, True)
    owner.submit(f"{path}/stop", {}, page=path)
    assert upload(owner, "Email\nb@x.example\n").status_code == 303


@pytest.mark.both_databases
@pytest.mark.empty_database
def test_the_migration_adds_a_table_and_a_column_and_changes_nothing_else(tmp_path):
    app, folder = create_app(make_config(tmp_path / "instance")), str(readiness.MIGRATIONS)

    def rows(connection):
        found = {}
        for table in _tables(connection):
            columns = [column for column in table.columns if column.name != "import_id"]
            query = sa.select(*columns)
            if table.name != "affiliate_import":
                found[table.name] = sorted((tuple(row) for row in connection.execute(query)), key=repr)
        return found

    with app.app_context():
        make_tables(BEFORE)
        with db.engine.begin() as connection:
            _fill(connection)
            before, triggers = rows(connection), _triggers(connection)
        upgrade(directory=folder, revision=AFTER)
        with db.engine.begin() as connection:
            assert (rows(connection), _triggers(connection)) == (before, triggers)
        downgrade(directory=folder, revision=BEFORE)
        with db.engine.begin() as connection:
            assert (rows(connection), _triggers(connection)) == (before, triggers)
        db.engine.dispose()


BEFORE, AFTER = "0037", "0038"
