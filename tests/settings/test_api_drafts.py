"""Drafts of the API: checked as on the page, and never live before a person activates them."""

from __future__ import annotations

import base64
from html import unescape

import pytest
from sqlalchemy import LargeBinary, delete, select

from portal.api import tokens
from portal.api.models import TokenScope
from portal.api.settings.document import settings_request_schemas
from portal.clock import utcnow
from portal.db import Base, db
from portal.outbox.models import OutboxMessage
from portal.rate_limit import consume
from portal.settings import check, fixes, routing
from portal.settings import versions as operations
from portal.settings.models import CheckState, SettingsCheck, SmtpSettings, VersionState
from portal.settings.validation import SettingsInput
from portal.web.owner_limits import API_DRAFTS, CHECKS
from tests.outbox.support import answering, enqueue_message
from tests.settings.conftest import PAGE, account_id, checks, save, text_of, versions, work
from tests.settings.test_drafts import value_of
from tests.smtp import badserver

DRAFTS, VERSIONS = "/api/v1/settings/drafts", "/api/v1/settings/versions"
REFUSED = answering(AUTH=b"535 5.7.8 Username and Password not accepted\r\n")


class Api:
    """Sends requests with a token of the scope ``settings``."""

    def __init__(self, client, token):
        self.client, self.headers = client, {"Authorization": f"Bearer {token}"}

    def save(self, body):
        return self.client.post(DRAFTS, json=body, headers=self.headers)

    def check(self, number):
        return self.client.post(f"{VERSIONS}/{number}/check", headers=self.headers)

    def get(self, number):
        return self.client.get(f"{VERSIONS}/{number}", headers=self.headers)


@pytest.fixture
def api(owner, client):
    new = {"name": "Terraform", "by": "Ada", "form_key": "k", "scope": TokenScope.SETTINGS}
    token = tokens.create(account_id(), now=utcnow(), **new)
    # The email to the owner about the token would be sent as well, through the second server.
    db.session.execute(delete(OutboxMessage).where(OutboxMessage.account_id.is_(None)))
    db.session.commit()
    return Api(client, token)


@pytest.fixture
def draft(servers):
    """A draft for the second server, which is another one than that of the form."""
    return {
        "host": "localhost",
        "port": servers.two.port,
        "security": "implicit",
        "username": "ada@brightleaf.example",
        "password": badserver.PASSWORD,
        "domain": "brightleaf.example",
        "from_name": "Brightleaf",
    }


def errors_of(answer):
    assert answer.status_code == 422, answer.get_json()
    return {one["pointer"]: one["message"] for one in answer.get_json()["errors"]}


def press(owner, number, action):
    return owner.submit(f"{PAGE}/versions/{number}/{action}", {}, page=PAGE)


def test_a_draft_passes_its_check_and_sends_only_once_a_person_activates_it(owner, live, api, draft, servers):
    answer = api.save(draft)
    assert answer.status_code == 201
    assert answer.headers["Location"] == f"{VERSIONS}/2"
    saved = answer.get_json()
    assert (saved["state"], saved["waits_for_person"], saved["check"]) == ("draft", True, None)
    assert (saved["port"], saved["sender"]) == (servers.two.port, "info@brightleaf.example")
    assert saved["saved_by"] == "API token Terraform"
    assert "password" not in saved
    work()
    assert len(checks()) == 1, "saving requests no check"

    started = api.check(2)
    assert (started.status_code, started.get_json()["check"]["state"]) == (202, "waiting")
    assert api.check(2).status_code == 202
    work()
    assert len(checks()) == 2, "a check that waits is not requested twice"
    found = api.get(2).get_json()
    assert (found["check"]["state"], found["check"]["diagnosis"]) == ("passed", None)
    assert found["check"]["recipient"] == "ada@brightleaf.example"
    assert [one["stage"] for one in found["check"]["stages"]][-2:] == ["rcpt", "data"]
    assert found["state"] == "draft"

    db.session.rollback()
    assert routing.live_version(account_id()).number == 1
    assert api.client.get("/api/v1/sending", headers=api.headers).get_json()["version"] == 1
    before = len(servers.one.messages), len(servers.two.messages)
    enqueue_message(account_id(), "to-an-affiliate")
    work()
    assert (len(servers.one.messages), len(servers.two.messages)) == (before[0] + 1, before[1])
    version = db.session.get_one(SmtpSettings, versions()[1].id)
    assert not check.activate_after_proof(version, now=utcnow())
    assert press(owner, 2, "check").status_code == 303
    work()
    assert [one.state for one in versions()] == [VersionState.LIVE, VersionState.DRAFT]

    page = " ".join(text_of(owner.get(PAGE)).split())
    assert "Version 2 needs your approval" in page
    assert "API token Terraform" in page
    assert f"localhost:{servers.one.port}" in page, "what is live is beside it"
    assert press(owner, 2, "activate").status_code == 303
    assert [one.state for one in versions()] == [VersionState.RETIRED, VersionState.LIVE]
    page = text_of(owner.get(PAGE))
    assert "needs your approval" not in page
    assert "although it has not passed" not in page
    before = len(servers.two.messages)
    enqueue_message(account_id(), "to-another-affiliate")
    work()
    assert len(servers.two.messages) == before + 1


def test_a_saved_password_goes_to_no_other_server_or_user(live, api, draft, servers):
    del draft["password"]
    answer = errors_of(api.save(draft))
    assert "enter the SMTP password again" in answer["#/password"]
    draft["port"] = servers.one.port
    assert "#/password" in errors_of(api.save(draft | {"username": "bo@brightleaf.example"}))
    assert "#/password" in errors_of(api.save(draft | {"mechanism": "plain", "host": "other.example"}))
    assert len(versions()) == 1
    assert servers.two.connections == 0
    assert api.save(draft).status_code == 201, "to the same server and user it may be kept"
    api.check(2)
    work()
    assert api.get(2).get_json()["check"]["state"] == "passed"
    assert servers.two.connections == 0


def test_a_failed_check_is_read_with_stages_and_a_stable_code(api, draft, servers):
    servers.two.script = REFUSED
    api.save(draft | {"password": "wrong"})
    api.check(1)
    work()
    found = api.get(1).get_json()["check"]
    assert (found["state"], found["stages"][-1]["stage"], found["stages"][-1]["verdict"]) == (
        "failed", "auth", "failed",
    )  # fmt: skip
    assert found["diagnosis"]["code"] == checks()[-1].diagnosis["code"]
    assert (found["diagnosis"]["kind"], found["diagnosis"]["field"]) == ("credentials", "password")
    assert found["diagnosis"]["reply"].startswith("535")
    assert found["diagnosis"]["fixes"]


def test_what_a_person_saves_comes_from_no_draft_of_the_api_unseen(owner, live, api, draft, form, servers):
    assert api.save(draft | {"reply_to": "thief@evil.example"}).status_code == 201
    page = text_of(owner.get(PAGE))
    assert value_of(page, "reply_to") == ""
    assert value_of(page, "port") == str(servers.one.port)
    assert operations.newest(account_id()).number == 1
    chosen = text_of(owner.get(f"{PAGE}?from=2"))
    assert value_of(chosen, "port") == str(servers.two.port)
    assert "a draft from the API" in unescape(chosen)
    save(owner, form, port=str(servers.two.port), password="", based_on="2", from_name="Mine")
    work()
    third = versions()[2]
    assert (third.state, third.from_name, third.waits_for_person) == (VersionState.DRAFT, "Mine", True)
    assert checks()[-1].state is CheckState.PASSED
    assert fixes._fixed_version(third, {}).waits_for_person
    save(owner, form, from_name="Ours")
    work()
    assert [one.state.value for one in versions()] == ["retired", "draft", "draft", "live"]


def test_a_check_of_the_api_displaces_none_of_a_person(owner, api, draft, form, servers):
    api.save(draft)
    save(owner, form)
    answer = api.check(1)
    assert answer.status_code == 409
    assert answer.get_json()["type"].endswith("#problem-not-checked")
    assert "no draft of the API" in api.check(2).get_json()["detail"]
    assert [one.state for one in checks()] == [CheckState.WAITING]
    work()
    assert versions()[1].state is VersionState.LIVE
    assert api.check(2).status_code == 409, "neither the live version"

    save(owner, form, from_name="New")
    row = db.session.scalars(select(SettingsCheck).order_by(SettingsCheck.id.desc())).first()
    row.state = CheckState.PASSED  # and waits for the proof of its domain
    db.session.commit()
    assert api.check(1).status_code == 202
    third = db.session.get_one(SmtpSettings, versions()[2].id)
    assert check.activate_after_proof(third, now=utcnow()), "a check of the API does not supersede it"
    save(owner, form, from_name="Newer")
    assert [one.version_id for one in checks() if one.state is CheckState.WAITING] == [versions()[3].id]


def test_the_button_that_discards_counts_every_draft(owner, api, draft):
    for _draft in range(22):  # more than the list of versions shows
        assert api.save(draft).status_code == 201
    assert "Discard 22 drafts" in text_of(owner.get(PAGE))
    assert owner.submit(f"{PAGE}/drafts/discard", {}, page=PAGE).status_code == 303
    assert {one.state for one in versions()} == {VersionState.DISCARDED}


def test_what_is_wrong_is_named_by_field_and_nothing_is_saved(api, draft, servers):
    wrong = {
        "host": "smtp mailgun org", "port": 22, "security": "plain", "reply_to": "nobody", "headers": ["Bcc: x@y.example"],
        "reply_seconds": 3, "based_on": 7, "from_name": "a\u202eb", "state": "live", "waits_for_person": False,
    }  # fmt: skip
    by_schema = errors_of(api.save(draft | wrong))
    assert set(by_schema) == {"#/security", "#/reply_seconds", "#/state", "#/waits_for_person"}
    for name in ("security", "reply_seconds", "state", "waits_for_person"):
        del wrong[name]
    by_form = errors_of(api.save({"username": "ada", "password": "secret"} | wrong))
    assert set(by_form) == {"#/reply_to", "#/based_on", "#/from_name"}
    for name in ("reply_to", "based_on", "from_name"):
        del wrong[name]
    by_rules = errors_of(api.save(draft | wrong))
    assert set(by_rules) == {"#/host", "#/port", "#/headers"}
    assert "#/host" in errors_of(api.save({"username": "ada"}))
    for body in ([], "x", 1):
        assert set(errors_of(api.save(body))) == {"#"}
    injected = draft | {"headers": ["X-PM-Tag: a\nX-PM-Tag: b"]}
    assert set(errors_of(api.save(injected))) == {"#/headers/0"}
    assert versions() == []


def test_every_field_of_the_page_can_be_saved():
    fields = set(settings_request_schemas()["SettingsDraft"]["properties"])
    assert fields == set(SettingsInput.__dataclass_fields__)


def test_drafts_and_checks_are_limited(api, draft):
    assert api.save(draft).status_code == 201
    account = account_id()
    for limit in (CHECKS, API_DRAFTS):
        while consume(limit, account, now=utcnow()):
            pass
    db.session.commit()
    for answer in (api.save(draft), api.check(1)):
        assert answer.status_code == 429
        assert int(answer.headers["Retry-After"]) > 0
    assert len(versions()) == 1
    assert checks() == []


def test_inner_networks_are_refused_as_on_the_page(api, draft, servers):
    assert api.save(draft | {"host": "10.0.0.1", "port": 587, "security": "starttls"}).status_code == 201
    api.check(1)
    work()
    found = api.get(1).get_json()["check"]
    assert found["state"] == "failed"
    assert found["diagnosis"]["code"] == checks()[-1].diagnosis["code"]


def test_the_password_of_a_request_is_in_its_sealed_column_only(api, draft, caplog, capfd):
    secret = "quite-a-secret-6b1f"
    bodies = [draft, draft | {"host": "a b"}, draft | {secret: 1}, draft | {"port": secret}]
    answers = [api.save(one | {"password": secret}) for one in bodies]
    assert [one.status_code for one in answers] == [201, 422, 422, 422]
    api.check(1)
    work()
    answers.append(api.get(1))
    texts = [one.get_data(as_text=True) for one in (*answers[:2], *answers[3:])]
    texts += [caplog.text, *capfd.readouterr(), *_all_values()]
    encoded = base64.b64encode(secret.encode()).decode()
    assert not [one for one in texts if secret in one or encoded in one]


def _all_values():
    """Return each row of each table, sealed columns included, as text."""
    db.session.rollback()
    for mapper in Base.registry.mappers:
        for row in db.session.execute(select(mapper.local_table)):
            yield " ".join(
                bytes(value).decode("latin-1")
                if isinstance(column.type, LargeBinary) and value
                else str(value)
                for column, value in zip(mapper.local_table.c, row, strict=True)
            )
    db.session.rollback()
