"""Provider data: the catalogue, its cards, and checks of credentials against them."""

from __future__ import annotations

from ..toml_tables import MalformedData
from .catalogue import Catalogue, load_catalogue
from .credential_checks import CredentialWarning, check_credentials, remove_spaces
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
    "Catalogue",
    "CredentialWarning",
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
    "check_credentials",
    "load_catalogue",
    "remove_spaces",
]
