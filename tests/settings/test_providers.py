"""The provider picker lists every provider, and a chosen provider changes the help of the form."""

from __future__ import annotations

from typing import Any
from xml.etree.ElementTree import Element

import html5lib
import pytest

from portal.settings.providers import REHEARSALS
from portal.smtp.providers import load_catalogue
from portal.smtp.providers.model import HELP_FIELDS, Provider
from tests.cases import in_one_test
from tests.pages import LintingClient
from tests.settings.conftest import PAGE, save, text_of, versions

CARDS = [card for card in load_catalogue() if card.id != "other"]


def tree(response: Any) -> Element:
    found: Element = html5lib.parse(text_of(response), namespaceHTMLElements=False)
    return found


def options(page: Element) -> dict[str, list[str]]:
    (picker,) = (one for one in page.iter("select") if one.get("name") == "provider")
    return {
        group.get("label", ""): [o.get("value", "") for o in group.iter("option")]
        for group in picker.iter("optgroup")
    }


def selected(page: Element) -> str:
    (picker,) = (one for one in page.iter("select") if one.get("name") == "provider")
    return next((o.get("value", "") for o in picker.iter("option") if o.get("selected") is not None), "")


def hint(page: Element, name: str) -> str:
    (found,) = (one for one in page.iter() if one.get("data-hint-for") == name)
    return " ".join("".join(found.itertext()).split())


def test_every_provider_is_listed_once_in_its_group(owner: LintingClient) -> None:
    groups = options(tree(owner.get(PAGE)))
    assert list(groups) == ["Most common", "For automated emails", "Mailboxes", "Other"]
    assert set(groups["Most common"]) >= {"mailgun", "gmail"}
    assert "ses" in groups["For automated emails"]
    assert "fastmail" in groups["Mailboxes"]
    assert groups["Other"] == ["other"]
    listed = [id_ for ids in groups.values() for id_ in ids if id_ not in REHEARSALS]
    assert sorted(listed) == sorted(card.id for card in load_catalogue())


@in_one_test("card", CARDS)
def test_a_chosen_provider_changes_the_help_of_every_field(owner: LintingClient, card: Provider) -> None:
    page = tree(owner.get(f"{PAGE}/help?provider={card.id}"))
    for field in HELP_FIELDS:
        assert hint(page, field) == " ".join(card.help[field].split())
    assert card.password.steps[0] in hint(page, "password-steps")
    for host in card.hosts if len(card.hosts) > 1 else ():
        assert host.name in hint(page, "provider-hosts")
        assert host.label in hint(page, "provider-hosts")
    for note in card.deprecations:
        assert note.text in hint(page, "provider-endings")


def test_without_javascript_a_button_fills_the_values_and_keeps_the_input(owner: LintingClient) -> None:
    response = owner.submit(
        PAGE, {"use_provider": "1", "provider": "sendgrid", "port": "465", "security": "implicit"}
    )
    page = tree(response)
    values = {one.get("name"): one.get("value") for one in page.iter("input") if one.get("type") != "radio"}
    assert (values["host"], values["username"], values["port"]) == ("smtp.sendgrid.net", "apikey", "465")
    assert hint(page, "host") == "smtp.sendgrid.net."


def test_a_provider_with_regional_servers_fills_no_server_and_lists_them(owner: LintingClient) -> None:
    page = tree(owner.submit(PAGE, {"use_provider": "1", "provider": "ses", "security": "starttls"}))
    values = {one.get("name"): one.get("value") for one in page.iter("input") if one.get("type") != "radio"}
    assert not values["host"]
    assert values["port"] == "587"
    hosts = [o.get("value") for one in page.iter("datalist") for o in one.iter("option")]
    assert "email-smtp.eu-central-1.amazonaws.com" in hosts
    assert "eu-central-1" in hint(page, "provider-hosts")


@pytest.mark.parametrize(
    ("host", "picked", "known"),
    [
        ("smtp.eu.mailgun.org", "", "mailgun"),
        ("email-smtp.eu-central-1.amazonaws.com", "other", "ses"),
        ("smtp.zoho.eu", "mailgun", "zoho"),
        ("mail.unknown.example", "other", "other"),
        ("mail.unknown.example", "fastmail", "fastmail"),
        ("mail.unknown.example", "", "other"),
    ],
)
def test_a_saved_server_is_recognised_as_its_provider(
    owner: LintingClient, form: dict[str, str], host: str, picked: str, known: str
) -> None:
    response = save(owner, form, host=host, provider=picked, port="587", security="starttls")
    assert response.status_code == 303, text_of(response)
    (version,) = versions()
    assert version.provider == known
    assert selected(tree(owner.get(PAGE))) == known


def test_a_deprecation_is_shown_beside_the_form_and_does_not_prevent_saving(
    owner: LintingClient, form: dict[str, str]
) -> None:
    page = tree(owner.get(f"{PAGE}?provider=microsoft365"))
    assert "December 2026: Password log-in is off by default" in hint(page, "provider-endings")
    assert hint(tree(owner.get(f"{PAGE}?provider=fastmail")), "provider-endings") == ""
    saved = save(owner, form, host="smtp.office365.com", port="587", security="starttls")
    assert saved.status_code == 303
