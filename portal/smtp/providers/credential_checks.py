"""What the shape of a log-in betrays before anything is sent."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .catalogue import canonical, load_catalogue
from .model import PasswordLogin, Provider, ProviderKind, SecretShape

if TYPE_CHECKING:
    from collections.abc import Iterator


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
        elif shape.use != field:
            literal = _literal(host, owner) if field == "username" else None
            yield Advice(field, "wrong-field", _swap(shape, literal), literal, blocking=True)


def _literal(host: str, provider: Provider) -> str | None:
    return next(iter(provider.literal_usernames(host)), None)


def _swap(shape: SecretShape, literal: str | None) -> str:
    place = "SMTP Password" if shape.use == "password" else "SMTP Username"
    instead = f" Here type the word {literal}." if literal else ""
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
        sentence = (
            f"{provider.name} wants the word {literal[0]} as username, exactly so; "
            "the key goes into the password."
        )
        yield Advice("username", "literal-username", sentence, literal[0], blocking=provider.username.strict)
    elif provider.username.address and "@" not in name:
        full = f"{name}@{domain}" if domain else None
        sentence = f"{provider.name} wants {provider.username.format}, such as {provider.username.example}."
        yield Advice("username", "username-without-domain", sentence, full, blocking=True)
    elif provider.kind is ProviderKind.TRANSACTIONAL and load_catalogue().is_public_mail(
        name.rpartition("@")[2]
    ):
        sentence = (
            f"This looks like the log-in of {provider.name}'s website. "
            f"SMTP has its own: {provider.username.format}."
        )
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
        spaces = len(password) - letters
        sentence = (
            f"This app password was pasted with {spaces} spaces. It is the {letters} letters without them."
        )
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
