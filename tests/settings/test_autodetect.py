"""Find my settings: an email address fills the empty fields of the form and changes no other field."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import html5lib
import pytest
from flask.testing import FlaskClient
from sqlalchemy import func, select

from portal.config import Config, ConfigError
from portal.db import db
from portal.settings.models import SmtpSettings
from portal.web.owner_limits import SUGGESTIONS
from tests.conftest import make_config
from tests.pages import LintingClient
from tests.settings.conftest import PAGE, text_of
from tests.smtp.nameserver import MUTE, NameServer

pytestmark = pytest.mark.thorough

ZONE = {
    ("brightleaf.example", "MX"): ["1 aspmx.l.google.com."],
    ("_submissions._tcp.declared.example", "SRV"): ["0 1 465 out.declared.example."],
}


@pytest.fixture
def nameserver() -> Iterator[NameServer]:
    with NameServer(ZONE, {"mute.example": MUTE}) as running:
        yield running


@pytest.fixture
def config(tmp_path: Path, nameserver: NameServer) -> Config:
    address = f"{nameserver.at.address}:{nameserver.at.port}"
    return make_config(tmp_path / "instance", env={"SIGNET_DNS_SERVERS": address})


def search(owner: LintingClient, address: str, **fields: str) -> Any:
    return owner.submit(PAGE, {"find_settings": "1", "address": address, "security": "starttls", **fields})


def shown(response: Any) -> dict[str, str]:
    """Return the values of the form's fields on the page."""
    tree = html5lib.parse(text_of(response), namespaceHTMLElements=False)
    values = {
        one.get("name"): one.get("value", "") for one in tree.iter("input") if one.get("type") != "radio"
    }
    values |= {
        one.get("name"): one.get("value") for one in tree.iter("input") if one.get("checked") is not None
    }
    for select_ in tree.iter("select"):
        values[select_.get("name")] = next(
            (o.get("value") for o in select_.iter("option") if o.get("selected") is not None), ""
        )
    return values


def test_an_address_fills_provider_server_port_and_username_and_the_page_names_the_reason(
    owner: LintingClient,
) -> None:
    response = search(owner, "ada@brightleaf.example")
    assert response.status_code == 200
    page, fields = text_of(response), shown(response)
    assert "Emails to brightleaf.example are received by Google" in page
    assert "We filled in: SMTP Server with smtp.gmail.com; SMTP Port with 587" in page
    assert (fields["provider"], fields["host"], fields["port"]) == ("gmail", "smtp.gmail.com", "587")
    assert fields["username"] == "ada@brightleaf.example"
    assert "16-letter" in page or "16 letters" in page, "the hints are Google's"


def test_the_server_in_a_domains_srv_record_is_used(owner: LintingClient) -> None:
    fields = shown(search(owner, "ada@declared.example"))
    assert (fields["host"], fields["port"], fields["security"]) == ("out.declared.example", "465", "implicit")


def test_only_empty_fields_are_filled(owner: LintingClient) -> None:
    response = search(owner, "ada@gmail.com", host="smtp.example.org", username="bo", provider="other")
    fields = shown(response)
    assert (fields["host"], fields["username"], fields["port"], fields["provider"]) == (
        "smtp.example.org",
        "bo",
        "",
        "other",
    )
    assert "What you entered is unchanged." in text_of(response)
    kept = shown(search(owner, "ada@gmail.com", username="bo", port="465", security="implicit"))
    assert (kept["host"], kept["username"], kept["port"], kept["security"]) == (
        "smtp.gmail.com",
        "bo",
        "465",
        "implicit",
    )


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("", "Enter your email address"),
        ("nonsense", "Enter an email address such as"),
        ("ada@unknown.example", "does not name a server that receives emails"),
        ("ada@mute.example", "The DNS did not answer for mute.example"),
        ("ada@\x00brightleaf.example", "invisible characters"),
        ("x" * 400, "254 characters or fewer"),
    ],
)
def test_a_search_without_a_result_has_an_error_beside_the_address_only(
    owner: LintingClient, address: str, sentence: str
) -> None:
    response = search(owner, address)
    page = text_of(response)
    assert response.status_code == 422
    assert sentence in page
    assert "Enter the SMTP username." not in page


def test_control_characters_in_other_fields_give_a_valid_page(owner: LintingClient) -> None:
    response = search(owner, "ada@gmail.com", domain="bright\x00leaf\x1b", from_name="\u202eAda")
    assert response.status_code == 200
    assert shown(response)["domain"] == "brightleaf"


def test_a_provider_that_accepts_no_passwords_is_suggested_with_a_warning(owner: LintingClient) -> None:
    page = text_of(search(owner, "ada@hotmail.com"))
    assert "accepts no passwords from programs any more. Connect it without a password instead." in page
    assert "banner-warning" in page


def test_enter_in_the_address_field_starts_the_search(owner: LintingClient) -> None:
    response = owner.submit(PAGE, {"address": "ada@brightleaf.example", "security": "starttls"})
    assert response.status_code == 200
    assert shown(response)["host"] == "smtp.gmail.com"


def test_a_search_saves_nothing_and_does_not_return_the_password(owner: LintingClient) -> None:
    page = text_of(search(owner, "ada@brightleaf.example", password="secret-7-secret"))
    assert "secret-7-secret" not in page
    assert db.session.scalar(select(func.count()).select_from(SmtpSettings)) == 0


def test_searches_are_limited_for_each_account_by_itself(
    owner: LintingClient, stranger: LintingClient, nameserver: NameServer
) -> None:
    for _ in range(SUGGESTIONS.amount):
        assert search(owner, "ada@brightleaf.example").status_code == 200
    queries = len(nameserver.queries)
    response = search(owner, "ada@brightleaf.example")
    assert response.status_code == 429
    assert re.search(r"too many attempts in a short time\. Wait 6\d minutes", text_of(response))
    assert len(nameserver.queries) == queries
    assert search(stranger, "ada@brightleaf.example").status_code == 200


def test_a_search_requires_a_login(client: FlaskClient, nameserver: NameServer) -> None:
    assert client.post(
        PAGE, data={"find_settings": "1", "address": "ada@brightleaf.example"}
    ).status_code in {302, 303, 400}
    assert nameserver.queries == []


def test_an_invalid_resolver_address_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"SIGNET_DNS_SERVERS holds 'dns\.example'"):
        make_config(tmp_path / "instance", env={"SIGNET_DNS_SERVERS": "10.0.0.53, dns.example"})
