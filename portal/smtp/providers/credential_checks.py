"""Credential checks: mistakes that the shape of a username or password shows before the first log-in."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .catalogue import load_catalogue, normalise_host
from .model import PasswordLogin, Provider, ProviderKind, SecretShape

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class CredentialWarning:
    """A probable mistake in one field of the form.

    ``sentence`` never contains the secret. ``suggestion`` is a value for the field. A ``blocking`` warning
    is to be answered before a log-in is tried.
    """

    field: str
    code: str
    sentence: str
    suggestion: str | None = None
    blocking: bool = False


@dataclass(frozen=True)
class _Credentials:
    """What was typed, and the provider of the host; None when the host is in no card."""

    host: str
    username: str
    password: str = field(repr=False)
    domain: str
    provider: Provider | None


def check_credentials(
    host: str, username: str, password: str, domain: str = "", provider: Provider | None = None
) -> list[CredentialWarning]:
    """Return the warnings about credentials, blocking ones first.

    ``provider`` is looked up by ``host`` when it is not given. An empty ``password`` means that the saved one
    is kept; it is not checked.
    """
    typed = _Credentials(host, username, password, domain, provider or load_catalogue().by_host(host))
    warnings = [
        *_check_secret_shapes(typed),
        *_check_username(typed),
        *_check_password(typed),
        *_check_domain(domain, typed.provider),
        *_check_password_login(typed.provider),
    ]
    # At most one blocking warning for a field, and every other warning once.
    distinct: dict[str, CredentialWarning] = {}
    for one in warnings:
        distinct.setdefault(one.field if one.blocking else f"{one.field} {one.code}", one)
    return sorted(distinct.values(), key=lambda one: not one.blocking)


def remove_spaces(password: str) -> str:
    """Return a password without whitespace: providers display app passwords in groups separated by spaces."""
    return re.sub(r"\s", "", password)


def _shapes(provider: Provider | None) -> Iterator[tuple[Provider, SecretShape]]:
    """Yield the recognisable secret shapes: the provider's own first, then the unmistakable ones of others."""
    if provider:
        yield from ((provider, shape) for shape in provider.secrets)
    for other in load_catalogue():
        if other is not provider:
            yield from ((other, shape) for shape in other.secrets if not shape.only_here)


def _shape_of(value: str, provider: Provider | None) -> tuple[Provider, SecretShape] | None:
    return next((found for found in _shapes(provider) if found[1].pattern.match(value.strip())), None)


def _check_secret_shapes(typed: _Credentials) -> Iterator[CredentialWarning]:
    """Check for secrets in the wrong field, at another provider's host, or not meant for SMTP."""
    for form_field, value in (("username", typed.username), ("password", typed.password)):
        found = _shape_of(value, typed.provider)
        if found is None:
            continue
        owner, shape = found
        if owner is not typed.provider:
            yield _other_providers_secret(form_field, owner, shape, typed)
        elif shape.use == "none":
            sentence = f"This is {shape.name}, which does not work for SMTP. Use {owner.password.what}."
            yield CredentialWarning(form_field, "not-for-smtp", sentence, blocking=not shape.only_here)
        elif shape.use != form_field:
            literal = _literal_username(typed.host, owner) if form_field == "username" else None
            sentence = _wrong_field_sentence(shape, literal)
            yield CredentialWarning(form_field, "wrong-field", sentence, literal, blocking=True)


def _literal_username(host: str, provider: Provider) -> str | None:
    return next(iter(provider.literal_usernames(host)), None)


def _wrong_field_sentence(shape: SecretShape, literal: str | None) -> str:
    if shape.use != "password":
        return f"This is {shape.name}; it belongs in SMTP Username."
    if literal:
        return f"This is {shape.name}; it belongs in SMTP Password. Type the word {literal} here."
    return f"This is {shape.name}; it belongs in SMTP Password."


def _other_providers_secret(
    form_field: str, owner: Provider, shape: SecretShape, typed: _Credentials
) -> CredentialWarning:
    """Return the warning about another provider's secret.

    It does not block at an unknown host, which may be a gateway to that provider.
    """
    here = typed.provider.name if typed.provider else typed.host
    sentence = (
        f"This looks like {shape.name} of {owner.name}, but the server is {here}. "
        f"Use {owner.name}'s server {owner.hosts[0].name}, or the password that belongs to {here}."
    )
    blocking = typed.provider is not None
    return CredentialWarning(form_field, "other-providers-secret", sentence, blocking=blocking)


def _check_username(typed: _Credentials) -> Iterator[CredentialWarning]:
    name, provider = typed.username.strip(), typed.provider
    same = bool(typed.password and name) and name == typed.password.strip()
    if same and not (provider and provider.id == "postmark"):  # Postmark's token is both
        sentence = "Username and password are the same. Enter the password."
        yield CredentialWarning("password", "same-as-username", sentence)
    if provider is None or not name:
        return
    literal = provider.literal_usernames(typed.host)
    if not provider.takes_username(typed.host, name):
        sentence = (
            f"{provider.name} requires the word {literal[0]} as username, exactly so; "
            "the key goes into the password."
        )
        blocking = provider.username.strict
        yield CredentialWarning("username", "literal-username", sentence, literal[0], blocking=blocking)
    elif provider.username.address and "@" not in name:
        full = f"{name}@{typed.domain}" if typed.domain else None
        sentence = f"{provider.name} needs {provider.username.format}, such as {provider.username.example}."
        yield CredentialWarning("username", "username-without-domain", sentence, full, blocking=True)
    elif provider.kind is ProviderKind.TRANSACTIONAL and load_catalogue().is_public_mail(
        name.rpartition("@")[2]
    ):
        sentence = (
            f"This looks like the log-in of {provider.name}'s website. "
            f"SMTP has its own: {provider.username.format}."
        )
        yield CredentialWarning("username", "website-login", sentence)


def _check_password(typed: _Credentials) -> Iterator[CredentialWarning]:
    password, provider = typed.password, typed.provider
    if not password:
        return
    if password != password.strip():
        sentence = "The password begins or ends with a space or line break. Paste it again."
        yield CredentialWarning("password", "outer-space", sentence)
    if provider and provider.password.letters:
        yield from _check_app_password(password, provider, provider.password.letters)


def _check_app_password(password: str, provider: Provider, letters: int) -> Iterator[CredentialWarning]:
    """Check an app password that always consists of ``letters`` ASCII letters."""
    bare = remove_spaces(password)
    right = len(bare) == letters and bare.isascii() and bare.isalpha()
    if right and bare == password:
        return
    if right:
        spaces = len(password) - letters
        sentence = (
            f"This app password was pasted with {spaces} spaces. It is the {letters} letters without them."
        )
        yield CredentialWarning("password", "app-password-spaces", sentence)
        return
    name, count, step = provider.name, len(bare), provider.password.steps[0]
    if bare.isalpha():
        sentence = f"{name} takes an app password of {letters} letters here, and this one has {count} characters. {step}"
    else:
        sentence = (
            f"{name} takes an app password of {letters} letters here, and this one has {count} characters, "
            f"not all of them letters. {step}"
        )
    yield CredentialWarning("password", "no-app-password", sentence, blocking=True)


def _check_domain(domain: str, provider: Provider | None) -> Iterator[CredentialWarning]:
    """Check for a From address at a public mail domain, whose DMARC policy rejects other senders."""
    if not domain or not load_catalogue().is_public_mail(domain):
        return
    if provider and normalise_host(domain) in provider.mail_domains:
        return
    through = provider.name if provider else "another server"
    sentence = (
        f"Receivers may refuse emails from @{normalise_host(domain)} that {through} sends. "
        "Use a domain of your own."
    )
    yield CredentialWarning("domain", "public-mail-domain", sentence)


def _check_password_login(provider: Provider | None) -> Iterator[CredentialWarning]:
    """Warn about providers that end or have ended password log-ins, with the dates on their cards."""
    if provider is None or provider.password_login is PasswordLogin.YES:
        return
    dates = " ".join(f"{one.text}." for one in provider.deprecations)
    ended = provider.password_login is PasswordLogin.NO
    code = "password-login-ended" if ended else "password-login-ends"
    sentence = f"{provider.name} is giving up passwords for SMTP. {dates}"
    yield CredentialWarning("password", code, sentence, blocking=ended)
