"""Erased persons: a keyed hash of each mailbox stays in the list of suppressed ones, and the person's row becomes a blank.

The hash keeps every way in (sign-up, import, API, invitation) from writing to them again, without the address. Its key is
random, one for the installation, and sealed in the database, so neither a copy of the tables nor a rotation of other keys
helps to guess addresses or loses the hashes. ``portal.bootstrap`` makes the key; a first erasure does otherwise.
"""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import LargeBinary, select
from sqlalchemy.orm import Mapped, mapped_column

from ..db import Base, db, insert
from ..db.prepared import PreparedStatement
from ..state import get_state, vault

if TYPE_CHECKING:
    from collections.abc import Mapping

BINDING: Mapping[str, str | int] = {"kind": "erasure-key"}
NAME = "Erased person"
_DOMAIN = "erased.invalid"  # RFC 2606: no mail can reach it
_HASH_CHARS = 40
_PREFIX = "#"  # no mailbox without quotes begins so and holds no @


class ErasureKey(Base):
    """The key of the hashes, in one row."""

    __tablename__ = "erasure_key"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    sealed: Mapped[bytes] = mapped_column(LargeBinary)


_SEALED = PreparedStatement(select(ErasureKey.__table__.c.sealed).where(ErasureKey.__table__.c.id == 1))


@dataclass
class _Key:
    """The key as it was read; empty until then."""

    octets: bytes = b""


def ensure_key() -> None:
    """Make the key if there is none. Commits."""
    if not _key():
        sealed = vault().seal(secrets.token_hex(32), BINDING)
        db.session.execute(insert(ErasureKey).values(id=1, sealed=sealed).on_conflict_do_nothing())
    db.session.commit()


def load_key() -> None:
    """Read the key, if this process has not yet, so that a later ``hash_of`` runs no statement."""
    _key()


def hash_of(account_id: int, mailbox: str) -> str:
    """Return what stands for an erased mailbox in an account's list; empty while there is no key, so no erased person.

    The key is read once by each process. Also works within a raw transaction.
    """
    found = keyed_hash(f"{account_id}\n{mailbox.casefold()}")
    return _PREFIX + found[:_HASH_CHARS] if found else ""


def keyed_hash(text: str) -> str:
    """Return a hash in hexadecimal digits that cannot be found by trying texts; empty while there is no key."""
    key = _key()
    return hmac.digest(key, text.encode("utf-8", "replace"), "sha256").hex() if key else ""


def blank_mailbox(affiliate_id: int) -> str:
    """Return the mailbox of a blank row, which no server accepts."""
    return f"erased-{affiliate_id}@{_DOMAIN}"


def is_blank(mailbox: str) -> bool:
    """Return whether a mailbox is that of a blank row."""
    return mailbox.endswith(f"@{_DOMAIN}")


def _key() -> bytes:
    known = get_state().part(_Key)
    if not known.octets:
        row = _SEALED.first()
        known.octets = bytes.fromhex(vault().open(bytes(row[0]), BINDING)) if row else b""
    return known.octets
