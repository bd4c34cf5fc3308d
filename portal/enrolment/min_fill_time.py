"""Bot check: a signed form timestamp rejects submissions faster than a person can type. No script, cookie or third party."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from flask import current_app
from itsdangerous import BadSignature, Signer

if TYPE_CHECKING:
    from datetime import datetime

_SALT = "affiliates.haste"  # stays: forms that are open during an update carry signatures made with it


def issue_form_timestamp(now: datetime) -> str:
    """Return the signed time at which a form is served."""
    return (
        _signer(str(current_app.config["SECRET_KEY"])).sign(str(int(now.timestamp() * 1000))).decode("ascii")
    )


def seconds_since(timestamp: str, now: datetime) -> float | None:
    """Return how long a form was open, or None if the signature is not valid."""
    try:
        signer = _signer(str(current_app.config["SECRET_KEY"]))
        issued_ms = int(signer.unsign(timestamp.encode("utf-8", "replace")))
    except (BadSignature, ValueError):
        return None
    return now.timestamp() - issued_ms / 1000


@lru_cache(maxsize=1)
def _signer(secret_key: str) -> Signer:
    return Signer(secret_key, salt=_SALT)
