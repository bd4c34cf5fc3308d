"""Valid input is saved, invalid input gets an error beside its field, and no input is lost."""

import re
from html import unescape

import pytest
from sqlalchemy import func, select

from portal.db import db
from portal.outbox.models import OutboxMessage
from portal.rate_limit import consume
from portal.settings.models import SettingsCheck, SmtpSettings
from portal.settings.versions import blocking_warnings
from portal.web.owner_limits import CHECKS
from tests.cases import in_one_test
from tests.conftest import make_config
from tests.outbox.support import enqueue_message
from tests.pages import csrf_token
from tests.settings.conftest import PAGE, checks, save, text_of, versions, work

GOOGLE = {
    "provider": "gmail",
    "host": "smtp.gmail.com",
    "username": "ada@brightleaf.example",
    "password": "abcd efgh ijkl mnop",
    "security": "starttls",
    "port": "587",
}


def count(table):
    db.session.rollback()
    found = db.session.scalar(select(func.count()).select_from(table))
    db.session.rollback()
    return found


def error_of(html, field):
    """Return the error message beside a field, without markup."""
    found = re.search(rf'id="{field}-error"[^>]*>(.*?)</p>', html, re.S)
    assert found, f"no error beside {field}"
    return unescape(re.sub(r"<[^>]+>", " ", found[1])).strip()


def test_the_form_shows_the_saved_values_without_the_password(owner, live):
    html = text_of(owner.get(PAGE))
    assert 'value="localhost"' in html
    assert "canary" not in html


def test_the_default_user_is_info_and_the_default_domain_that_of_the_username(owner, form):
    save(owner, form, wrapped_user="", domain="")
    assert versions()[0].sender == "info@brightleaf.example"


def test_the_default_port_is_the_standard_one_of_the_encryption(owner, form):
    save(owner, form, host="smtp.example.com", port="", security="starttls")
    save(owner, form, host="smtp.example.com", port="", security="implicit")
    assert [version.port for version in versions()] == [587, 465]


def test_a_provider_s_port_depends_on_the_encryption(owner, form):
    base = {"provider": "mailgun", "host": "", "port": "", "username": "postmaster@brightleaf.example"}
    save(owner, form, **base, security="implicit")
    save(owner, form, **base, security="starttls")
    save(owner, form, **base, security="detect")
    assert [(v.host, v.port, v.security) for v in versions()] == [
        ("smtp.mailgun.org", 465, "implicit"),
        ("smtp.mailgun.org", 587, "starttls"),
        ("smtp.mailgun.org", 0, "detect"),
    ]


INVALID_HOSTS = {
    "https://ada:word@smtp.mailgun.org": "host",
    "smtp.mailgun.org:mail": "port has its own field",
    "smtp mailgun org": "host",
    "smtp.mailgun.org\\": "host",
    "ada@smtp.mailgun.org": "host",
    "127.1": "",
    "0x7f.1": "",
    "smtp..org": "",
    "-smtp.org": "",
    "a" * 70 + ".org": "",
    "smtp.mailgun.org\u202e": "invisible",
    "smtp_mailgun.org": "",
    "'; DROP TABLE smtp_settings; --": "",
}


def test_a_version_names_who_saved_it(app, owner, form):
    save(owner, form)
    (version,) = versions()
    assert version.saved_by == "Ada Fairweather"
    assert "by Ada Fairweather" in " ".join(text_of(owner.get(PAGE)).split())
    row = db.session.scalars(select(SmtpSettings)).one()
    row.saved_by = ""  # saved before names were stored
    db.session.commit()
    assert "by Ada" not in text_of(owner.get(PAGE))


def test_an_invalid_host_has_an_error_beside_its_field(owner, form):
    for host, words in INVALID_HOSTS.items():
        answer = save(owner, form, host=host)
        assert answer.status_code == 422, host
        assert words.lower() in error_of(text_of(answer), "host").lower()
    assert count(SmtpSettings) == 0


@in_one_test("port", ["0", "65536", "587a", "-1", "58 7", "٥٨٧", "1e3", "99999999999", "80", "22", "443"])
def test_an_invalid_or_forbidden_port_has_an_error_beside_its_field(owner, form, port):
    answer = save(owner, form, port=port)
    assert answer.status_code == 422
    assert error_of(text_of(answer), "port")
    assert f'value="{port}"' in text_of(answer)


def test_two_spellings_of_a_domain_are_the_same(owner, form):
    known = {"provider": "mailgun", "host": "smtp.mailgun.org", "port": "587", "security": "starttls"}
    names = {"username": "postmaster@xn--bcher-kva.example", "domain": "bücher.example"}
    assert save(owner, form, **known, **names).status_code == 303
    assert not versions()[0].credential_warnings


def test_another_domain_is_accepted_with_a_warning_by_other_providers(owner, form):
    assert save(owner, form, domain="other.example").status_code == 303
    work()
    (version,) = versions()
    assert [one["code"] for one in version.credential_warnings] == ["other-domain"]
    assert "verified other.example at your provider" in version.credential_warnings[0]["sentence"]


@in_one_test(
    "domain", ["https://example.com", "example", "ada@example.com", "exa mple.com", "a" * 300, "1.2.3.4", "."]
)
def test_an_invalid_domain_has_an_error_beside_its_field(owner, form, domain):
    answer = save(owner, form, domain=domain)
    assert answer.status_code == 422
    assert error_of(text_of(answer), "domain")


@in_one_test("name", ["ada@example.com", "a b", ".ada", "ada..x", "адa", "=?utf-8?q?x?=", "x" * 65])
def test_an_invalid_wrapped_user_has_an_error_beside_its_field(owner, form, name):
    answer = save(owner, form, wrapped_user=name)
    assert answer.status_code == 422
    assert error_of(text_of(answer), "wrapped_user")


def test_a_sender_address_that_is_too_long_is_refused(owner, form):
    answer = save(owner, form, wrapped_user="x" * 60, domain=".".join(["a" * 60] * 4)[:240])
    assert answer.status_code == 422
    assert error_of(text_of(answer), "domain")


FIELDS = ["host", "username", "domain", "port", "wrapped_user", "from_name", "reply_to"]
UNUSUAL = {
    "empty": "",
    "white space": " \t ",
    "too long": "a" * 600,
    "10 kB": "ü" * 5_000,
    "a line break": "a\r\nBcc: eve@example.net",
    "a null": "a\x00b",
    "right-to-left override": "a\u202eb",
    "Arabic": "مثال",
    "Chinese": "例子",
    "emoji": "👩‍👩‍👧 📮",
    "markup": "<script>alert(1)</script>",
    "a template": "{{ 7 * 7 }}",
}


@pytest.mark.parametrize("field", [*FIELDS, "provider", "security", "mechanism", "password"])
def test_every_unusual_value_is_answered_with_a_page_that_keeps_the_input(owner, form, field):
    token = csrf_token(text_of(owner.get(PAGE)))
    for value in UNUSUAL.values():
        changed = form | {field: value}
        answer = owner.post(PAGE, data={"csrf_token": token, **changed})
        assert answer.status_code in (303, 422), (field, value[:20])
        if answer.status_code == 422:
            html = text_of(answer)
            assert "error-summary" in html
            assert f'value="{changed["username"]}"' in html or field == "username"
            assert "canary" not in html
            assert "<script>alert" not in html


def test_every_field_may_be_missing(owner, form):
    for name in form:
        answer = owner.submit(PAGE, {key: value for key, value in form.items() if key != name})
        assert answer.status_code in (303, 422), name


def test_an_unknown_provider_is_not_stored(owner, form):
    save(owner, form, provider="x" * 5000, host="smtp.example.com")
    assert versions()[0].provider == "other"


def test_an_encryption_outside_the_choices_is_refused(owner, form):
    answer = save(owner, form, security="plaintext")
    assert answer.status_code == 422
    assert count(SmtpSettings) == 0


def test_a_google_app_password_with_spaces_is_saved_with_a_question_and_not_checked(owner, form):
    assert save(owner, form, **GOOGLE).status_code == 303
    assert count(SettingsCheck) == 0, "providers lock users after failed logins"
    page = text_of(owner.get(PAGE))
    assert "pasted with 3 spaces" in page
    assert "Remove the spaces" in page


def test_without_the_spaces_the_password_is_sealed_again_and_checked(owner, form):
    save(owner, form, **GOOGLE)
    owner.submit(f"{PAGE}/versions/1/without-spaces", {}, page=PAGE)
    from portal.settings import credentials

    (version,) = versions()
    assert credentials.open_password(version) == "abcdefghijklmnop"
    assert count(SettingsCheck) == 1
    assert not blocking_warnings(version)


def test_the_question_remains_until_it_is_answered(owner, form):
    save(owner, form, **GOOGLE)
    save(owner, form, **(GOOGLE | {"password": "", "from_name": "Ada"}))
    assert count(SettingsCheck) == 0
    owner.submit(f"{PAGE}/versions/2/check", {}, page=PAGE)
    assert count(SettingsCheck) == 1
    save(owner, form, **(GOOGLE | {"password": "", "from_name": "Ada F"}))
    (waiting,) = checks()  # in place of that of version 2, which has not started
    assert waiting.version_id == versions()[-1].id, "an answered question is not asked again"


def test_the_password_of_a_live_version_is_never_changed(owner, live):
    before = versions()[0].sealed_password
    owner.submit(f"{PAGE}/versions/1/without-spaces", {}, page=PAGE)
    assert versions()[0].sealed_password == before


def test_a_form_with_an_invalid_token_changes_nothing_and_keeps_the_input_except_passwords(owner, form):
    answer = owner.post(PAGE, data={"csrf_token": "stale", **form})
    html = text_of(answer)
    assert answer.status_code == 400
    assert count(SmtpSettings) == 0
    assert 'value="ada@brightleaf.example"' in html
    assert "canary" not in html
    assert owner.post(PAGE, data=form).status_code == 400


@pytest.mark.parametrize(
    "path", [PAGE, f"{PAGE}/versions/1/check", f"{PAGE}/versions/1/activate", f"{PAGE}/stop", f"{PAGE}/test"]
)
def test_every_operation_requires_a_token(owner, live, path):
    before = (count(SettingsCheck), count(OutboxMessage), versions()[0].state)
    assert owner.post(path, data={}).status_code == 400
    assert (count(SettingsCheck), count(OutboxMessage), versions()[0].state) == before


@pytest.mark.parametrize("operation", ["check", "activate", "without-spaces", "nonsense"])
def test_a_version_of_another_account_is_not_found(owner, stranger, client, form, live, operation):
    path = f"{PAGE}/versions/1/{operation}"
    before = checks()
    assert stranger.submit(path, {}, page=PAGE).status_code == 404
    answer = client.submit(path, {}, page="/log-in")
    assert answer.status_code in (302, 303, 404)
    assert (versions()[0].state, len(checks())) == ("live", len(before))
    assert owner.submit(path, {}, page=PAGE).status_code == (404 if operation == "nonsense" else 303)


def test_every_page_and_operation_belongs_to_one_owner(owner, stranger, client, live):
    assert "localhost" in text_of(owner.get(PAGE))
    page = text_of(stranger.get(PAGE))
    assert "version-list" not in page
    assert "ada@brightleaf.example" not in page
    for path in (PAGE, f"{PAGE}/help", "/settings/email-preferences?test=1"):
        assert client.get(path).status_code in (302, 303)
    stranger.submit(f"{PAGE}/stop", {}, page=PAGE)
    assert versions()[0].state == "live"
    for path in (f"{PAGE}/stop", f"{PAGE}/test", PAGE):
        assert client.submit(path, {}, page="/log-in").status_code in (302, 303)
    assert versions()[0].state == "live"


def test_another_account_s_test_email_is_not_shown(owner, stranger, live):
    id_ = enqueue_message(live.account_id, "test:x", is_test=True)
    assert "t@example.net" not in text_of(stranger.get(f"{PAGE}?test={id_}"))
    for invalid in ("x", "-1", "9" * 30, "١", ""):
        assert owner.get(f"{PAGE}?test={invalid}").status_code == 200


def test_test_emails_are_limited_per_hour(app, owner, live, tmp_path):
    limit = make_config(tmp_path / "instance").tests_per_hour
    for _ in range(limit):
        assert owner.submit(f"{PAGE}/test", {}, page=PAGE).status_code == 303
    before = count(OutboxMessage)
    answer = owner.submit(f"{PAGE}/test", {}, page=PAGE)
    assert answer.status_code == 429
    assert "You have sent too many test emails" in text_of(answer)
    assert count(OutboxMessage) == before


def test_checks_are_limited_per_hour_and_the_input_stays(owner, form, app):
    from portal.clock import utcnow
    from tests.settings.conftest import account_id

    account = account_id()
    for _ in range(CHECKS.amount):
        consume(CHECKS, account, now=utcnow())
    db.session.commit()
    answer = save(owner, form)
    assert answer.status_code == 429
    assert "checked these settings very often" in text_of(answer)
    assert 'value="ada@brightleaf.example"' in text_of(answer)


@pytest.mark.parametrize("port", ["0", "65536", "065535999", "²", "58x"])
def test_what_is_no_port_is_refused_beside_its_field(owner, form, port):
    response = save(owner, form, host="smtp.example.com", port=port)
    assert response.status_code == 422
    assert "Enter a port number, such as 587, or leave this empty." in text_of(response)
    assert versions() == []
