"""Recovery codes: ten codes of 80 random bits, each of which works once in place of another factor."""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING

from sqlalchemy import delete, update

from ...db import db
from ..tokens import hash_token
from .models import RecoveryCode

if TYPE_CHECKING:
    from datetime import datetime

AMOUNT = 10
_CHARS = 16
# The base 32 of Douglas Crockford: no letters that look like digits, and no U.
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_LOOK_ALIKE = str.maketrans({"o": "0", "i": "1", "l": "1"})
_MAX_CHARS = 100  # of an entered code that are read


def replace_all(owner_id: int, *, now: datetime) -> list[str]:
    """Make ten new codes and let the former ones end; return them as they are shown, once. The caller commits."""
    db.session.execute(delete(RecoveryCode).where(RecoveryCode.owner_id == owner_id))
    codes = ["".join(secrets.choice(_ALPHABET) for _ in range(_CHARS)) for _ in range(AMOUNT)]
    db.session.add_all(
        RecoveryCode(owner_id=owner_id, code_hash=hash_token(code), created_at=now) for code in codes
    )
    return ["-".join(code[at : at + 4] for at in range(0, _CHARS, 4)) for code in codes]


def use(owner_id: int, entered: str, *, now: datetime) -> str | None:
    """Return the hash of a code if it is right, and let it count no more; else None. The caller commits."""
    hashed = hash_token(re.sub(r"[\s-]", "", entered[:_MAX_CHARS]).lower().translate(_LOOK_ALIKE))
    this = (
        RecoveryCode.owner_id == owner_id,
        RecoveryCode.code_hash == hashed,
        RecoveryCode.used_at.is_(None),
    )
    statement = update(RecoveryCode).where(*this).values(used_at=now)
    result = db.session.execute(statement.execution_options(synchronize_session=False))
    return hashed if int(result.rowcount) == 1 else None  # type: ignore[attr-defined]


def delete_all(owner_id: int) -> None:
    """Delete the codes of a person. The caller commits."""
    db.session.execute(delete(RecoveryCode).where(RecoveryCode.owner_id == owner_id))
