"""The providers, as other rooms see them: the catalogue, its cards, and advice on a log-in's shape."""

from __future__ import annotations

from .advice import Advice, judge_secret
from .catalogue import Catalogue, load_catalogue
from .provider_cards import (
    Deprecation,
    DnsFacts,
    EnvelopeDomain,
    Host,
    Password,
    PasswordLogin,
    Port,
    Provider,
    ProviderKind,
    SecretShape,
    SigningKey,
    Username,
)
from .tables import MalformedData

__all__ = [
    "Advice",
    "Catalogue",
    "Deprecation",
    "DnsFacts",
    "EnvelopeDomain",
    "Host",
    "MalformedData",
    "Password",
    "PasswordLogin",
    "Port",
    "Provider",
    "ProviderKind",
    "SecretShape",
    "SigningKey",
    "Username",
    "judge_secret",
    "load_catalogue",
]
