"""A From address at another domain than the username's is a warning; where a provider replaces it, the page says so."""

from __future__ import annotations

import re
from html import unescape

import pytest

from portal.db import db
from portal.settings.models import CheckState, SettingsCheck, SmtpSettings, VersionState
from tests.settings.conftest import PAGE, save, text_of, versions

GOOGLE = {
    "provider": "gmail",
    "host": "smtp.gmail.com",
    "username": "ada@brightleaf.example",
    "password": "abcdefghijklmnop",
    "security": "starttls",
    "port": "587",
}


@pytest.mark.parametrize(
    ("host", "username", "password"),
    [
        ("smtp.gmail.com", "ada@gmail.com", "abcdefghijklmnop"),
        ("smtp.gmail.com", "ada@brightleaf.example", "abcdefghijklmnop"),
        ("smtp-relay.gmail.com", "ada@brightleaf.example", "abcdefghijklmnop"),
        ("smtp.mailgun.org", "postmaster@mg.brightleaf.example", "secret"),
    ],
)
def test_another_from_domain_is_saved_and_checked_with_a_warning(owner, form, host, username, password):
    known = {"host": host, "username": username, "password": password, "port": "587", "security": "starttls"}
    answer = save(owner, form, **known, provider="", domain="second.example")
    assert answer.status_code == 303
    (version,) = versions()
    assert version.sender == "info@second.example"
    (warning,) = version.credential_warnings
    assert (warning["code"], warning["blocking"]) == ("other-domain", False)


def test_the_provider_s_rule_about_the_sender_is_shown_beside_the_sender(owner, form):
    page = text_of(owner.get(f"{PAGE}?provider=mailgun"))
    line = page[page.index("Emails will be sent as") :]
    assert "Send from the domain of the SMTP username" in line[: line.index("Save SMTP Settings")]
    assert page.index("<summary>Advanced") < page.index("Emails will be sent as")


def test_google_s_replacement_is_said_before_the_check_and_the_mailbox_is_offered(owner, form):
    fields = {k: v for k, v in (form | GOOGLE).items() if k != "password"}
    page = unescape(text_of(owner.submit(f"{PAGE}/help", fields, page=PAGE)))
    assert "sends as ada@brightleaf.example unless info@brightleaf.example is one of" in page
    assert "Send as ada@brightleaf.example instead" in page
    value = re.search(r'value="(wrapped_user=[^"]*)"', page)[1]
    chosen = form | GOOGLE | {"use_values": value}
    page = text_of(owner.submit(PAGE, chosen))
    assert re.search(r'name="wrapped_user"[^>]*value="ada"', page)
    assert "instead</button>" not in page


def test_the_mailbox_itself_as_sender_is_no_warning(owner, form):
    save(owner, form, **GOOGLE, wrapped_user="ada")
    assert not versions()[0].credential_warnings


def pass_check():
    """Store the result of a passed check, as a Google server that replaces the sender produces it."""
    db.session.rollback()
    row = db.session.query(SettingsCheck).one()
    row.state, row.message_id = CheckState.PASSED, 1
    db.session.get_one(SmtpSettings, row.version_id).state = VersionState.LIVE
    db.session.commit()


def test_google_s_replacement_is_said_after_the_check_and_beside_the_sender(owner, form):
    save(owner, form, **GOOGLE)
    pass_check()
    page = unescape(text_of(owner.get(PAGE)))
    assert page.count("sends it as ada@brightleaf.example unless info@brightleaf.example") == 2
    answer = owner.submit(f"{PAGE}/versions/1/own-mailbox", {}, page=PAGE)
    assert answer.status_code == 303
    assert versions()[1].sender == "ada@brightleaf.example"
    assert not versions()[1].credential_warnings


def test_only_a_version_whose_sender_may_be_replaced_gets_its_mailbox(owner, live):
    owner.submit(f"{PAGE}/versions/1/own-mailbox", {}, page=PAGE)
    assert len(versions()) == 1
    assert "already sends as its own mailbox" in text_of(owner.get(PAGE))


def test_a_stored_warning_is_shown_in_the_language_of_the_reader(owner, form):
    owner.submit("/account/language", {"language": "de"}, page="/account")
    mailgun = {
        "host": "smtp.mailgun.org",
        "username": "postmaster@mg.brightleaf.example",
        "password": "secret",
    }
    chosen = {"provider": "gmail", "domain": "second.example"}
    assert save(owner, form, **mailgun, **chosen, port="587", security="starttls").status_code == 303
    stored = [one["sentence"] for one in versions()[0].credential_warnings]
    assert any(one.startswith("Emails will be sent as info@second.example") for one in stored), stored
    assert any("you chose Google (Gmail and Workspace) as your provider" in one for one in stored), stored
    page = unescape(text_of(owner.get(PAGE)))
    assert "E-Mails werden als info@second.example verschickt" in page
    assert "als Anbieter hast du aber Google" in page
    owner.submit("/account/language", {"language": "en"}, page="/account")
    assert "Emails will be sent as info@second.example" in unescape(text_of(owner.get(PAGE)))
