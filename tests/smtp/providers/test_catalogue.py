"""The catalogue is complete, reads cards strictly and recognises providers by host and domain."""

from __future__ import annotations

from pathlib import Path

import pytest

from portal.smtp.providers import MalformedData, load_catalogue
from portal.smtp.providers import catalogue as catalogue_module
from portal.smtp.providers.card_reader import read_card
from portal.smtp.providers.docs_page import parts_of, render_page
from portal.smtp.providers.model import EnvelopeDomain, ProviderKind, RateLimits
from portal.smtp.server import Security

CARDS = Path(catalogue_module.__file__).parent / "cards"
ROOT = Path(__file__).parents[3]


def test_there_are_thirty_one_providers_and_the_generic_card() -> None:
    catalogue = load_catalogue()
    assert len(catalogue) == 32
    assert catalogue.generic.id == "other"
    assert catalogue.get("google") is catalogue.get("gmail")
    assert catalogue.get("nobody") is None


def test_every_card_has_help_for_every_field() -> None:
    for provider in load_catalogue():
        for field in (
            "host",
            "username",
            "password",
            "domain",
            "port",
            "security",
            "mechanism",
            "wrapped_user",
        ):
            assert provider.help[field].endswith("."), (provider.id, field)
            assert not provider.help[field].endswith(" ."), (provider.id, field)
        assert provider.recommended_port
        assert provider.password.steps
        assert all(port.security is not Security.PLAINTEXT for port in provider.ports)


def test_google_alone_replaces_senders_and_relays_by_address() -> None:
    assert {one.id for one in load_catalogue() if one.replaces_from} == {"gmail"}
    assert {one.id for one in load_catalogue() if one.relays_by_address} == {"google-relay"}


def test_mailgun_and_google_expect_the_usernames_domain() -> None:
    matching = {one.id for one in load_catalogue() if one.from_domain_must_match_username}
    assert matching == {"mailgun", "gmail", "google-relay"}
    mailgun = load_catalogue().get("mailgun")
    assert mailgun
    assert [(host.name, host.label) for host in mailgun.hosts] == [
        ("smtp.mailgun.org", "US"),
        ("smtp.eu.mailgun.org", "EU"),
    ]
    assert "postmaster@mg.example.com" in mailgun.help["username"]
    assert "not your log-in for Mailgun's website" in mailgun.help["username"]


@pytest.mark.parametrize(
    ("host", "identity"),
    [
        ("smtp.mailgun.org", "mailgun"),
        ("SMTP.EU.Mailgun.org.", "mailgun"),
        ("email-smtp.eu-west-1.amazonaws.com", "ses"),
        ("email-smtp.me-central-1.amazonaws.com", "ses"),
        ("smtp.gmail.com", "gmail"),
        ("smtp-relay.gmail.com", "google-relay"),
        ("smtp.office365.com", "microsoft365"),
        ("sandbox.smtp.mailtrap.io", "mailtrap"),
        ("ex12.mail.ovh.net", "ovh"),
        ("mail-eu.smtp2go.com", "smtp2go"),
    ],
)
def test_a_host_is_recognised(host: str, identity: str) -> None:
    found = load_catalogue().by_host(host)
    assert found
    assert found.id == identity


@pytest.mark.parametrize("host", ["mail.example.org", "evil-smtp.gmail.com.example.org", "amazonaws.com", ""])
def test_an_unknown_host_has_no_provider(host: str) -> None:
    assert load_catalogue().by_host(host) is None


def test_a_misspelt_host_is_recognised_and_a_correct_one_is_not() -> None:
    near = load_catalogue().similar_host
    assert near("smpt.mailgun.org") == "smtp.mailgun.org"
    assert near("smtp.gmial.com") == "smtp.gmail.com"
    assert near("smtp.gmail.com") is None
    assert near("email-smtp.eu-north-1.amazonaws.com") is None
    assert near("mail.shop.example") is None


def test_public_mail_domains_are_known() -> None:
    catalogue = load_catalogue()
    found = catalogue.by_domain("GMail.com")
    assert found
    assert found.id == "gmail"
    assert catalogue.by_domain("web.de") is None
    assert catalogue.is_public_mail("web.de")
    assert not catalogue.is_public_mail("example.com")


def test_search_finds_by_name_host_and_former_name() -> None:
    search = load_catalogue().search
    assert [one.id for one in search("sendinblue")] == ["brevo"]
    assert {one.id for one in search("google")} == {"gmail", "google-relay"}
    assert [one.id for one in search("amazon ses")] == ["ses"]
    assert search("zzz") == ()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (("mechanisms = ", 'mechanisms = ["NTLM"] #'), "mechanisms"),
        (("recommended = true", "recommended = false"), "ports"),
        (("number = 587", 'number = "587"'), "number"),
        (("[help]\nhost", "[help]\nhots"), "host"),
        (('kind = "transactional"', 'kind = "wonderful"'), "kind"),
        (("from_rule", "from_rul"), "from_rule"),
        (("from_rule", "rate_limits = { per_week = 9 }\nfrom_rule"), "per_week"),
        (("from_rule", "rate_limits = { per_day = 0 }\nfrom_rule"), "per_day"),
        (('id = "mailgun"', 'id = "postgun"'), "id"),
        (('id = "mailgun"', 'id = "mailgun'), "mailgun.toml"),
        (("checked = 2026-11-29", 'checked = "2026-11-29"'), "checked"),
        (("checked = 2026-11-29", "checked = 2026-11-29T10:00:00"), "checked"),
        (("checked = 2026-11-29\n", ""), "sources"),
        (('page = "https:', 'page = "http:'), "page"),
        (('confirms = ["dkim"]', "confirms = []"), "confirms"),
        (('confirms = ["dkim"]', 'confirms = ["dkin"]'), "confirms"),
    ],
)
def test_a_malformed_card_is_rejected_naming_file_and_field(
    tmp_path: Path, change: tuple[str, str], named: str
) -> None:
    for name in ("mailgun.toml", "other.toml"):
        (tmp_path / name).write_text((CARDS / name).read_text(encoding="utf-8"), encoding="utf-8")
    card = tmp_path / "mailgun.toml"
    card.write_text(card.read_text(encoding="utf-8").replace(*change, 1), encoding="utf-8")
    with pytest.raises(MalformedData, match=r"mailgun\.toml") as refused:
        load_catalogue(tmp_path)
    assert named in str(refused.value)


def test_every_kind_of_provider_occurs() -> None:
    kinds = {one.kind for one in load_catalogue()}
    assert kinds == set(ProviderKind)


def test_the_cards_contain_published_rate_limits() -> None:
    cards = {one.id: one.rate_limits for one in load_catalogue()}
    assert cards["brevo"] == RateLimits(per_day=300)
    assert cards["microsoft365"] == RateLimits(per_hour=1_800, per_day=10_000)
    assert cards["other"] is None
    assert sum(limits is not None for limits in cards.values()) == 7


def test_every_card_has_its_source_and_the_date_of_its_check() -> None:
    for card in load_catalogue():
        assert card.checked, card.id
        assert card.sources, card.id
        for source in card.sources:
            assert set(source.confirms) <= set(parts_of(card)), (card.id, source.page)


def test_the_page_about_the_checks_is_up_to_date() -> None:
    written = (ROOT / "docs" / "providers.md").read_text(encoding="utf-8")
    assert written == render_page(), "run: python -m portal.smtp.providers.docs_page > docs/providers.md"


def test_ports_for_networks_that_block_the_usual_ones_are_on_the_cards() -> None:
    catalogue = load_catalogue()
    ports = {one.id: {(port.number, port.security) for port in one.ports} for one in catalogue}
    assert ports["smtp2go"] >= {
        (8025, Security.STARTTLS),
        (80, Security.STARTTLS),
        (8465, Security.IMPLICIT_TLS),
        (443, Security.IMPLICIT_TLS),
    }
    assert ports["mailjet"] >= {(number, Security.STARTTLS) for number in (2525, 588, 80)}
    for name in ("smtp2go", "mailjet"):
        card = catalogue.get(name)
        assert card
        assert all(str(port.number) in card.help["security"] for port in card.ports)


def test_cards_name_the_envelope_domain_and_the_dkim_records() -> None:
    catalogue = load_catalogue()
    for provider in catalogue:
        facts = provider.dns
        assert facts.envelope is EnvelopeDomain.UNKNOWN or not provider.mail_domains or facts.includes
        if facts.envelope is EnvelopeDomain.OWN:
            assert facts.includes, (
                f"{provider.id}: receivers check SPF for the From domain, so its include must be known"
            )
        for name in (*facts.includes, *(key.target or "a.b" for key in facts.keys)):
            assert "." in name
            assert not name.startswith("v=")
    unknown = {one.id for one in catalogue if one.dns.envelope is EnvelopeDomain.UNKNOWN}
    assert unknown == {
        "other",
        "outlook-com",
        "yahoo",
        "gmx",
    }  # the generic card, and mailbox providers without custom domains


@pytest.mark.parametrize(
    "lines",
    [
        'envelope = "elsewhere"',
        'envelope = "subdomain"',
        'envelope = "own"\nreturn_label = "send"',
        'keys = [{ selector = "s1", record = "A" }]',
        'keys = [{ selector = "s1", record = "TXT", target = "keys.example" }]',
        'keys = [{ record = "TXT" }]',
    ],
)
def test_contradictory_dns_facts_are_rejected(lines: str, tmp_path: Path) -> None:
    card = (CARDS / "rackspace.toml").read_text("utf-8").replace('envelope = "own"', lines)
    path = tmp_path / "rackspace.toml"
    path.write_text(card, "utf-8")
    with pytest.raises(MalformedData, match=r"rackspace\.toml: dns"):
        read_card(path)
