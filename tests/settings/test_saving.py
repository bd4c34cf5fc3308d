"""What may be entered, what is said about the rest, and that nothing typed is ever lost."""

import re
from html import unescape

import pytest
from sqlalchemy import func, select

from portal.db import db
from portal.outbox.models import OutboxMessage
from portal.rate_limit import consume
from portal.settings import versions as deeds
from portal.settings.models import SettingsCheck, SmtpSettings
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


def sentence_beside(html, field):
    """The message that stands at a field, without its markup."""
    found = re.search(rf'id="{field}-error"[^>]*>(.*?)</p>', html, re.S)
    assert found, f"nothing is said beside {field}"
    return unescape(re.sub(r"<[^>]+>", " ", found[1])).strip()


def test_the_values_come_back_but_never_the_password(owner, live):
    html = text_of(owner.get(PAGE))
    assert 'value="localhost"' in html
    assert "canary" not in html


def test_a_blank_wrapped_user_is_info_and_a_blank_domain_that_of_the_username(owner, form):
    save(owner, form, wrapped_user="", domain="")
    assert versions()[0].sender == "info@brightleaf.example"


def test_a_blank_port_is_the_usual_one_of_the_encryption(owner, form):
    save(owner, form, host="smtp.example.com", port="", security="starttls")
    save(owner, form, host="smtp.example.com", port="", security="implicit")
    assert [version.port for version in versions()] == [587, 465]


def test_a_provider_s_port_follows_the_chosen_encryption(owner, form):
    base = {"provider": "mailgun", "host": "", "port": "", "username": "postmaster@brightleaf.example"}
    save(owner, form, **base, security="implicit")
    save(owner, form, **base, security="starttls")
    save(owner, form, **base, security="detect")
    assert [(v.host, v.port, v.security) for v in versions()] == [
        ("smtp.mailgun.org", 465, "implicit"),
        ("smtp.mailgun.org", 587, "starttls"),
        ("smtp.mailgun.org", 0, "detect"),
    ]


WRONG_HOSTS = {
    "https://smtp.mailgun.org": "host",
    "smtp.mailgun.org:587": "port has its own field",
    "smtp mailgun org": "host",
    "smtp.mailgun.org/": "host",
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


def test_a_host_that_is_none_is_explained_beside_its_field(owner, form):
    for host, said in WRONG_HOSTS.items():
        answer = save(owner, form, host=host)
        assert answer.status_code == 422, host
        assert said.lower() in sentence_beside(text_of(answer), "host").lower()
    assert count(SmtpSettings) == 0


@pytest.mark.parametrize(
    "port", ["0", "65536", "587a", "-1", "58 7", "٥٨٧", "1e3", "99999999999", "80", "22", "443"]
)
def test_a_port_that_is_none_or_not_for_mail_is_explained(owner, form, port):
    answer = save(owner, form, port=port)
    assert answer.status_code == 422
    assert sentence_beside(text_of(answer), "port")
    assert f'value="{port}"' in text_of(answer)


@pytest.mark.parametrize("card", [("mailgun", "smtp.mailgun.org"), ("gmail", "smtp.gmail.com")])
def test_these_providers_take_no_domain_but_the_username_s(owner, form, card):
    known = {"provider": card[0], "host": card[1], "port": "587", "security": "starttls"}
    known |= {"username": "ada@brightleaf.example", "password": "abcdefghijklmnop"}
    answer = save(owner, form, **known, domain="other.example")
    assert answer.status_code == 422
    assert "brightleaf.example" in sentence_beside(text_of(answer), "domain")
    assert save(owner, form, **known, domain="Brightleaf.Example.").status_code in (303, 422)
    assert save(owner, form, **known, domain="BRIGHTLEAF.example").status_code == 303


def test_one_domain_in_two_spellings_is_no_other_domain(owner, form):
    known = {"provider": "mailgun", "host": "smtp.mailgun.org", "port": "587", "security": "starttls"}
    names = {"username": "postmaster@xn--bcher-kva.example", "domain": "bücher.example"}
    assert save(owner, form, **known, **names).status_code == 303


def test_another_domain_elsewhere_is_taken_and_explained(owner, form):
    assert save(owner, form, domain="other.example").status_code == 303
    work()
    (version,) = versions()
    assert [one["code"] for one in version.credential_warnings] == ["other-domain"]
    assert "other.example is verified at your provider" in version.credential_warnings[0]["sentence"]


@pytest.mark.parametrize(
    "domain", ["https://example.com", "example", "ada@example.com", "exa mple.com", "a" * 300, "1.2.3.4", "."]
)
def test_a_domain_that_is_none_is_explained(owner, form, domain):
    answer = save(owner, form, domain=domain)
    assert answer.status_code == 422
    assert sentence_beside(text_of(answer), "domain")


@pytest.mark.parametrize(
    "name", ["ada@example.com", "a b", ".ada", "ada..x", "адa", "=?utf-8?q?x?=", "x" * 65]
)
def test_a_wrapped_user_that_is_none_is_explained(owner, form, name):
    answer = save(owner, form, wrapped_user=name)
    assert answer.status_code == 422
    assert sentence_beside(text_of(answer), "wrapped_user")


def test_a_sender_that_would_be_too_long_is_refused_now_and_not_when_it_sends(owner, form):
    answer = save(owner, form, wrapped_user="x" * 60, domain=".".join(["a" * 60] * 4)[:240])
    assert answer.status_code == 422
    assert sentence_beside(text_of(answer), "domain")


FIELDS = ["host", "username", "domain", "port", "wrapped_user", "from_name", "reply_to"]
STRANGE = {
    "empty": "",
    "white space": " \t ",
    "too long": "a" * 600,
    "10 kB": "ü" * 5_000,
    "a line break": "a\r\nBcc: eve@example.net",
    "a null": "a\x00b",
    "turned around": "a\u202eb",
    "Arabic": "مثال",
    "Chinese": "例子",
    "emoji": "👩‍👩‍👧 📮",
    "markup": "<script>alert(1)</script>",
    "a template": "{{ 7 * 7 }}",
}


@pytest.mark.parametrize("field", [*FIELDS, "provider", "security", "mechanism", "password"])
def test_whatever_a_field_holds_the_answer_is_a_page_and_nothing_is_lost(owner, form, field):
    token = csrf_token(text_of(owner.get(PAGE)))
    for value in STRANGE.values():
        changed = form | {field: value}
        answer = owner.post(PAGE, data={"csrf_token": token, **changed})
        assert answer.status_code in (303, 422), (field, value[:20])
        if answer.status_code == 422:
            html = text_of(answer)
            assert "error-summary" in html
            assert f'value="{changed["username"]}"' in html or field == "username"
            assert "canary" not in html
            assert "<script>alert" not in html


def test_every_field_may_be_missing_altogether(owner, form):
    for name in form:
        answer = owner.submit(PAGE, {key: value for key, value in form.items() if key != name})
        assert answer.status_code in (303, 422), name


def test_a_provider_nobody_knows_is_not_stored(owner, form):
    save(owner, form, provider="x" * 5000, host="smtp.example.com")
    assert versions()[0].provider == "other"


def test_an_encryption_that_was_not_offered_is_refused(owner, form):
    answer = save(owner, form, security="plaintext")
    assert answer.status_code == 422
    assert count(SmtpSettings) == 0


def test_a_google_app_password_with_spaces_is_saved_unchecked_and_asked_about(owner, form):
    assert save(owner, form, **GOOGLE).status_code == 303
    assert count(SettingsCheck) == 0, "providers lock users after wrong log-ins"
    page = text_of(owner.get(PAGE))
    assert "pasted with 3 spaces" in page
    assert "Leave out the spaces" in page


def test_leaving_out_the_spaces_seals_the_password_anew_and_checks(owner, form):
    save(owner, form, **GOOGLE)
    owner.submit(f"{PAGE}/versions/1/without-spaces", {}, page=PAGE)
    from portal.settings import credentials

    (version,) = versions()
    assert credentials.open_password(version) == "abcdefghijklmnop"
    assert count(SettingsCheck) == 1
    assert not deeds.blocking_warnings(version)


def test_the_question_is_asked_again_when_the_unanswered_password_is_kept(owner, form):
    save(owner, form, **GOOGLE)
    save(owner, form, **(GOOGLE | {"password": "", "from_name": "Ada"}))
    assert count(SettingsCheck) == 0
    owner.submit(f"{PAGE}/versions/2/check", {}, page=PAGE)
    assert count(SettingsCheck) == 1
    save(owner, form, **(GOOGLE | {"password": "", "from_name": "Ada F"}))
    assert count(SettingsCheck) == 2, "what was answered is not asked again"


def test_the_password_of_a_version_that_sends_is_never_edited(owner, live):
    before = versions()[0].sealed_password
    owner.submit(f"{PAGE}/versions/1/without-spaces", {}, page=PAGE)
    assert versions()[0].sealed_password == before


def test_a_form_without_its_token_changes_nothing_and_keeps_the_input_except_passwords(owner, form):
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
def test_no_deed_is_done_without_a_token(owner, live, path):
    before = (count(SettingsCheck), count(OutboxMessage), versions()[0].state)
    assert owner.post(path, data={}).status_code == 400
    assert (count(SettingsCheck), count(OutboxMessage), versions()[0].state) == before


@pytest.mark.parametrize("deed", ["check", "activate", "without-spaces", "nonsense"])
def test_a_version_of_another_account_is_not_found(owner, stranger, client, form, live, deed):
    path = f"{PAGE}/versions/1/{deed}"
    before = checks()
    assert stranger.submit(path, {}, page=PAGE).status_code == 404
    answer = client.submit(path, {}, page="/log-in")
    assert answer.status_code in (302, 303, 404)
    assert (versions()[0].state, len(checks())) == ("live", len(before))
    assert owner.submit(path, {}, page=PAGE).status_code == (404 if deed == "nonsense" else 303)


def test_each_page_and_deed_is_the_owner_s_alone(owner, stranger, client, live):
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
    ident = enqueue_message(live.account_id, "test:x", is_test=True)
    assert "t@example.net" not in text_of(stranger.get(f"{PAGE}?test={ident}"))
    for odd in ("x", "-1", "9" * 30, "١", ""):
        assert owner.get(f"{PAGE}?test={odd}").status_code == 200


def test_test_emails_are_limited_per_hour(app, owner, live, tmp_path):
    limit = make_config(tmp_path / "instance").tests_per_hour
    for _ in range(limit):
        assert owner.submit(f"{PAGE}/test", {}, page=PAGE).status_code == 303
    before = count(OutboxMessage)
    answer = owner.submit(f"{PAGE}/test", {}, page=PAGE)
    assert answer.status_code == 429
    assert "Enough test emails" in text_of(answer)
    assert count(OutboxMessage) == before


def test_checks_are_limited_per_hour_and_the_input_stays(owner, form, app):
    from portal.clock import utcnow
    from tests.settings.conftest import account_id

    ident = account_id()
    for _ in range(deeds.CHECK_LIMIT.amount):
        consume(deeds.CHECK_LIMIT, ident, now=utcnow())
    db.session.commit()
    answer = save(owner, form)
    assert answer.status_code == 422
    assert "checked very often" in text_of(answer)
    assert 'value="ada@brightleaf.example"' in text_of(answer)
