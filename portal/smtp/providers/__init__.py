"""The providers, as other rooms see them: the catalogue, its cards, and advice on a log-in's shape."""

from __future__ import annotations

from ..toml_tables import MalformedData
from .catalogue import Catalogue, load_catalogue
from .credential_checks import Advice, judge_secret
from .model import (
    Deprecation,
    DnsFacts,
    EnvelopeDomain,
    Host,
    Password,
    PasswordLogin,
    Port,
    Provider,
    ProviderKind,
    RateLimits,
    SecretShape,
    SigningKey,
    Username,
)

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
    "RateLimits",
    "SecretShape",
    "SigningKey",
    "Username",
    "judge_secret",
    "load_catalogue",
]
