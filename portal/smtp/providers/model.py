"""Provider cards: what a provider's help pages say about SMTP, read strictly from ``cards/*.toml``."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from ..diagnosis.cases import Case, read_case
from ..server import Security
from ..toml_tables import TomlTable, read_toml

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

HELP_FIELDS = ("host", "username", "password", "domain", "port", "security", "mechanism", "wrapped_user")
_REQUIRED_HELP = ("host", "username", "password")
_DATE = re.compile(r"\d{4}(-\d{2}(-\d{2})?)?")
_MECHANISMS = frozenset({"PLAIN", "LOGIN", "CRAM-MD5", "XOAUTH2", "OAUTHBEARER"})


class ProviderKind(StrEnum):
    """Kind of service."""

    TRANSACTIONAL = "transactional"  # for automated mail
    MAILBOX = "mailbox"  # personal mailboxes
    OTHER = "other"


class PasswordLogin(StrEnum):
    """Whether the provider still accepts passwords over SMTP."""

    YES = "yes"
    ENDING = "ending"
    NO = "no"


@dataclass(frozen=True)
class Host:
    """A submission host. ``pattern`` describes regional hosts, with ``{region}`` in place of the region's name."""

    name: str
    label: str
    pattern: str | None = None
    literal_username: bool = True  # whether the provider's fixed username applies at this host

    def matches(self, host: str) -> bool:
        """Return whether ``host``, in normalised form, is this host or one of its regional hosts."""
        if host == self.name:
            return True
        if self.pattern is None:
            return False
        return re.fullmatch(re.escape(self.pattern).replace(r"\{region\}", r"[a-z0-9.-]+"), host) is not None


@dataclass(frozen=True)
class Port:
    """A port and its encryption."""

    number: int
    security: Security
    recommended: bool = False


@dataclass(frozen=True)
class Username:
    """What the SMTP username looks like.

    ``literal`` lists the fixed words that the provider requires instead of an individual name.
    """

    format: str
    example: str
    literal: tuple[str, ...] = ()
    strict: bool = True  # whether other usernames than the literal ones are refused
    address: bool = False  # whether it is always a full email address


@dataclass(frozen=True)
class Password:
    """What the SMTP password is, what is often typed instead, and the steps to obtain the right one."""

    what: str
    common_mistakes: tuple[str, ...]
    steps: tuple[str, ...]
    app_password: bool = False
    letters: int | None = None  # number of letters, if every password consists of exactly that many


@dataclass(frozen=True)
class SecretShape:
    """Shape of a secret of this provider, for recognising it in the wrong field or at the wrong host."""

    name: str
    pattern: re.Pattern[str]
    use: str  # "username", "password", or "none" if it never works over SMTP
    only_here: bool = False  # too unspecific to be recognised at another provider's host


class EnvelopeDomain(StrEnum):
    """Domain of the envelope sender in mail that the provider delivers. Receivers check SPF for this domain."""

    OWN = "own"  # the From domain itself
    SUBDOMAIN = "subdomain"  # a fixed subdomain of the From domain
    PROVIDER = "provider"  # the provider's, unless the owner set up a subdomain named by the provider
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class SigningKey:
    """DNS record that publishes the provider's DKIM key.

    The ``target`` of a CNAME may contain ``{domain}``, or ``{dashed}`` for the domain with dashes instead of
    dots. It is None if the provider gives every customer a different value.
    """

    selector: str
    record: str  # CNAME or TXT
    target: str | None = None


@dataclass(frozen=True)
class DnsFacts:
    """DNS records that the provider requires; None if it needs none or publishes no fixed value.

    Each of ``includes`` is an SPF include that covers the provider's servers; the first one is recommended.
    """

    spf: str | None = None
    dkim: str | None = None
    return_path: str | None = None
    includes: tuple[str, ...] = ()
    envelope: EnvelopeDomain = EnvelopeDomain.UNKNOWN
    return_label: str | None = None
    return_record: str | None = None  # such as "CNAME pm.mtasv.net"; None if it differs between customers
    keys: tuple[SigningKey, ...] = ()


@dataclass(frozen=True)
class Deprecation:
    """An announced or past end of a feature. ``date`` is YYYY, YYYY-MM or YYYY-MM-DD."""

    date: str
    text: str


@dataclass(frozen=True)
class RateLimits:
    """Emails the provider accepts in a period, as its help pages publish them; None: no limit of that kind."""

    per_second: int | None = None
    per_hour: int | None = None
    per_day: int | None = None


@dataclass(frozen=True)
class Provider:
    """One provider's card."""

    id: str
    aliases: tuple[str, ...]
    name: str
    kind: ProviderKind
    hosts: tuple[Host, ...]
    ports: tuple[Port, ...]
    username: Username
    password: Password
    mechanisms: tuple[str, ...]
    from_rule: str
    from_domain_must_match_username: bool
    password_login: PasswordLogin
    limits: tuple[str, ...]
    dns: DnsFacts
    cases: tuple[Case, ...]  # diagnosis rules for replies that only this provider sends
    deprecations: tuple[Deprecation, ...]
    help: Mapping[str, str]
    mail_domains: tuple[str, ...] = ()
    secrets: tuple[SecretShape, ...] = field(default=(), repr=False)
    connections: int | None = None  # concurrent connections of one account, if published
    rate_limits: RateLimits | None = None  # of the smallest plan; ``limits`` names the plan

    @property
    def recommended_port(self) -> Port | None:
        """The recommended port; None if there is none."""
        return next((port for port in self.ports if port.recommended), None)

    def host_named(self, host: str) -> Host | None:
        """Return the card's host that matches, None if there is none."""
        return next((one for one in self.hosts if one.matches(host)), None)

    def literal_usernames(self, host: str) -> tuple[str, ...]:
        """Return the fixed usernames that the provider requires at ``host``; empty if usernames are individual."""
        entry = self.host_named(host)
        return self.username.literal if entry is None or entry.literal_username else ()


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


def _connections(card: TomlTable) -> int | None:
    if "connections" not in card:
        return None
    count = card.number("connections")
    if not 0 < count <= 100:
        raise card.error("connections", "must be between 1 and 100")
    return count


def _rate_limits(card: TomlTable) -> RateLimits | None:
    entry = card.table("rate_limits")
    names = ("per_second", "per_hour", "per_day")
    found = {name: entry.number(name) for name in names if name in entry}
    for name in (name for name, count in found.items() if count < 1):
        raise entry.error(name, "must be 1 or more")
    entry.reject_unknown_keys()
    return RateLimits(**found) if found else None


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
        password_login=_password_login(card),
        limits=card.texts("limits"),
        dns=_dns(card.table("dns")),
        cases=tuple(read_case(entry, f"{card_id}-") for entry in card.tables("cases")),
        deprecations=tuple(_deprecation(entry) for entry in card.tables("deprecations")),
        help=_help(card.table("help", required=True)),
        mail_domains=card.texts("mail_domains"),
        secrets=tuple(_secret(entry) for entry in card.tables("secrets")),
        connections=_connections(card),
        rate_limits=_rate_limits(card),
    )
    card.reject_unknown_keys()
    return provider
