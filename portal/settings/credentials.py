"""SMTP passwords at rest: sealed for one version of the settings, one server and one user.

The vault authenticates the binding together with the password. A password that is copied to another row, or whose
row is pointed at another server, does not open.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..smtp.network.guard import HostError, canonical_host
from ..smtp.server import Mechanism
from ..state import vault
from ..vault import DecryptionError
from .validation import InvalidSettings

if TYPE_CHECKING:
    from datetime import datetime

    from .models import SmtpSettings
    from .validation import SettingsInput


def binding(version: SmtpSettings) -> dict[str, str | int]:
    """Return the values that a version's password is sealed with. All of them must be set."""
    return {
        "kind": "smtp-password",
        "account": version.account_id,
        "version": version.number,
        "host": version.host,
        "port": version.port,
        "security": version.security,
        "mechanism": version.mechanism,
        "username": version.username,
    }


def seal(version: SmtpSettings, password: str) -> None:
    """Store a password in a version. Call it again after every change to a value of the binding."""
    version.sealed_password = vault().seal(password, binding(version))


def open_password(version: SmtpSettings) -> str:
    """Return the password of a version in plain text. Raises DecryptionError."""
    return vault().open(version.sealed_password, binding(version))
