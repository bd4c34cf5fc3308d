"""Codes of authenticator apps: TOTP (RFC 6238) with SHA-1, six digits and 30 seconds, which every app supports.

A code counts once: its time step must be later than that of the last code that counted. One step before and one after
the present one count as well, for clocks that differ.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import logging
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

import pyotp
import segno
from sqlalchemy import select, update

from ...db import db, insert
from ...state import current_config, vault
from ...vault import DecryptionError
from .models import Totp

if TYPE_CHECKING:
    from datetime import datetime

    from ..sessions import LoggedIn

_log = logging.getLogger(__name__)
DIGITS = 6
_STEP_S = 30
_WINDOW = (0, -1, 1)
_SET_UP_TIME = timedelta(minutes=15)
_QUIET_ZONE_MODULES = 4  # the margin that readers need (ISO/IEC 18004)


@dataclass(frozen=True)
class NewApp:
    """The secret of an app that is being set up: as a QR code, as text, and sealed for the form that confirms it."""

    qr_code: str = field(repr=False)  # an address for src
    secret: str = field(repr=False)
    sealed: str = field(repr=False)

    @property
    def groups(self) -> str:
        """The secret in groups of four characters, to be typed."""
        return " ".join(self.secret[at : at + 4] for at in range(0, len(self.secret), 4))


def new_app(user: LoggedIn, *, now: datetime) -> NewApp:
    """Return a new secret. Nothing is stored before its first code is right."""
    secret = pyotp.random_base32()
    sealed = vault().seal(f"{int(now.timestamp())} {secret}", _set_up_binding(user))
    return NewApp(_qr_code(user, secret), secret, base64.b64encode(sealed).decode("ascii"))


def reopen(user: LoggedIn, sealed: str, *, now: datetime) -> NewApp | None:
    """Return the secret of a form again; None if it is older than 15 minutes or of another login session."""
    try:
        text = vault().open(base64.b64decode(sealed, validate=True), _set_up_binding(user))
    except (DecryptionError, binascii.Error, ValueError):
        return None
    issued, _, secret = text.partition(" ")
    age = now.timestamp() - int(issued)
    return NewApp(_qr_code(user, secret), secret, sealed) if age < _SET_UP_TIME.total_seconds() else None


def matching_step(secret: str, code: str, *, now: datetime) -> int | None:
    """Return the time step whose code this is, or None."""
    current, app = int(now.timestamp()) // _STEP_S, pyotp.TOTP(secret)
    found = [
        step
        for step in (current + offset for offset in _WINDOW)
        if hmac.compare_digest(app.generate_otp(step).encode(), code.encode("utf-8", "replace"))
    ]
    return found[0] if found else None


def store(owner_id: int, secret: str, step: int, *, now: datetime) -> None:
    """Make this the person's app, in place of a former one. ``step`` is that of its first code. The caller commits."""
    values = {
        "sealed_secret": vault().seal(secret, binding_of(owner_id)),
        "last_step": step,
        "created_at": now,
    }
    statement = insert(Totp).values(owner_id=owner_id, **values)
    db.session.execute(statement.on_conflict_do_update(index_elements=["owner_id"], set_=values))


def use(owner_id: int, code: str, *, now: datetime) -> bool:
    """Return whether a code of the person's app is right, and let it count no more. The caller commits."""
    row = db.session.scalar(select(Totp).where(Totp.owner_id == owner_id))
    if row is None:
        return False
    try:
        step = matching_step(vault().open(row.sealed_secret, binding(row)), code, now=now)
    except DecryptionError:
        _log.error("the secret of the authenticator app of owner %d cannot be decrypted", owner_id)
        return False
    if step is None:
        return False
    # One statement: of two requests with the same code only one succeeds.
    this = (Totp.id == row.id, Totp.sealed_secret == row.sealed_secret, Totp.last_step < step)
    statement = update(Totp).where(*this).values(last_step=step)
    result = db.session.execute(statement.execution_options(synchronize_session=False))
    return int(result.rowcount) == 1  # type: ignore[attr-defined]


def binding(row: Totp) -> dict[str, str | int]:
    """Return what the secret of a row is sealed for."""
    return binding_of(row.owner_id)


def binding_of(owner_id: int) -> dict[str, str | int]:
    """Return what the secret of a person's app is sealed for."""
    return {"kind": "totp", "owner": owner_id}


def _qr_code(user: LoggedIn, secret: str) -> str:
    issuer = f"Signet {current_config().host_name}"
    link = pyotp.TOTP(secret).provisioning_uri(name=user.mailbox, issuer_name=issuer)
    code = segno.make(link, micro=False, error="m")
    return code.svg_data_uri(border=_QUIET_ZONE_MODULES, light="#fff", dark="#000")


def _set_up_binding(user: LoggedIn) -> dict[str, str | int]:
    return {"kind": "new-totp", "owner": user.id, "session": user.session_id}
