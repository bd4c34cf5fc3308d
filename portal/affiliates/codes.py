"""Codes of affiliates: new ones, those that a person or a shop chooses, and what becomes of the code before.

A code is in links that others have shared, so the former one goes on leading to the affiliate and counting for them. No
other affiliate may have it, in any account.
"""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING

from flask_babel import gettext as _
from sqlalchemy import exists, select

from ..db import db, insert
from . import page_keys
from .models import Affiliate, FormerCode

if TYPE_CHECKING:
    from datetime import datetime

PATTERN = "^[A-Za-z0-9_-]{2,32}$"
_PATTERN = re.compile(PATTERN[:-1] + r"\Z")
_LETTERS = "ABCDEFGHJKMNPQRSTUVWXYZ23456789"  # without letters that look alike
_CHARS = 8
_MULTIPLE = 256 // len(_LETTERS) * len(_LETTERS)  # octets below it give each letter equally often


def new_code() -> str:
    """Return a random code. One read of random octets gives nearly always enough for it."""
    code = ""
    while len(code) < _CHARS:
        octets = secrets.token_bytes(2 * _CHARS)
        code += "".join(_LETTERS[octet % len(_LETTERS)] for octet in octets if octet < _MULTIPLE)
    return code[:_CHARS]


def why_refused(code: str) -> str:
    """Return why a text cannot be a code, as a sentence; empty if it can."""
    return "" if _PATTERN.match(code) else str(_("Use 2 to 32 of the letters a–z and A–Z, digits, - and _."))


def is_taken(code: str, *, but: int = 0) -> bool:
    """Return whether a code, or the same in capital letters, is or was that of another affiliate than ``but``.

    A link in small letters leads to the code in capital letters, so that one is taken, too.
    """
    spellings = {code, code.upper()}
    present = exists().where(Affiliate.code.in_(spellings), Affiliate.id != but)
    former = exists().where(FormerCode.code.in_(spellings), FormerCode.affiliate_id != but)
    return bool(db.session.scalar(select(present | former)))


def change(affiliate: Affiliate, code: str, *, now: datetime) -> bool:
    """Give a stored affiliate another code; return False if it is taken. The caller commits, or rolls back if it is.

    What is taken is read once more after the row was written: another affiliate may give the code up at that moment,
    and the row waits at the unique index until that is committed.
    """
    if is_taken(code, but=affiliate.id):
        return False
    row = {"account_id": affiliate.account_id, "affiliate_id": affiliate.id, "replaced_at": now}
    kept = insert(FormerCode).values(code=affiliate.code, **row)
    db.session.execute(kept.on_conflict_do_nothing(index_elements=["code"]))
    page_keys.give_code(affiliate, code)
    db.session.flush()
    return not is_taken(code, but=affiliate.id)


def affiliates_of_former(account_id: int, typed: str) -> set[int]:
    """Return the ids of the account's affiliates who had this code, typed in small letters or as it is."""
    query = select(FormerCode.affiliate_id).where(
        FormerCode.account_id == account_id, FormerCode.code.in_({typed, typed.upper()})
    )
    return set(db.session.scalars(query))


def former_codes(affiliate_id: int) -> list[str]:
    """Return the codes that an affiliate had before and that still count, newest first."""
    query = select(FormerCode.code).join(Affiliate, Affiliate.id == FormerCode.affiliate_id)
    query = query.where(FormerCode.affiliate_id == affiliate_id, FormerCode.code != Affiliate.code)
    return list(db.session.scalars(query.order_by(FormerCode.replaced_at.desc())))
