"""Another provider's values are offered, listed and taken over; a pair that does not belong together is questioned."""

from __future__ import annotations

import re
from html import unescape

import pytest

from portal.settings import provider_values, providers
from portal.settings.models import VersionState
from portal.settings.versions import blocking_warnings
from portal.smtp.probe.autoconfig import Suggestion
from portal.smtp.server import Security
from tests.settings.conftest import PAGE, checks, save, text_of, versions, work

MAILGUN = {
    "provider": "mailgun",
    "host": "smtp.mailgun.org",
    "port": "587",
    "security": "starttls",
    "username": "postmaster@mg.brightleaf.example",
    "domain": "mg.brightleaf.example",
    "wrapped_user": "",
}


def offer(**now):
    values = MAILGUN | now
    return provider_values.offer_of_card(providers.by_id(values["provider"]), values)


def value_of(html, name):
    field = re.search(rf'<input[^>]*\bname="{name}"[^>]*>', html)[0]
    return unescape(re.search(r'value="([^"]*)"', field)[1])


def button_of(html):
    """Return the value of the button *Use its values*."""
    return unescape(re.search(r'name="use_values"\s+value="([^"]*)"', html)[1])


def test_another_provider_offers_its_values_and_shows_what_does_not_fit(app):
    with app.test_request_context():
        found = offer(provider="gmail")
    assert found.values["host"] == "smtp.gmail.com"
    assert found.values["username"] == ""
    assert "smtp.mailgun.org belongs to Mailgun" in found.reason
    assert any("smtp.gmail.com instead of smtp.mailgun.org" in change for change in found.changes)
    assert any("the full Google email address" in change for change in found.changes)


def test_a_provider_that_wants_a_log_in_offers_it_in_place_of_none(app):
    with app.test_request_context():
        found = offer(provider="gmail", mechanism="none", host="mail.internal", username="")
        assert found.values["mechanism"] == "automatic"
        assert "SMTP Authentication: Automatic instead of None" in found.changes
        relay = offer(provider="google-relay", mechanism="none", host="mail.internal", username="")
    assert "mechanism" not in relay.values


@pytest.mark.parametrize(
    "now",
    [
        {},
        {"port": "465", "security": "implicit"},
        {"port": "2525"},
        {"host": "smtp.eu.mailgun.org"},
        {"port": ""},
        {"port": "465", "security": "detect"},
        {"provider": "other", "host": "mail.brightleaf.example"},
        {"provider": "", "host": "localhost"},
    ],
)
def test_what_the_provider_offers_as_well_is_left_alone(app, now):
    with app.test_request_context():
        assert offer(**now) is None


def test_a_fixed_username_is_offered_and_one_of_another_provider_is_not_kept(app):
    with app.test_request_context():
        to_sendgrid = offer(provider="sendgrid")
        from_sendgrid = offer(provider="zoho", host="smtp.sendgrid.net", username="apikey")
    assert to_sendgrid.values["username"] == "apikey"
    assert from_sendgrid.values["username"] == ""
    assert from_sendgrid.values["host"] == ""  # ten regions: the owner chooses


def test_found_settings_offer_their_values_and_keep_a_username_of_the_same_provider(app):
    unknown = Suggestion(
        None, "smtp.found.example", 465, Security.IMPLICIT_TLS, "ada@found.example", "Found."
    )
    mailgun = providers.by_id("mailgun")
    same = Suggestion(mailgun, "smtp.eu.mailgun.org", 587, Security.STARTTLS, "", "Found.")
    with app.test_request_context():
        found = provider_values.offer_of_suggestion(unknown, MAILGUN)
        kept = provider_values.offer_of_suggestion(same, MAILGUN)
        assert provider_values.offer_of_suggestion(same, MAILGUN | {"host": "smtp.eu.mailgun.org"}) is None
    assert found.values == {
        "provider": "other",
        "host": "smtp.found.example",
        "port": "465",
        "security": "implicit",
        "username": "ada@found.example",
    }
    assert "SMTP Port: 465 instead of 587" in found.changes
    assert kept.values == {"host": "smtp.eu.mailgun.org"}


def test_values_of_a_button_are_those_of_the_form_only():
    decoded = provider_values.decode("host=smtp.gmail.com&password=x&based_on=1&username=")
    assert decoded == {"host": "smtp.gmail.com", "username": ""}
    assert provider_values.decode("&".join(f"host={n}" for n in range(100))) == {}


def test_switching_the_provider_without_a_script(owner, form):
    save(owner, form, **MAILGUN)
    answer = owner.submit(PAGE, form | MAILGUN | {"provider": "gmail", "use_provider": "1"})
    html = text_of(answer)
    assert "Use its values" in html
    assert value_of(html, "host") == "smtp.mailgun.org", "nothing is replaced without being asked for"
    chosen = form | MAILGUN | {"provider": "gmail", "use_values": button_of(html)}
    html = text_of(owner.submit(PAGE, chosen))
    assert value_of(html, "host") == "smtp.gmail.com"
    assert value_of(html, "username") == ""
    assert 'name="password"' in html
    assert "Saved on" not in html, "the password of another server is not kept"
    assert len(versions()) == 1, "nothing is saved yet"


def test_the_script_s_request_for_hints_gets_the_offer(owner, form):
    fields = {name: value for name, value in (form | MAILGUN).items() if name != "password"}
    html = text_of(owner.submit(f"{PAGE}/help", fields | {"provider": "gmail"}, page=PAGE))
    assert "Use its values" in html
    assert "smtp.mailgun.org belongs to Mailgun" in html


@pytest.mark.parametrize("pair", [("mailgun", "localhost"), ("gmail", "smtp.mailgun.org")])
def test_a_provider_and_a_server_that_do_not_belong_together_are_questioned_before_a_check(owner, form, pair):
    answer = save(owner, form, provider=pair[0], host=pair[1], username="ada@brightleaf.example")
    assert answer.status_code == 303
    (version,) = versions()
    assert [one["code"] for one in blocking_warnings(version)] == ["other-provider"]
    assert not checks()
    assert "One thing looks wrong" in text_of(owner.get(PAGE))


def test_a_confirmed_pair_is_not_questioned_again(owner, form, servers):
    save(owner, form, provider="mailgun", username="ada@brightleaf.example")
    owner.submit(f"{PAGE}/versions/1/check", {}, page=PAGE)
    work()
    assert versions()[0].state is VersionState.LIVE
    save(owner, form, provider=versions()[0].provider, username="ada@brightleaf.example", from_name="Ada")
    assert not blocking_warnings(versions()[1])


def test_a_pasted_server_is_taken_apart_visibly(owner, form, servers):
    answer = save(owner, form, host="Host: smtp.example.com:587", port="", security="starttls")
    assert answer.status_code == 303
    assert (versions()[0].host, versions()[0].port) == ("smtp.example.com", 587)
    page = text_of(owner.get(PAGE))
    assert "We split what you pasted. SMTP Server: smtp.example.com; SMTP Port: 587." in page


def test_the_hints_are_about_the_server_in_what_was_pasted(owner, form):
    pasted = {**form, "provider": "gmail", "host": "https://smtp.gmail.com:587/", "port": "", "password": ""}
    hints = text_of(owner.submit(f"{PAGE}/help", pasted, page=PAGE))
    assert "We do not know" not in hints
    assert "Google silently replaces any other" in hints


def test_a_pasted_port_decides_the_encryption_only_if_it_was_not_chosen(owner, form):
    save(owner, form, host="smtps://smtp.example.com:465", port="", security="starttls")
    assert versions()[0].security == "implicit"
    assert "SMTP Port: 465; Enable SSL: On: SSL/TLS." in text_of(owner.get(PAGE))


def test_a_pasted_port_that_contradicts_the_port_is_an_error_beside_it(owner, form):
    answer = save(owner, form, host="https://smtp.example.com:587/", port="465", security="implicit")
    html = text_of(answer)
    assert answer.status_code == 422
    assert "You pasted port 587 with the server, but this field contains 465." in unescape(html)
    assert value_of(html, "host") == "smtp.example.com"
