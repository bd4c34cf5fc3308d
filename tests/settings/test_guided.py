"""The guide: the newcomer's walk is counted, what was typed stays, and only what a provider needs is asked for."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html import unescape

import html5lib
import pytest

from portal.rehearsal import server as rehearsal_server
from portal.rehearsal.listeners import PASSWORD, ListenerKind
from portal.rehearsal.provider_replies import APP_PASSWORD
from tests.accounts.people import make_team
from tests.conftest import make_config
from tests.settings.conftest import LIMITS, versions, work

_PLAYS = "smtp.mailgun.org smtp.eu.mailgun.org smtp.gmail.com"
_NS = "{http://www.w3.org/1999/xhtml}"


@pytest.fixture
def config(tmp_path):
    """A portal whose rehearsal server plays Mailgun and Google under their own names."""
    played = make_config(tmp_path / "instance", env={"SIGNET_REHEARSAL_PLAYS": _PLAYS})
    handle = rehearsal_server.start(played, dict.fromkeys(ListenerKind, 0))
    ports = {f"SIGNET_REHEARSAL_{kind.name}_PORT": str(port) for kind, port in handle.ports.items()}
    env = {"SIGNET_REHEARSAL_PLAYS": _PLAYS, **ports, "MAIL_PORT": ports["SIGNET_REHEARSAL_STARTTLS_PORT"]}
    yield make_config(tmp_path / "instance", env=env, lease=600.0, limits=LIMITS)
    handle.stop()


@dataclass
class Walk:
    """A person with a browser without script: each click and each typed value is counted, and must be possible."""

    browser: object
    clicks: int = 0
    inputs: int = 0
    html: str = ""
    path: str = ""
    entered: dict[str, str] = field(default_factory=dict)

    def open(self, path):
        self.path, self.entered = path, {}
        self.html = self.browser.get(path).get_data(as_text=True)

    def follow(self, label):
        links = re.findall(r'<a\b[^>]*?href="([^"]*)"[^>]*>(.*?)</a>', self.html, re.S)
        (path,) = {href for href, text in links if re.match(rf"\s*(<strong>)?{label}\b", text)}
        self.clicks += 1
        self.open(unescape(path))

    def choose(self, name, value):
        assert re.search(rf'name="{name}"', self.html) and f'value="{value}"' in self.html
        self.clicks += 1
        self.entered[name] = value

    def enter(self, name, value):
        assert re.search(rf'<input[^>]*name="{name}"', self.html)
        self.inputs += 1
        self.entered[name] = value

    def save(self):
        self.clicks += 1
        form = values_of(self.html, "smtp-settings")
        answer = self.browser.post("/settings/email-preferences", data={**form, **self.entered})
        assert answer.status_code == 303, answer.get_data(as_text=True)
        self.open(answer.location)


def values_of(html, form_id):
    """Return what a browser sends of a form in which nothing was typed."""
    tree = html5lib.parse(html)
    (form,) = [one for one in tree.iter(f"{_NS}form") if one.get("id") == form_id]
    found = {}
    for one in form.iter():
        name, kind = one.get("name"), one.get("type", "text")
        if not name or kind in {"submit", "button"}:
            continue
        if one.tag == f"{_NS}select":
            options = list(one.iter(f"{_NS}option"))
            chosen = [option for option in options if option.get("selected") is not None] or options[:1]
            found[name] = chosen[0].get("value", "")
        elif one.tag == f"{_NS}textarea":
            found[name] = one.text or ""
        elif one.tag == f"{_NS}input" and (
            kind not in {"radio", "checkbox"} or one.get("checked") is not None
        ):
            found[name] = one.get("value", "")
    return found


# Clicks and inputs from the first page after the log-in to the first email from the own domain, before there was a guide:
# choose the provider, enter username and password, save.
BEFORE = (2, 2)
NEWCOMERS = {
    "mailgun": ("Mailgun", "postmaster@mg.brightleaf.example", PASSWORD, "info@mg.brightleaf.example"),
    "gmail": ("Google", "ada@brightleaf.example", APP_PASSWORD, "ada@brightleaf.example"),
}


@pytest.mark.parametrize("provider", NEWCOMERS)
def test_the_guide_takes_a_newcomer_no_more_than_the_form_did(owner, provider):
    label, username, password, sender = NEWCOMERS[provider]
    walk = Walk(owner)
    walk.open("/")
    walk.follow(label)
    walk.enter("username", username)
    walk.enter("password", password)
    walk.save()
    work()
    (version,) = versions()
    assert (version.state, version.sender, version.provider) == ("live", sender, provider)
    assert (walk.clicks, walk.inputs) <= BEFORE
    walk.open(walk.path)
    assert f"It works: your emails are sent as {sender}" in walk.html
    assert walk.html.index('id="check"') < walk.html.index('id="smtp-settings"'), "success is in view"
    assert f'"{password}"' not in walk.html


def test_the_whole_form_takes_as_much_as_before(owner):
    walk = Walk(owner)
    walk.open("/settings/email-preferences")
    walk.choose("provider", "mailgun")
    walk.enter("username", "postmaster@mg.brightleaf.example")
    walk.enter("password", PASSWORD)
    walk.save()
    work()
    assert [version.state for version in versions()] == ["live"]
    assert (walk.clicks, walk.inputs) == BEFORE


def test_what_was_typed_survives_a_refusal_and_the_password_stays_hidden(owner):
    walk = Walk(owner)
    walk.open("/settings/set-up/mailgun")
    assert "In Mailgun open Sending" in walk.html
    form = values_of(walk.html, "smtp-settings") | {
        "host": "smtp.eu.mailgun.org",
        "username": "postmaster@eu.brightleaf.example",
        "password": PASSWORD,
        "wrapped_user": "two words",
    }
    answer = owner.post("/settings/email-preferences", data=form)
    html = answer.get_data(as_text=True)
    assert answer.status_code == 422
    assert "Connect Mailgun" in html
    assert "Enter only the part before the @" in html
    kept = values_of(html, "smtp-settings")
    assert kept["host"] == "smtp.eu.mailgun.org"
    assert kept["username"] == "postmaster@eu.brightleaf.example"
    assert kept["wrapped_user"] == "two words"
    assert f'value="{PASSWORD}"' not in html
    # The corrected form needs no password again.
    answer = owner.post("/settings/email-preferences", data=kept | {"wrapped_user": "hello"})
    assert answer.location == "/settings/set-up/mailgun#check"
    work()
    (version,) = versions()
    assert (version.sender, version.state) == ("hello@eu.brightleaf.example", "live")
    # Another password for the same server: what the guide does not ask for travels along.
    walk.open("/settings/set-up/mailgun")
    again = values_of(walk.html, "smtp-settings")
    assert (again["based_on"], again["reply_to"], again["port"]) == ("1", "ada@brightleaf.example", "587")
    assert again["wrapped_user"] == "hello"
    # Another provider begins anew, with the mailbox for replies.
    walk.open("/settings/set-up/gmail")
    other = values_of(walk.html, "smtp-settings")
    assert (other["host"], other["username"], other["reply_to"]) == (
        "smtp.gmail.com",
        "",
        "ada@brightleaf.example",
    )


def test_the_guide_names_the_sender_of_the_saved_settings(owner):
    sentence = "sent as the address that you enter as SMTP Username"
    walk = Walk(owner)
    walk.open("/settings/set-up/gmail")
    assert sentence in walk.html
    form = values_of(walk.html, "smtp-settings")
    entered = {"username": "ada@brightleaf.example", "password": "abcdefghijklmnop", "wrapped_user": "info"}
    assert owner.post("/settings/email-preferences", data=form | entered).status_code == 303
    walk.open("/settings/set-up/gmail")
    assert sentence not in walk.html
    assert "info@brightleaf.example" in walk.html


def test_a_username_in_the_guide_means_a_log_in(owner):
    """The guide has no field for the choice of no log-in, which the form may still hold from a relay."""
    walk = Walk(owner)
    walk.open("/settings/set-up/google-relay")
    assert "To send without a log-in, use the full form." in walk.html
    form = values_of(walk.html, "smtp-settings") | {"mechanism": "none"}
    entered = {"username": "ada@brightleaf.example", "password": "abcdefghijklmnop"}
    assert owner.post("/settings/email-preferences", data=form | entered).status_code == 303
    (version,) = versions()
    assert (version.username, version.mechanism) == ("ada@brightleaf.example", "automatic")


def test_a_refused_log_in_leads_back_to_the_field(owner):
    walk = Walk(owner)
    walk.open("/settings/set-up/mailgun")
    walk.enter("username", "postmaster@mg.brightleaf.example")
    walk.enter("password", "not the word")
    walk.save()
    work()
    walk.open(walk.path)
    assert 'href="#password"' in walk.html
    assert walk.html.index('id="diagnosis"') < walk.html.index('id="smtp-settings"')
    token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', walk.html)[1]
    form = {"csrf_token": token, "guided": "mailgun"}
    again = owner.post("/settings/email-preferences/versions/1/check", data=form)
    assert again.location == "/settings/set-up/mailgun#check"


def test_each_provider_has_its_page_and_people_need_the_right(app):
    team = make_team(app)
    page = team.owner.get("/settings/set-up").get_data(as_text=True)
    paths = sorted(set(re.findall(r'href="(/settings/set-up/[^"]+)"', page)))
    assert len(paths) > 25
    for path in paths:
        answer = team.owner.get(path)
        if path.endswith("/other"):
            assert answer.location == "/settings/email-preferences?provider=other#custom-smtp"
        else:
            assert answer.status_code == 200, path
    assert team.owner.get("/settings/set-up/no-such").status_code == 404
    assert team.viewer.get("/settings/set-up").status_code == 403
    assert team.viewer.get("/settings/set-up/mailgun").status_code == 403
    # Region, fixed username and domain are asked for where the provider needs them.
    ses = team.owner.get("/settings/set-up/ses").get_data(as_text=True)
    assert '<select class="input" id="host"' in " ".join(ses.split())
    assert values_of(ses, "smtp-settings")["host"] == ""
    sendgrid = team.owner.get("/settings/set-up/sendgrid").get_data(as_text=True)
    assert values_of(sendgrid, "smtp-settings")["username"] == "apikey"
