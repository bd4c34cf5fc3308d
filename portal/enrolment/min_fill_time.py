"""Telling people from robots by how quickly a form comes back; no script, no cookie, nobody else's service."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import current_app
from itsdangerous import BadSignature, Signer

if TYPE_CHECKING:
    from datetime import datetime

_SALT = "affiliates.haste"


def issue_form_timestamp(now: datetime) -> str:
    """Return when a form was handed out, signed."""
    return _signer().sign(str(int(now.timestamp() * 1000))).decode("ascii")


def seconds_since(stamped: str, now: datetime) -> float | None:
    """Return how long a form was open, or None if we did not hand it out."""
    try:
        at = int(_signer().unsign(stamped.encode("utf-8", "replace")))
    except (BadSignature, ValueError):
        return None
    return now.timestamp() - at / 1000


def _signer() -> Signer:
    return Signer(str(current_app.config["SECRET_KEY"]), salt=_SALT)
