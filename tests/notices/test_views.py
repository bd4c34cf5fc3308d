"""The pages of the automated emails: access, the switch, the preview frame and the sample links."""

from __future__ import annotations

import pytest

from portal.notices import recipients
from portal.notices.catalogue import CATALOGUE, NEW_SIGN_UP
from tests.notices.conftest import account_of

PAGES = ["/automated-emails", "/automated-emails/new-sign-up", "/automated-emails/new-sign-up/html"]
SWITCH = "/automated-emails/new-sign-up/switch"


@pytest.mark.parametrize("path", PAGES)
def test_the_owner_sees_every_page(owner, path):
    assert owner.get(path).status_code == 200


@pytest.mark.parametrize("path", PAGES)
def test_a_visitor_is_redirected_to_log_in(client, path):
    answer = client.get(path)
    assert answer.status_code == 303
    assert answer.location.startswith("/log-in")


def test_a_visitor_cannot_switch(client, owner):
    fields = {"csrf_token": "x", "on": "0"}
    assert client.post(SWITCH, data=fields).status_code in (303, 400)
    assert recipients.is_enabled(account_of().id, NEW_SIGN_UP)


def test_an_owner_sees_and_switches_only_the_notice_of_the_own_account(owner, stranger):
    assert "Copperpot" in stranger.get(PAGES[2]).get_data(as_text=True)
    assert "Brightleaf" not in stranger.get(PAGES[1]).get_data(as_text=True)
    stranger.submit(SWITCH, {"on": "0"}, page=PAGES[1])
    assert not recipients.is_enabled(account_of("copperpot").id, NEW_SIGN_UP)
    assert recipients.is_enabled(account_of().id, NEW_SIGN_UP)


@pytest.mark.parametrize("kind", ["nothing", "new-sign-up2", "..", "%00", "NEW-SIGN-UP"])
@pytest.mark.parametrize("rest", ["", "/html"])
def test_an_unknown_notice_is_not_found(owner, kind, rest):
    assert owner.get(f"/automated-emails/{kind}{rest}").status_code == 404


def test_an_unknown_notice_cannot_be_switched(owner):
    assert owner.submit("/automated-emails/nothing/switch", {"on": "1"}, page=PAGES[1]).status_code == 404


def test_the_switch_turns_a_notice_off_and_on(owner):
    for value, word in [("0", "off"), ("0", "off"), ("1", "on"), ("1", "on")]:
        answer = owner.submit(SWITCH, {"on": value}, page=PAGES[1])
        assert (answer.status_code, answer.location) == (303, PAGES[1])
        assert recipients.is_enabled(account_of().id, NEW_SIGN_UP) is (word == "on")
        page = owner.get(PAGES[1]).get_data(as_text=True)
        assert f"New Sign-up is switched {word}." in page
        assert f">Switched {word}</span>" in page


@pytest.mark.parametrize("fields", [{}, {"on": ""}, {"on": "yes"}, {"on": "2"}, {"off": "1"}])
def test_a_post_without_a_valid_value_switches_nothing(owner, fields):
    assert owner.submit(SWITCH, fields, page=PAGES[1]).status_code == 400
    assert recipients.is_enabled(account_of().id, NEW_SIGN_UP)


def test_a_get_does_not_switch(owner):
    assert owner.get(SWITCH + "?on=0").status_code == 405
    assert recipients.is_enabled(account_of().id, NEW_SIGN_UP)


def test_a_switch_without_csrf_token_is_refused(owner):
    assert owner.post(SWITCH, data={"on": "0"}).status_code == 400
    assert recipients.is_enabled(account_of().id, NEW_SIGN_UP)


def test_the_preview_frame_is_sandboxed(owner):
    answer = owner.get(PAGES[2])
    policy = answer.headers["Content-Security-Policy"]
    assert answer.mimetype == "text/html"
    assert policy.startswith("sandbox;")
    assert "allow-" not in policy
    assert "default-src 'none'" in policy
    page = owner.get(PAGES[1]).get_data(as_text=True)
    assert 'sandbox=""' in page
    assert f'src="{PAGES[2]}?' in page


def test_the_editor_shows_subject_sender_text_and_every_variable(owner):
    page = owner.get(PAGES[1]).get_data(as_text=True)
    assert "Welcome to Brightleaf, Ada: here is your link" in page
    assert "Brightleaf via Signet" in page
    assert "You are now an affiliate of Brightleaf." in page
    for variable in NEW_SIGN_UP.variables:
        assert "{{ " + variable.name + " }}" in page
        assert variable.description.replace("'", "&#39;") in page


def test_the_list_shows_every_notice_with_its_state(owner):
    page = owner.get(PAGES[0]).get_data(as_text=True)
    for notice in CATALOGUE.values():
        assert notice.name in page
        assert notice.when in page
    owner.submit(SWITCH, {"on": "0"}, page=PAGES[1])
    assert ">Switched off</span>" in owner.get(PAGES[0]).get_data(as_text=True)


def test_a_programme_name_that_looks_like_html_is_escaped(owner):
    account_of().name = '<script>alert(1)</script> "&" {link}'
    for path in PAGES[1:]:
        page = owner.get(path).get_data(as_text=True)
        assert "<script>alert" not in page
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
        assert "{link}" in page


@pytest.mark.parametrize("path", ["/preferences/sample", "/affiliate/sample"])
def test_the_links_of_a_test_email_lead_to_a_page_about_samples(client, path):
    page = client.get(path)
    assert page.status_code == 200
    assert "This link is a sample" in page.text


def test_one_click_unsubscribe_of_a_test_email_changes_nothing(client):
    answer = client.post("/preferences/sample", data={"List-Unsubscribe": "One-Click"})
    assert answer.status_code == 200
