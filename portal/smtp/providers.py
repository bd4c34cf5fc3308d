"""The providers, as other rooms see them: the catalogue, its cards, and advice on a log-in's shape."""

from __future__ import annotations

from .advice import Advice, judge_secret
from .catalogue import Catalogue, load_catalogue
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
