"""The provider catalogue, and what the shape of a log-in betrays before anything is sent."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from .cases import refuse_twins
from .provider_cards import (
    Deprecation,
    DnsFacts,
    Host,
    Password,
    PasswordLogin,
    Port,
    Provider,
    ProviderKind,
    SecretShape,
    Username,
    read_card,
)
from .tables import MalformedData

__all__ = [
    "Advice",
    "Catalogue",
    "Deprecation",
    "DnsFacts",
    "Host",
    "MalformedData",
    "Password",
    "PasswordLogin",
    "Port",
    "Provider",
    "ProviderKind",
    "SecretShape",
    "Username",
    "judge_secret",
    "load_catalogue",
]

_CARDS = Path(__file__).parent / "cards"
_GENERIC = "other"
_CLOSE = (
    0.82  # of difflib's ratio: smpt.mailgun.org is near smtp.mailgun.org, smtp.example.org is near nothing
)


def canonical(host: str) -> str:
    """Return a host name in small letters, without spaces and trailing dot."""
    return host.strip().rstrip(".").lower()


@dataclass(frozen=True)
class Catalogue:
    """Every provider we know, in the order of their names; the generic card comes last."""

    providers: tuple[Provider, ...]

    def __iter__(self) -> Iterator[Provider]:
        return iter(self.providers)

    def __len__(self) -> int:
        return len(self.providers)

    @property
    def generic(self) -> Provider:
        """Return the card for a server of nobody we know."""
        return self.providers[-1]

    def get(self, identity: str) -> Provider | None:
        """Return the provider with this id or alias."""
        return next((one for one in self.providers if identity == one.id or identity in one.aliases), None)

    def by_host(self, host: str) -> Provider | None:
        """Return the provider a saved host belongs to: by its own name, its pattern of regions, or the
        same domain.
        """
        name = canonical(host)
        exact = next((one for one in self.providers if one.host_named(name)), None)
        return exact or next((one for one in self.providers if _same_family(name, one)), None)

    def by_domain(self, domain: str) -> Provider | None:
        """Return the mailbox provider behind a public mail domain such as gmail.com."""
        name = canonical(domain)
        return next((one for one in self.providers[:-1] if name in one.mail_domains), None)

    def is_public_mail(self, domain: str) -> bool:
        """Return whether anybody can have an address at this domain, so that nobody may send for all of
        it.
        """
        return any(canonical(domain) in one.mail_domains for one in self.providers)

    def search(self, text: str) -> tuple[Provider, ...]:
        """Return the providers whose name, id, host or mail domain holds every word of ``text``."""
        wanted = text.casefold().split()
        return tuple(one for one in self.providers if all(word in _haystack(one) for word in wanted))

    def host_near(self, host: str) -> str | None:
        """Return the known host that ``host`` is probably a slip of, None when it is one itself or near
        none.
        """
        name = canonical(host)
        known = [one.name for provider in self.providers for one in provider.hosts]
        if self.by_host(name) in self.providers[:-1] and name in known:
            return None
        close = [one for one in difflib.get_close_matches(name, known, n=1, cutoff=_CLOSE) if one != name]
        return close[0] if close else None


def _same_family(host: str, provider: Provider) -> bool:
    """Return whether a host lies under one of the provider's own names, such as us.smtp.mailgun.org."""
    return any(host.endswith("." + one.name) for one in provider.hosts)


def _haystack(provider: Provider) -> str:
    hosts = " ".join(f"{host.name} {host.label}" for host in provider.hosts)
    words = (provider.id, *provider.aliases, provider.name, hosts, *provider.mail_domains)
    return " ".join(words).casefold()


@cache
def load_catalogue(folder: Path = _CARDS) -> Catalogue:
    """Return the catalogue read from ``folder``.

    Raises:
        MalformedData: a card is malformed; the message names its file and field.
    """
    cards = [read_card(path) for path in sorted(folder.glob("*.toml"))]
    generic = [card for card in cards if card.id == _GENERIC]
    if not generic:
        raise MalformedData(f"{_GENERIC}.toml: id: the generic card is missing")
    named = sorted((card for card in cards if card.id != _GENERIC), key=lambda card: card.name.casefold())
    refuse_twins(case for card in cards for case in card.replies)
    _refuse_shared_names(named)
    return Catalogue((*named, *generic))


def _refuse_shared_names(cards: Iterable[Provider]) -> None:
    seen: set[str] = set()
    for card in cards:
        for name in (card.id, *card.aliases, *(host.name for host in card.hosts)):
            if name in seen:
                raise MalformedData(f"{card.id}.toml: hosts: {name!r} belongs to another card too")
            seen.add(name)


@dataclass(frozen=True)
class Advice:
    """Something the log-in's shape betrays.

    The sentence never holds the secret. ``suggestion`` may replace the field.
    """

    field: str
    code: str
    sentence: str
    suggestion: str | None = None
    blocking: bool = False


def judge_secret(
    host: str, username: str, password: str, domain: str = "", provider: Provider | None = None
) -> list[Advice]:
    """Return what can be said about a log-in before the first try, the most certain first.

    ``provider`` is looked up from ``host`` when it is not given. An empty ``password`` (keep the saved one)
    is not judged.
    """
    provider = provider or load_catalogue().by_host(host)
    advice = [
        *_judge_foreign_shape(host, username, password, provider),
        *_judge_username(host, username, password, domain, provider),
        *_judge_password(username, password, provider),
        *_judge_domain(domain, provider),
        *_judge_password_login(provider),
    ]
    once: dict[str, Advice] = {}
    for one in advice:
        once.setdefault(one.field, one) if one.blocking else once.setdefault(f"{one.field} {one.code}", one)
    return sorted(once.values(), key=lambda one: not one.blocking)


def _shapes(provider: Provider | None) -> Iterator[tuple[Provider, SecretShape]]:
    """Yield the secret shapes that may be recognised here: the provider's own first, then others'
    unmistakable ones.
    """
    if provider:
        yield from ((provider, shape) for shape in provider.secrets)
    for other in load_catalogue():
        if other is not provider:
            yield from ((other, shape) for shape in other.secrets if not shape.only_here)


def _shape_of(value: str, provider: Provider | None) -> tuple[Provider, SecretShape] | None:
    return next((found for found in _shapes(provider) if found[1].pattern.match(value.strip())), None)


def _judge_foreign_shape(
    host: str, username: str, password: str, provider: Provider | None
) -> Iterator[Advice]:
    """Judge secrets that are recognised by their shape: wrong field, wrong host, or never meant for SMTP."""
    for field, value in (("username", username), ("password", password)):
        found = _shape_of(value, provider)
        if found is None:
            continue
        owner, shape = found
        if owner is not provider:
            yield _elsewhere(field, host, owner, shape, provider)
        elif shape.use == "none":
            sentence = f"This is {shape.name}, which does not work for SMTP. Use {owner.password.what}."
            yield Advice(field, "not-for-smtp", sentence, blocking=not shape.only_here)
        elif shape.use != field and not (
            field == "username" and owner.username.literal == () and shape.use == "password"
        ):
            yield Advice(
                field, "wrong-field", _swap(field, host, owner, shape), _literal(host, owner), blocking=True
            )
        elif shape.use != field:
            yield Advice(
                field, "wrong-field", f"This is {shape.name}; it belongs into SMTP Password.", blocking=True
            )


def _literal(host: str, provider: Provider) -> str | None:
    return next(iter(provider.literal_usernames(host)), None)


def _swap(field: str, host: str, owner: Provider, shape: SecretShape) -> str:
    literal = _literal(host, owner)
    instead = f" Here type the word {literal}." if literal and field == "username" else ""
    place = "SMTP Password" if shape.use == "password" else "SMTP Username"
    return f"This is {shape.name}; it belongs into {place}.{instead}"


def _elsewhere(
    field: str, host: str, owner: Provider, shape: SecretShape, provider: Provider | None
) -> Advice:
    """Say that a secret belongs to another provider.

    At an unknown host, which may be a gateway, it is only a hint.
    """
    here = provider.name if provider else host
    sentence = (
        f"This looks like {shape.name} of {owner.name}, but the server is {here}. "
        f"Use {owner.name}'s server {owner.hosts[0].name}, or the password that belongs to {here}."
    )
    return Advice(field, "other-providers-secret", sentence, blocking=provider is not None)


def _judge_username(
    host: str, username: str, password: str, domain: str, provider: Provider | None
) -> Iterator[Advice]:
    name = username.strip()
    if password and name and name == password.strip() and not (provider and provider.id == "postmark"):
        yield Advice(
            "password", "same-as-username", "Username and password are the same. Enter the password."
        )
    if provider is None or not name:
        return
    literal = provider.literal_usernames(host)
    if literal and name not in literal:
        sentence = f"{provider.name} wants the word {literal[0]} as username, exactly so; the key goes into the password."
        yield Advice("username", "literal-username", sentence, literal[0], blocking=provider.username.strict)
    elif provider.username.address and "@" not in name:
        full = f"{name}@{domain}" if domain else None
        sentence = f"{provider.name} wants {provider.username.format}, such as {provider.username.example}."
        yield Advice("username", "username-without-domain", sentence, full, blocking=True)
    elif provider.kind is ProviderKind.TRANSACTIONAL and load_catalogue().is_public_mail(
        name.rpartition("@")[2]
    ):
        sentence = f"This looks like the log-in of {provider.name}'s website. SMTP has its own: {provider.username.format}."
        yield Advice("username", "website-login", sentence)


def _judge_password(username: str, password: str, provider: Provider | None) -> Iterator[Advice]:
    if not password:
        return
    if password != password.strip():
        yield Advice(
            "password",
            "outer-space",
            "The password begins or ends with a space or line break. Paste it again.",
        )
    if provider and provider.password.letters:
        yield from _judge_letters(password, provider, provider.password.letters)


def _judge_letters(password: str, provider: Provider, letters: int) -> Iterator[Advice]:
    """Judge an app password that always has so many letters; providers show it in groups, with spaces
    between.
    """
    bare = re.sub(r"\s", "", password)
    right = len(bare) == letters and bare.isascii() and bare.isalpha()
    if right and bare == password:
        return
    if right:
        sentence = f"This app password was pasted with its {len(password) - letters} spaces. It is the {letters} letters without them."
        yield Advice("password", "app-password-spaces", sentence)
        return
    found = (
        f"{len(bare)} characters" if bare.isalpha() else f"{len(bare)} characters, not all of them letters"
    )
    sentence = (
        f"{provider.name} takes an app password of {letters} letters here, and this one has {found}. "
        f"{provider.password.steps[0]}"
    )
    yield Advice("password", "no-app-password", sentence, blocking=True)


def _judge_domain(domain: str, provider: Provider | None) -> Iterator[Advice]:
    """Judge a From at a public mail domain: its owner's DMARC policy refuses it from anybody else's
    server.
    """
    if not domain or not load_catalogue().is_public_mail(domain):
        return
    if provider and canonical(domain) in provider.mail_domains:
        return
    through = provider.name if provider else "another server"
    sentence = f"Mail from @{canonical(domain)} cannot be vouched for by {through}. Use a domain of your own."
    yield Advice("domain", "public-mail-domain", sentence)


def _judge_password_login(provider: Provider | None) -> Iterator[Advice]:
    """Judge providers that stop taking passwords, with the dates on their cards."""
    if provider is None or provider.password_login is PasswordLogin.YES:
        return
    dates = " ".join(f"{one.text} ({one.date})." for one in provider.deprecations)
    ended = provider.password_login is PasswordLogin.NO
    code = "password-login-ended" if ended else "password-login-ends"
    yield Advice(
        "password", code, f"{provider.name} is giving up passwords for SMTP. {dates}", blocking=ended
    )
