"""Reads one provider card, a TOML file; unknown, missing and contradictory fields are errors."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ..diagnosis.cases import read_case
from ..server import Security
from ..toml_tables import TomlTable, read_toml
from .model import (
    HELP_FIELDS,
    PLACEHOLDER,
    CardPart,
    Deprecation,
    DnsFacts,
    EnvelopeDomain,
    Host,
    OAuth,
    Password,
    PasswordLogin,
    Port,
    Provider,
    ProviderKind,
    RateLimits,
    ReferenceHeader,
    SecretShape,
    SigningKey,
    SourcePage,
    Username,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_REQUIRED_HELP = ("host", "username", "password")
_DATE = re.compile(r"\d{4}(-\d{2}(-\d{2})?)?")
_WAYS = {
    "microsoft": {"microsoft-365", "consent:microsoft", "consent:outlook-com"},
    "google": {"google-workspace", "consent:google"},
    "rehearsal": {"consent:rehearsal"},
}
_MECHANISMS = frozenset({"PLAIN", "LOGIN", "CRAM-MD5", "XOAUTH2", "OAUTHBEARER"})


def _host(entry: TomlTable) -> Host:
    host = Host(
        entry.text("name"),
        entry.text("label"),
        entry.optional_text("pattern"),
        entry.flag("literal", default=True),
    )
    if host.name != host.name.lower() or (host.pattern and "{region}" not in host.pattern):
        raise entry.error("name", "must be in lower case, and a pattern must contain {region}")
    entry.reject_unknown_keys()
    return host


def _port(entry: TomlTable) -> Port:
    port = Port(entry.number("number"), entry.choice("security", Security), entry.flag("recommended"))
    if not 0 < port.number < 65536:
        raise entry.error("number", "must be a port number")
    entry.reject_unknown_keys()
    return port


def _ports(card: TomlTable) -> tuple[Port, ...]:
    ports = tuple(_port(entry) for entry in card.tables("ports", required=True))
    if sum(port.recommended for port in ports) != 1:
        raise card.error("ports", "exactly one must be recommended")
    return ports


def _username(entry: TomlTable) -> Username:
    username = Username(
        entry.text("format"),
        entry.text("example"),
        entry.texts("literal"),
        entry.flag("strict", default=True),
        entry.flag("address"),
        entry.text("suffix") if "suffix" in entry else "",
    )
    entry.reject_unknown_keys()
    return username


def _password(entry: TomlTable) -> Password:
    letters = entry.number("letters") if "letters" in entry else None
    password = Password(
        entry.text("what"),
        entry.texts("not"),
        entry.texts("steps", required=True),
        entry.flag("app_password"),
        letters,
    )
    entry.reject_unknown_keys()
    return password


def _secret(entry: TomlTable) -> SecretShape:
    name, use, only_here = entry.text("name"), entry.text("use"), entry.flag("only_here")
    if use not in {"username", "password", "none"}:
        raise entry.error("use", "must be username, password or none")
    try:
        pattern = re.compile(entry.text("pattern"), re.ASCII)
    except re.error as error:
        raise entry.error("pattern", str(error)) from error
    entry.reject_unknown_keys()
    return SecretShape(name, pattern, use, only_here)


def _dns(entry: TomlTable) -> DnsFacts:
    has_envelope = "envelope" in entry
    facts = DnsFacts(
        spf=entry.optional_text("spf"),
        dkim=entry.optional_text("dkim"),
        return_path=entry.optional_text("return_path"),
        includes=entry.texts("includes"),
        envelope=entry.choice("envelope", EnvelopeDomain) if has_envelope else EnvelopeDomain.UNKNOWN,
        return_label=entry.optional_text("return_label"),
        return_record=entry.optional_text("return_record"),
        keys=tuple(_key(one) for one in entry.tables("keys")),
        selectors=entry.texts("selectors"),
        own_selectors=entry.flag("own_selectors"),
    )
    if (facts.envelope is EnvelopeDomain.SUBDOMAIN) != bool(facts.return_label):
        raise entry.error("return_label", "must be given if, and only if, the envelope is a subdomain")
    entry.reject_unknown_keys()
    return facts


def _key(entry: TomlTable) -> SigningKey:
    key = SigningKey(entry.text("selector"), entry.text("record"), entry.optional_text("target"))
    if key.record not in {"CNAME", "TXT"} or (key.target and key.record != "CNAME"):
        raise entry.error("record", "must be CNAME or TXT, and only a CNAME may have a target")
    entry.reject_unknown_keys()
    return key


def _deprecation(entry: TomlTable) -> Deprecation:
    deprecation = Deprecation(entry.text("date"), entry.text("text"))
    if not _DATE.fullmatch(deprecation.date):
        raise entry.error("date", "must be YYYY, YYYY-MM or YYYY-MM-DD")
    entry.reject_unknown_keys()
    return deprecation


def _help(entry: TomlTable) -> Mapping[str, str]:
    for missing in (key for key in _REQUIRED_HELP if key not in entry):
        raise entry.error(missing, "is missing")
    sentences = {key: entry.text(key) for key in HELP_FIELDS if key in entry}
    entry.reject_unknown_keys()
    return sentences


def _mechanisms(card: TomlTable) -> tuple[str, ...]:
    names = card.texts("mechanisms", required=True)
    if not set(names) <= _MECHANISMS:
        raise card.error("mechanisms", f"must be among {', '.join(sorted(_MECHANISMS))}")
    return names


def _password_login(card: TomlTable) -> PasswordLogin:
    return card.choice("password_login", PasswordLogin) if "password_login" in card else PasswordLogin.YES


def _count(card: TomlTable, name: str, highest: int) -> int | None:
    if name not in card:
        return None
    count = card.number(name)
    if not 0 < count <= highest:
        raise card.error(name, f"must be between 1 and {highest}")
    return count


def _oauth(card: TomlTable) -> OAuth | None:
    if "oauth" not in card:
        return None
    entry = card.table("oauth")
    found = OAuth(entry.text("issuer"), entry.texts("ways"))
    known = _WAYS.get(found.issuer, set())
    if not found.ways or not known.issuperset(found.ways):
        raise entry.error("ways", f"must be of the issuer's: {sorted(known)}")
    entry.reject_unknown_keys()
    return found


def _reference(card: TomlTable) -> ReferenceHeader | None:
    if "reference" not in card:
        return None
    entry = card.table("reference")
    found = ReferenceHeader(entry.text("header"), entry.text("value"))
    if found.value.count(PLACEHOLDER) != 1:
        raise entry.error("value", f"must contain {PLACEHOLDER} once")
    entry.reject_unknown_keys()
    return found


def _rate_limits(card: TomlTable) -> RateLimits | None:
    entry = card.table("rate_limits")
    names = ("per_second", "per_hour", "per_day")
    found = {name: entry.number(name) for name in names if name in entry}
    for name in (name for name, count in found.items() if count < 1):
        raise entry.error(name, "must be 1 or more")
    entry.reject_unknown_keys()
    return RateLimits(**found) if found else None


def _source(entry: TomlTable) -> SourcePage:
    source = SourcePage(entry.text("page"), entry.choices("confirms", CardPart), entry.flag("third_party"))
    if not source.page.startswith("https://"):
        raise entry.error("page", "must begin with https://")
    if not source.confirms:
        raise entry.error("confirms", "must name at least one part of the card")
    entry.reject_unknown_keys()
    return source


def _sources(card: TomlTable) -> tuple[SourcePage, ...]:
    sources = tuple(_source(entry) for entry in card.tables("sources"))
    if bool(sources) != ("checked" in card):
        raise card.error("sources", "must be given if, and only if, checked is")
    return sources


def read_card(path: Path) -> Provider:
    """Return the provider described by a card.

    Raises:
        MalformedData: the card is malformed; the message names the file and the field.
    """
    card = read_toml(path)
    card_id, kind = card.text("id"), card.choice("kind", ProviderKind)
    if card_id != path.stem:
        raise card.error("id", f"must be {path.stem!r}, the name of the file")
    provider = Provider(
        id=card_id,
        aliases=card.texts("aliases"),
        name=card.text("name"),
        kind=kind,
        hosts=tuple(_host(entry) for entry in card.tables("hosts", required=kind is not ProviderKind.OTHER)),
        ports=_ports(card),
        username=_username(card.table("username", required=True)),
        password=_password(card.table("password", required=True)),
        mechanisms=_mechanisms(card),
        from_rule=card.text("from_rule"),
        from_domain_must_match_username=card.flag("from_domain_must_match_username"),
        relays_by_address=card.flag("relays_by_address"),
        replaces_from=card.flag("replaces_from"),
        password_login=_password_login(card),
        limits=card.texts("limits"),
        dns=_dns(card.table("dns")),
        cases=tuple(read_case(entry, f"{card_id}-") for entry in card.tables("cases")),
        deprecations=tuple(_deprecation(entry) for entry in card.tables("deprecations")),
        help=_help(card.table("help", required=True)),
        mail_domains=card.texts("mail_domains"),
        secrets=tuple(_secret(entry) for entry in card.tables("secrets")),
        oauth=_oauth(card),
        connections=_count(card, "connections", 100),
        messages_per_connection=_count(card, "messages_per_connection", 10_000),
        reference=_reference(card),
        rate_limits=_rate_limits(card),
        checked=card.optional_date("checked"),
        sources=_sources(card),
    )
    card.reject_unknown_keys()
    return provider
