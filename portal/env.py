"""Typed reading of environment variables and secret files. Every error names the variable at fault."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_MAX_NUMBER = 10**6  # no setting is a larger number
_MAX_SECRET_BYTES = 64 * 1024  # of a file that holds one
_TRUE = {"1", "true", "yes", "on"}
_FALSE = {"0", "false", "no", "off", ""}


class ConfigError(Exception):
    """The configuration is invalid; the message names the variable or file and the remedy."""


@dataclass(frozen=True)
class OAuthClient:
    """A client that the operator registered at an authorization server."""

    id: str
    secret: str = field(repr=False)


@dataclass(frozen=True)
class OAuthSettings:
    """Where authorization servers are, and the operator's clients, which all accounts may use."""

    microsoft_login_url: str = "https://login.microsoftonline.com"
    google_token_url: str = "https://oauth2.googleapis.com/token"
    google_authorize_url: str = "https://accounts.google.com/o/oauth2/v2/auth"
    microsoft_client: OAuthClient | None = None
    google_client: OAuthClient | None = None


class Reader:
    """Reads the environment and the secret files in instance/. Every method raises ConfigError for an invalid value."""

    def __init__(self, env: Mapping[str, str], instance: Path) -> None:
        self.env = env
        self.instance = instance

    def text(self, name: str, default: str = "") -> str:
        return self.env.get(name, default).strip()

    def flag(self, name: str, *, default: bool = False) -> bool:
        value = self.text(name).lower()
        if name not in self.env:
            return default
        if value in _TRUE | _FALSE:
            return value in _TRUE
        raise ConfigError(f"{name} is {value!r}; write 1 or 0.")

    def number(self, name: str, default: float, low: float = 0, high: float = _MAX_NUMBER) -> float:
        value = self.text(name)
        if not value:
            return default
        try:
            number = float(value)
        except ValueError:
            raise ConfigError(f"{name} is {value!r}, which is not a number.") from None
        if not low <= number <= high:
            raise ConfigError(f"{name} is {value}; it must be a number from {low:g} to {high:.0f}.")
        return number

    def whole(self, name: str, default: int, low: int = 0, high: int = _MAX_NUMBER) -> int:
        number = self.number(name, default, low, high)
        if number != int(number):
            raise ConfigError(f"{name} is {number:g}; write a whole number.")
        return int(number)

    def choice(self, name: str, choices: Sequence[str]) -> str:
        """Return one of ``choices``, by default the first."""
        value = self.text(name).lower() or choices[0]
        if value not in choices:
            raise ConfigError(f"{name} is {value!r}; write {', '.join(choices[:-1])} or {choices[-1]}.")
        return value

    def port(self, name: str, default: int) -> int:
        number = self.number(name, default, low=1)
        if number > 65535 or number != int(number):
            raise ConfigError(f"{name} is {number:g}; a port is a whole number from 1 to 65535.")
        return int(number)

    def url(self, name: str, default: str) -> str:
        """Return the address of a web server, without a slash at its end."""
        value = (self.text(name) or default).rstrip("/")
        try:
            parts = urlsplit(value)
        except ValueError:  # an incomplete IPv6 address
            parts = urlsplit("")
        if parts.scheme not in {"https", "http"} or not parts.hostname or parts.query or parts.fragment:
            raise ConfigError(f"{name} is {value!r}; write it like {default}")
        return value

    def variable_or_file(self, name: str) -> str:
        """Return a secret as it is in its variable, or in the file that ``<name>_FILE`` names, without the last line break."""
        value, file = self.env.get(name, ""), self.text(f"{name}_FILE")
        if not file:
            return value
        if value.strip():
            raise ConfigError(f"{name} and {name}_FILE are both set; unset one of them.")
        text = _read_secret(Path(file), f"{name}_FILE names {file}, which")
        if not text.strip():
            raise ConfigError(f"{name}_FILE names {file}, which is empty.")
        return text

    def oauth(self) -> OAuthSettings:
        return OAuthSettings(
            self.url("SIGNET_MICROSOFT_LOGIN_URL", OAuthSettings.microsoft_login_url),
            self.url("SIGNET_GOOGLE_TOKEN_URL", OAuthSettings.google_token_url),
            self.url("SIGNET_GOOGLE_AUTHORIZE_URL", OAuthSettings.google_authorize_url),
            self.client("SIGNET_MICROSOFT_CLIENT"),
            self.client("SIGNET_GOOGLE_CLIENT"),
        )

    def client(self, prefix: str) -> OAuthClient | None:
        """Return the client of ``<prefix>_ID`` and ``<prefix>_SECRET``, None if neither is set."""
        id_, secret = self.text(f"{prefix}_ID"), self.variable_or_file(f"{prefix}_SECRET").strip()
        if bool(id_) != bool(secret):
            raise ConfigError(f"{prefix}_ID and {prefix}_SECRET belong together. Set both, or neither.")
        return OAuthClient(id_, secret) if id_ else None

    def secret(self, name: str, file_name: str, at_least: int) -> str:
        """Return a secret from its variable, from the file of ``<name>_FILE``, or from its file in instance/."""
        path = self.instance / file_name
        value = self.variable_or_file(name).strip() or _read_secret(path, f"{path}", must_exist=False).strip()
        if not value:
            raise ConfigError(
                f"No {name}. Set the variable, or let `python -m portal.bootstrap` make {path}."
            )
        if len(value) < at_least:
            raise ConfigError(f"{name} is too short: {at_least} characters or more, please.")
        return value


def create_private_file(path: Path, text: str) -> bool:
    """Create a private file with this text unless it exists; safe when several processes do so at once."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with os.fdopen(
        os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii"
    ) as file:
        file.write(text)
    try:
        os.link(draft, path)  # atomic, and fails if the file exists
    except FileExistsError:
        return False
    finally:
        draft.unlink()
    return True


def _read_secret(path: Path, named: str, *, must_exist: bool = True) -> str:
    """Return the text of a file. Raises ConfigError, whose message begins with ``named`` and never quotes the content."""
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_SECRET_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError) as error:
        if must_exist:
            raise ConfigError(f"{named} cannot be read: {error.strerror}.") from None
        return ""
    except OSError as error:
        raise ConfigError(f"{named} cannot be read by this user: {error.strerror}.") from None
    if len(data) > _MAX_SECRET_BYTES:
        raise ConfigError(f"{named} is larger than {_MAX_SECRET_BYTES} bytes, so it holds no secret.")
    try:
        return data.decode("utf-8").removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise ConfigError(f"{named} is not text.") from None
