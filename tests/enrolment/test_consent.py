"""The proof of consent: what is stored at each way to agree, and what the owner sees and exports."""

from __future__ import annotations

import csv
import io

import pytest
import sqlalchemy as sa

from portal import create_app
from portal.affiliates.consent import AgreementWay, agreed_words, version_of
from portal.db import db, readiness
from portal.db.migrate import downgrade, upgrade
from portal.enrolment import signup_rules
from tests.conftest import make_config
from tests.enrolment.support import account_of, newest_affiliate, path_in, sign_up
from tests.migrations import make_tables
from tests.pages import downloaded
from tests.test_account_states_migration import _fill, _triggers
from tests.test_plain_names import _tables

SENTENCE = "I agree to receive emails about my affiliate account."
TERMS, PRIVACY = "https://shop.example/terms", "https://shop.example/privacy"
ADDED = {"consent_way", "consent_network", "consent_source", "consent_words", "confirmed_network"}


def test_a_sign_up_proves_words_time_networks_and_way(owner, client):
    account = account_of()
    account.terms_url, account.privacy_url = TERMS, PRIVACY
    db.session.commit()
    signup_rules.save_rules(account.id, signup_rules.Rules(confirm=True))
    sign_up(client)
    new = newest_affiliate()
    words = f"{SENTENCE}\nTerms: {TERMS}\nPrivacy policy: {PRIVACY}"
    assert (new.consent_way, new.consent_words, new.consent_network) == (
        AgreementWay.SIGN_UP,
        words,
        "127.0.0.1",
    )
    assert (new.consented_at, new.confirmed_network) == (new.created_at, "")
    path = path_in("confirm-sign-up", "confirm-sign-up")
    page = client.get(path).get_data(as_text=True)
    assert "With this button you agree" not in page  # they have agreed on the sign-up page
    client.submit(path, {})
    confirmed = newest_affiliate()
    assert (confirmed.confirmed_network, confirmed.consent_words) == ("127.0.0.1", words)

    shown = owner.get(f"/affiliates/{confirmed.id}").get_data(as_text=True)
    for text in ("On your sign-up page", SENTENCE, TERMS, f"version {version_of(words)}", "127.0.0.1"):
        assert text in shown
    file = downloaded(owner, "/affiliates.csv").get_data(as_text=True).removeprefix("\ufeff")
    [row] = csv.DictReader(io.StringIO(file))
    assert row["Agreed how"] == "On your sign-up page"
    assert (row["Words agreed to"], row["Version of the words"]) == (words, version_of(words))
    assert (row["Agreed from network"], row["Confirmed from network"]) == ("127.0.0.1", "127.0.0.1")


def test_an_invitation_proves_the_way_of_an_invited_person(owner, client):
    fields = {
        "name": "Grace Hopper",
        "mailbox": "grace@example.org",
        "message": "",
        "address": "1 Quay",
    }
    assert owner.submit("/affiliates/invite", fields).status_code == 303
    invited = newest_affiliate()
    assert (invited.consented_at, invited.consent_way) == (None, AgreementWay.UNKNOWN)
    assert "How they agreed" not in owner.get(f"/affiliates/{invited.id}").get_data(as_text=True)
    client.submit(path_in("invited", "invitation"), {"consent": "y"})
    joined = newest_affiliate()
    assert (joined.consent_way, joined.consent_words) == (AgreementWay.INVITATION, SENTENCE)
    assert joined.consent_network == joined.confirmed_network == "127.0.0.1"
    assert "On the page of your invitation" in owner.get(f"/affiliates/{joined.id}").get_data(as_text=True)


def test_an_invited_person_who_signs_up_on_the_page_agreed_there(owner, client):
    signup_rules.save_rules(account_of().id, signup_rules.Rules(confirm=False))
    fields = {
        "name": "Grace Hopper",
        "mailbox": "grace@example.org",
        "message": "",
        "address": "1 Quay",
    }
    owner.submit("/affiliates/invite", fields)
    sign_up(client)
    joined = newest_affiliate()
    assert (joined.consent_way, joined.consent_words) == (AgreementWay.SIGN_UP, SENTENCE)
    assert joined.consented_at is not None


def test_the_version_changes_with_the_words_and_links_count_only_where_they_are_shown(app):
    account = type("Account", (), {"terms_url": TERMS, "privacy_url": ""})()
    with_links = agreed_words(SENTENCE, account, shows_links=True)
    without = agreed_words(SENTENCE, account, shows_links=False)
    assert (with_links, without) == (f"{SENTENCE}\nTerms: {TERMS}", SENTENCE)
    assert len({version_of(with_links), version_of(without), version_of("")}) == 3
    assert (version_of(""), len(version_of(without))) == ("", 8)


def _rows(connection: sa.Connection) -> dict[str, list[tuple]]:
    found = {}
    for table in _tables(connection):
        columns = [one for one in table.columns if table.name != "affiliate" or one.name not in ADDED]
        found[table.name] = sorted((tuple(row) for row in connection.execute(sa.select(*columns))), key=repr)
    return found


@pytest.mark.both_databases
@pytest.mark.empty_database
def test_the_way_of_affiliates_of_before_is_not_known_and_nothing_else_changes(tmp_path):
    app, folder = create_app(make_config(tmp_path / "instance")), str(readiness.MIGRATIONS)
    with app.app_context():
        make_tables("0029")
        with db.engine.begin() as connection:
            _fill(connection)
            before, triggers = _rows(connection), _triggers(connection)
        upgrade(directory=folder, revision="0030")
        with db.engine.begin() as connection:
            assert (_rows(connection), _triggers(connection)) == (before, triggers)
            [table] = [one for one in _tables(connection) if one.name == "affiliate"]
            rows = connection.execute(sa.select(*(table.c[name] for name in ADDED))).all()
            assert [set(row) for row in rows] == [{""}] * 2
        downgrade(directory=folder, revision="0029")
        with db.engine.begin() as connection:
            assert (_rows(connection), _triggers(connection)) == (before, triggers)
        db.engine.dispose()
