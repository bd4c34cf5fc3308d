"""A domain that is live in one account goes live in another only after a TXT record has shown whose it is."""

from __future__ import annotations

import re
from dataclasses import replace
from html import unescape

import pytest
import sqlalchemy as sa

from portal import create_app
from portal.clock import utcnow
from portal.db import db
from portal.db.migrate import upgrade
from portal.rate_limit import consume
from portal.settings import domain_proof
from portal.settings import versions as operations
from portal.settings.models import DomainProof, SmtpSettings, VersionState
from portal.state import get_state
from portal.web.owner_limits import DOMAIN_PROOFS
from tests.conftest import make_config
from tests.domains.zones import MUTE, Zones
from tests.migrations import make_tables
from tests.outbox.support import new_account, run_together
from tests.settings.conftest import PAGE, checks, save, text_of, versions, work
from tests.test_account_states_migration import FOLDER, _fill

DOMAIN = "brightleaf.example"
NAME = f"_signet-challenge.{DOMAIN}"


@pytest.fixture
def zones():
    with Zones({(DOMAIN, "A"): ["192.0.2.1"]}) as server:
        yield server


@pytest.fixture
def config(config, zones):
    return replace(config, dns_servers=(zones.at,))


@pytest.fixture
def waiting(live, stranger, form):
    """Bo's version of the domain that is live in Ada's account: its check has passed, and the proof is missing."""
    assert save(stranger, form, username="bo@copperpot.example").status_code == 303
    work()
    found = versions()[-1]
    assert found.account_id != live.account_id
    assert checks()[-1].state.value == "passed"
    return found


def press(browser, number=1, **fields):
    """Press *Check the record* on the page."""
    return browser.submit(f"{PAGE}/versions/{number}/prove-domain", fields, page=PAGE)


def value_on(page):
    return re.search(r"signet-domain-proof=[\w-]{32}", page).group()


def states():
    return [version.state.value for version in versions()]


def test_the_version_waits_for_a_record_that_the_page_shows_and_goes_live_when_it_is_found(
    waiting, stranger, zones, servers
):
    assert states() == ["live", "draft"]
    page = text_of(stranger.get(PAGE))
    assert f"Prove that {DOMAIN} is yours" in page
    assert "It has passed its check, and you have not proved yet that its domain is yours." in page
    assert f'<code class="copy-value" id="domain-proof-name">{NAME}</code>' in re.sub(r"\s+", " ", page)
    for id_ in ("domain-proof-name", "domain-proof-value"):
        assert f'data-copy="{id_}"' in page
    assert "There is no TXT record at" in text_of(press(stranger))
    zones.put(NAME, "TXT", "v=spf1 -all", value_on(page))
    answer = text_of(press(stranger))
    assert f"We found the record. Version 1 is live: emails are sent as info@{DOMAIN}." in answer
    assert "Prove that" not in answer
    assert states() == ["live", "live"]


def test_the_other_account_is_not_named(waiting, stranger):
    page = text_of(stranger.get(PAGE)) + text_of(press(stranger))
    assert not [name for name in ("Brightleaf", "Ada", "ada@") if name in page]


def test_what_was_typed_is_kept_when_the_record_is_checked(waiting, stranger, form):
    fields = {**form, "from_name": "Copperpot Shop", "host": "smtp.copperpot.example"}
    page = text_of(press(stranger, **fields))
    for typed in ("Copperpot Shop", "smtp.copperpot.example", DOMAIN):
        assert f'value="{typed}"' in page
    assert "is saved with its password" in page
    assert len(versions()) == 2


def test_without_the_fields_of_the_form_the_saved_values_are_shown(waiting, stranger):
    assert 'value="bo@copperpot.example"' in text_of(press(stranger))


@pytest.mark.parametrize(
    ("records", "fault", "sentence"),
    [
        ({NAME: "signet-domain-proof=of-another-account"}, "", "but it has another value"),
        ({f"{NAME}.{DOMAIN}": ""}, "", "because your DNS provider added the domain"),
        ({}, MUTE, "No name server answered"),
        ({DOMAIN: ""}, "", "There is no TXT record at"),
    ],
)
def test_a_record_that_is_not_found_is_distinguished(waiting, stranger, zones, records, fault, sentence):
    value = value_on(text_of(stranger.get(PAGE)))
    for name, text in records.items():
        zones.put(name, "TXT", text or value)
    if fault:
        zones.faults[NAME] = fault
    answer = press(stranger)
    assert answer.status_code == 200
    assert sentence in unescape(text_of(answer))
    assert states() == ["live", "draft"]


def test_a_version_is_not_activated_without_the_proof_either(waiting, stranger):
    answer = stranger.submit(f"{PAGE}/versions/1/activate", {}, page=PAGE)
    assert answer.status_code == 303
    assert f"Prove that {DOMAIN} is yours" in text_of(stranger.get(PAGE))
    assert states() == ["live", "draft"]


def test_a_proof_found_before_the_check_has_passed_lets_the_check_activate_the_version(
    live, stranger, form, zones
):
    save(stranger, form, username="bo@copperpot.example")
    zones.put(NAME, "TXT", value_on(text_of(stranger.get(PAGE))))
    assert "Version 1 goes live when it passes its check." in text_of(press(stranger))
    assert states() == ["live", "draft"]
    work()
    assert states() == ["live", "live"]


def test_a_proved_domain_is_not_asked_for_again(waiting, stranger, form, zones):
    zones.put(NAME, "TXT", value_on(text_of(stranger.get(PAGE))))
    press(stranger)
    zones.put(NAME, "TXT", "gone")
    stranger.submit(f"{PAGE}/stop", {}, page=PAGE)
    save(stranger, form, username="bo@copperpot.example", password="", from_name="Copperpot")
    work()
    assert states() == ["live", "retired", "live"]


def test_an_account_goes_on_with_the_domain_of_its_live_version(live, owner, form):
    save(owner, form, from_name="Brightleaf Shop")
    work()
    assert states() == ["retired", "live"]


def test_the_checks_of_the_record_have_a_limit(waiting, stranger, zones):
    for _ in range(DOMAIN_PROOFS.amount):
        assert consume(DOMAIN_PROOFS, waiting.account_id, now=utcnow())
    db.session.commit()
    answer = press(stranger, from_name="typed")
    assert answer.status_code == 429
    assert "too many attempts" in text_of(answer)


def test_a_version_of_another_account_is_not_found(waiting, owner):
    assert press(owner, number=2).status_code == 404


def test_the_operator_can_demand_the_proof_of_every_domain(app, config, owner, form, zones):
    get_state(app).config = replace(config, domain_proof="always")
    save(owner, form)
    work()
    assert states() == ["draft"]
    zones.put(NAME, "TXT", value_on(text_of(owner.get(PAGE))))
    press(owner)
    assert states() == ["live"]


def version(account, domain, state=VersionState.DRAFT, host="smtp.relay.example"):
    row = SmtpSettings(account_id=account, number=1, host=host, port=587, security="starttls")
    row.mechanism, row.username, row.sealed_password = "automatic", "user", b""
    row.domain, row.wrapped_user, row.state = domain, "info", state
    row.password_saved_at = row.created_at = utcnow()
    db.session.add(row)
    db.session.commit()
    return row


@pytest.mark.parametrize(
    ("live_domain", "domain", "is_missing"),
    [
        ("shop.example", "shop.example", True),
        ("shop.example", "mail.shop.example", True),
        ("mail.shop.example", "shop.example", True),
        ("one.host.example", "two.host.example", False),
        ("shop.example", "myshop.example", False),
        ("sh_p.example", "a.sh_p.example", True),
    ],
)
def test_names_above_and_below_a_live_domain_need_a_proof(app, live_domain, domain, is_missing):
    version(new_account(), live_domain, VersionState.LIVE)
    other = new_account("copperpot")
    assert domain_proof.is_missing(version(other, domain)) is is_missing


@pytest.mark.parametrize(
    ("own", "others", "domain", "is_missing"),
    [
        ("co.example", "shop.co.example", "shop.co.example", True),
        ("co.example", "shop.co.example", "mail.shop.co.example", True),
        ("co.example", "mail.shop.co.example", "shop.co.example", True),
        ("shop.example", "shop.example", "mail.shop.example", False),  # shared since before the upgrade
        ("shop.example", "other.example", "mail.shop.example", False),
        ("mail.shop.example", "shop.example", "mail.shop.example", False),
    ],
)
def test_a_live_name_gives_no_right_to_what_another_account_has_below_it(
    app, own, others, domain, is_missing
):
    mine = new_account()
    version(mine, own, VersionState.LIVE)
    version(new_account("copperpot"), others, VersionState.LIVE)
    draft = SmtpSettings(account_id=mine, domain=domain, host="smtp.relay.example")
    assert domain_proof.is_missing(draft) is is_missing


def test_a_proof_holds_for_the_names_below_and_for_its_account_only(app):
    version(new_account(), "mail.shop.example", VersionState.LIVE)
    other, third = new_account("copperpot"), new_account("third")
    db.session.add(DomainProof(account_id=other, domain="shop.example", proved_at=utcnow()))
    assert not domain_proof.is_missing(version(other, "mail.shop.example"))
    assert domain_proof.is_missing(version(third, "mail.shop.example"))


def test_a_mailbox_of_a_public_provider_is_proved_by_its_log_in_and_by_nothing_else(app):
    version(new_account(), "gmail.com", VersionState.LIVE, "smtp.gmail.com")
    other = new_account("copperpot")
    at_google = version(other, "gmail.com", host="smtp.gmail.com")
    assert not domain_proof.is_missing(at_google)
    at_google.host = "smtp.relay.example"
    assert domain_proof.is_missing(at_google)
    assert domain_proof.record_for(at_google).can_be_set is False


def test_settings_that_are_no_longer_used_need_another_check(live, owner, stranger, form, zones):
    owner.submit(f"{PAGE}/stop", {}, page=PAGE)
    save(stranger, form, username="bo@copperpot.example")
    work()
    assert states() == ["retired", "live"]
    zones.put(NAME, "TXT", value_on(text_of(owner.get(PAGE))))
    assert "Check version 1 again. It goes live when it passes the check." in text_of(press(owner))
    assert states() == ["retired", "live"]
    owner.submit(f"{PAGE}/versions/1/check", {}, page=PAGE)
    work()
    assert states() == ["live", "live"]


@pytest.mark.only_postgresql
def test_of_two_accounts_at_once_one_gets_the_domain(app):
    accounts = [new_account(), new_account("copperpot")]
    ids = [version(account, "shop.example").id for account in accounts]
    db.session.commit()

    def activate(number):
        found = operations.activate_if_proved(db.session.get_one(SmtpSettings, ids[number]), now=utcnow())
        db.session.commit()
        return found

    assert sorted(run_together(app, 2, activate)) == [False, True]


@pytest.mark.both_databases
@pytest.mark.empty_database
def test_accounts_that_share_a_domain_at_the_upgrade_go_on(tmp_path):
    app = create_app(make_config(tmp_path / "instance"))
    with app.app_context():
        make_tables("0017")
        with db.engine.begin() as connection:
            _fill(connection)
            for sql in (
                "UPDATE smtp_settings SET state = 'live', domain = 'shop.example', host = 'smtp.relay.example',"
                " credential_warnings = '[]', headers = '[]'",
                "UPDATE affiliate SET state = 'active'",
                "UPDATE oauth_grant SET ended_at = NULL",
            ):
                connection.execute(sa.text(sql))
        upgrade(directory=FOLDER)  # the operations below need every column
        for account in (1, 2):
            operations.stop_using(account, now=utcnow())
        rows = db.session.scalars(sa.select(SmtpSettings).order_by(SmtpSettings.account_id)).all()
        assert [operations.activate_if_proved(row, now=utcnow()) for row in rows] == [True, True]
        db.session.rollback()
        db.engine.dispose()
