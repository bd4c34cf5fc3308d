"""SMTP passwords at rest: sealed for one version of the settings, one server and one user.

The vault authenticates the binding together with the password. A password that is copied to another row, or whose
row is pointed at another server, does not open. A password that was typed and is not saved yet is sealed as well, for the
login session in which it was typed, so that a form that comes back keeps it without showing it.
"""

from __future__ import annotations

import base64
import binascii
import unicodedata
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from flask_babel import lazy_gettext as _

from ..smtp.network.guard import HostError, canonical_host
from ..smtp.server import Mechanism
from ..state import vault
from ..vault import DecryptionError
from ..web.labels import FIELD_LABELS
from .validation import InvalidSettings

if TYPE_CHECKING:
    from ..accounts.sessions import LoggedIn
    from .models import SmtpSettings
    from .validation import SettingsInput


_CONNECT_AGAIN = _(
    "You changed the SMTP Server or the SMTP Username, and this connection works only with the server "
    "and mailbox that it was made for. Connect the new mailbox, or enter an SMTP password."
)


_CHANGED = {"security": _("Enable SSL choice")}  # where the label of the field is no noun
_TYPED_LIFETIME = timedelta(hours=1)
_TYPED_BYTES = 2000  # passwords of up to 500 characters in UTF-8, padded so that the length does not show


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


def seal_typed(password: str, owner: LoggedIn, *, now: datetime) -> str:
    """Return a typed password as a hidden field carries it, sealed for the owner's login session; empty for none."""
    if not password:
        return ""
    padding = "\0" * max(0, _TYPED_BYTES - len(password.encode("utf-8", "surrogatepass")))
    text = f"{now.isoformat()} {password}{padding}"
    return base64.b64encode(vault().seal(text, _typed_binding(owner))).decode("ascii")


def open_typed(sealed: str, owner: LoggedIn, *, now: datetime) -> str:
    """Return the password of a hidden field; empty if it is older than an hour or of another login session."""
    try:
        text = vault().open(base64.b64decode(sealed, validate=True), _typed_binding(owner))
    except (DecryptionError, binascii.Error, ValueError):
        return ""
    at, _space, padded = text.partition(" ")
    return padded.rstrip("\0") if now - datetime.fromisoformat(at) < _TYPED_LIFETIME else ""


def _typed_binding(owner: LoggedIn) -> dict[str, str | int]:
    return {"kind": "typed-smtp-password", "account": owner.account_id, "session": owner.session_id}


def prepare_password(text: str) -> str:
    """Return a typed password as RFC 8265 section 4.2 prepares it: NFC, and plain spaces in place of other ones.

    Keyboards differ in how they compose ö, and providers compare the octets.
    """
    if text.isascii():
        return text
    spaced = "".join(" " if unicodedata.category(one) == "Zs" else one for one in text)
    return unicodedata.normalize("NFC", spaced)


def kept_password(version: SmtpSettings, saved: SmtpSettings | None) -> tuple[str, datetime]:
    """Return the saved password for a version that goes to the same server and user, and when it was saved.

    Raises InvalidSettings if there is none, or if the server or the user is another one.
    """
    sentence = _must_be_entered(_target(version), saved)
    if saved is None or sentence:
        raise InvalidSettings({"password": sentence})
    try:
        return open_password(saved), saved.password_saved_at
    except DecryptionError:
        raise InvalidSettings(
            {"password": _("The saved password can no longer be decrypted. Enter it again.")}
        ) from None


def kept_grant(version: SmtpSettings, saved: SmtpSettings) -> int | None:
    """Return the grant of the saved version for one that goes to the same server and mailbox. Raises InvalidSettings."""
    sentence = _must_be_entered(_target(version), saved)
    if sentence:
        raise InvalidSettings({"password": sentence})
    return saved.grant_id


def missing_password(values: SettingsInput, saved: SmtpSettings | None) -> str:
    """Return what the page shows beside an empty password, although other fields are invalid; empty if the saved one may do.

    Only values that the form holds are compared: an empty port, for example, gets its default later.
    """
    if values.password or values.mechanism == Mechanism.NONE.value:
        return ""
    try:
        host = canonical_host(values.host)
    except HostError:
        host = ""  # the host has an error of its own
    entered = {
        "host": host,
        "port": values.port,
        "security": values.security,
        "username": values.username,
    }
    return _must_be_entered(entered, saved)


def _target(version: SmtpSettings) -> dict[str, str]:
    """Return what a password is bound to, by the names of the form's fields."""
    return {
        "host": version.host,
        "port": str(version.port),
        "security": version.security,
        "username": version.username,
    }


def _must_be_entered(entered: dict[str, str], saved: SmtpSettings | None) -> str:
    if saved is None or saved.mechanism == Mechanism.NONE.value:
        return _("Enter the SMTP password.")
    before = _target(saved)
    if saved.grant_id is not None:
        bound = ("host", "username")
        is_moved = any(entered[name] and entered[name] != before[name] for name in bound)
        return str(_CONNECT_AGAIN) if is_moved else ""
    changed = next((name for name, value in entered.items() if value and value != before[name]), None)
    if changed is None:
        return ""
    return _(
        "You changed the %(changed)s, so enter the SMTP password again. Signet sends a saved password "
        "only to the server and user that it was saved for.",
        changed=_CHANGED.get(changed) or FIELD_LABELS[changed],
    )
