"""Provider data: what a provider's help pages state about SMTP, as ``card_reader`` reads it from a card."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

    from ..diagnosis.cases import Case
    from ..server import Security

HELP_FIELDS = ("host", "username", "password", "domain", "port", "security", "mechanism", "wrapped_user")


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

    ``literal`` lists the fixed words that the provider requires instead of an individual name. Such a word may go on with
    ``suffix`` and a value, such as the number of a subaccount.
    """

    format: str
    example: str
    literal: tuple[str, ...] = ()
    strict: bool = True  # whether other usernames than the literal ones are refused
    address: bool = False  # whether it is always a full email address
    suffix: str = ""


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


_DIGIT_RANGE = re.compile(r"\[([0-9])-([0-9])\]")


def _expanded(pattern: str) -> list[str]:
    """Return the names that a pattern with at most one range stands for."""
    found = _DIGIT_RANGE.search(pattern)
    if found is None:
        return [pattern]
    digits = range(int(found[1]), int(found[2]) + 1)
    return [f"{pattern[: found.start()]}{digit}{pattern[found.end() :]}" for digit in digits]


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

    Each of ``includes`` is an SPF include that covers the provider's servers; the first one is recommended. ``selectors``
    are patterns of DKIM selectors that customers have beside those of ``keys``: ``[1-3]`` is one of these digits, and ``#``
    any digit. With ``own_selectors`` there are others, so a key that is not found may stand under another name.
    """

    spf: str | None = None
    dkim: str | None = None
    return_path: str | None = None
    includes: tuple[str, ...] = ()
    envelope: EnvelopeDomain = EnvelopeDomain.UNKNOWN
    return_label: str | None = None
    return_record: str | None = None  # such as "CNAME pm.mtasv.net"; None if it differs between customers
    keys: tuple[SigningKey, ...] = ()
    selectors: tuple[str, ...] = ()
    own_selectors: bool = False

    @property
    def further_selectors(self) -> tuple[str, ...]:
        """The selectors of ``selectors`` that can be looked up: those without ``#``."""
        names = [name for pattern in self.selectors if "#" not in pattern for name in _expanded(pattern)]
        return tuple(names)

    @property
    def selector_shapes(self) -> tuple[str, ...]:
        """The patterns that cannot be looked up, with a digit in place of each ``#``."""
        shapes = [pattern for pattern in self.selectors if "#" in pattern]
        return tuple(
            "".join("2026030112000000"[at % 16] if c == "#" else c for at, c in enumerate(one))
            for one in shapes
        )


@dataclass(frozen=True)
class Deprecation:
    """An announced or past end of a feature. ``date`` is YYYY, YYYY-MM or YYYY-MM-DD."""

    date: str
    text: str


@dataclass(frozen=True)
class OAuth:
    """How to log in without a password: the authorization server, and the pages that connect it, the simplest first."""

    issuer: str  # "microsoft", "google" or "rehearsal"
    ways: tuple[str, ...]  # of the pages Connect: "microsoft-365", "google-workspace", "consent:<id>"


PLACEHOLDER = "{ref}"  # in the value of a reference header


@dataclass(frozen=True)
class ReferenceHeader:
    """Header whose value a provider repeats in its events about a message. ``value`` contains ``{ref}``."""

    name: str
    value: str


@dataclass(frozen=True)
class RateLimits:
    """Emails the provider accepts in a period, as its help pages publish them; None: no limit of that kind."""

    per_second: int | None = None
    per_hour: int | None = None
    per_day: int | None = None


class CardPart(StrEnum):
    """Part of a card that a page can confirm."""

    HOSTS = "hosts"
    PORTS = "ports"
    LOGIN = "login"  # username, password, mechanisms
    SENDER = "sender"
    SPF = "spf"
    DKIM = "dkim"
    BOUNCES = "bounces"
    LIMITS = "limits"
    DATES = "dates"  # of deprecations


@dataclass(frozen=True)
class SourcePage:
    """Page that a card was compared with.

    It confirms a part if it states the part's main value (the first host, the recommended port) and contradicts none.
    """

    page: str  # its address
    confirms: tuple[CardPart, ...]
    third_party: bool = False  # whether the provider itself does not publish it


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
    relays_by_address: bool  # whether it takes mail without a log-in from addresses that its customer lists
    replaces_from: (
        bool  # whether it silently sends as the username in place of a sender that it does not know
    )
    password_login: PasswordLogin
    limits: tuple[str, ...]
    dns: DnsFacts
    cases: tuple[Case, ...]  # diagnosis rules for replies that only this provider sends
    deprecations: tuple[Deprecation, ...]
    help: Mapping[str, str]
    mail_domains: tuple[str, ...] = ()
    secrets: tuple[SecretShape, ...] = field(default=(), repr=False)
    connections: int | None = None  # concurrent connections of one account, if published
    oauth: OAuth | None = None  # None: with a password only
    messages_per_connection: int | None = None  # if published
    reference: ReferenceHeader | None = None
    rate_limits: RateLimits | None = None  # of the smallest plan; ``limits`` names the plan
    checked: date | None = None  # when the card was last compared with ``sources``; None: never
    sources: tuple[SourcePage, ...] = ()

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

    def takes_username(self, host: str, name: str) -> bool:
        """Return whether a username is one of the fixed ones at ``host``; True if usernames are individual."""
        words, suffix = self.literal_usernames(host), self.username.suffix
        continued = tuple(f"{word}{suffix}" for word in words) if suffix else ()
        return not words or name in words or name.startswith(continued)
