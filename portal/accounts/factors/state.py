"""Which second factors a person has, and who demands one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, func, or_, select

from ...db import db
from ..models import Account, Membership, Owner
from .models import Passkey, RecoveryCode, Totp

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.orm import QueryableAttribute


@dataclass(frozen=True)
class ShownPasskey:
    """A passkey, for the page *Second factor*."""

    id: int
    name: str
    is_backed_up: bool
    created_at: datetime
    used_at: datetime | None


@dataclass(frozen=True)
class Factors:
    """The second factors of a person, for the page *Second factor*."""

    app_since: datetime | None  # empty: no authenticator app
    passkeys: tuple[ShownPasskey, ...]
    codes_left: int
    demanded_by: tuple[str, ...]  # names of the programmes that ask everyone for a second factor

    @property
    def any(self) -> bool:
        """Whether the person has a second factor. Recovery codes alone are none."""
        return self.app_since is not None or bool(self.passkeys)

    @property
    def can_remove(self) -> bool:
        """Whether a factor can be removed: no programme demands one, or another one is left."""
        return not self.demanded_by or (self.app_since is not None) + len(self.passkeys) > 1


def owns_factor(owner: QueryableAttribute[int]) -> ColumnElement[bool]:
    """Return the condition that a person has a second factor."""
    return or_(
        *(select(one.id).where(one.owner_id == owner).correlate(Owner).exists() for one in (Totp, Passkey))
    )


def has_factor(owner_id: int) -> bool:
    """Return whether a log-in of this person needs a second factor."""
    return bool(db.session.scalar(select(owns_factor(Owner.id)).where(Owner.id == owner_id)))


def lock(owner_id: int) -> None:
    """Let other changes to the person's factors and password, and log-ins, wait until the transaction ends."""
    db.session.execute(select(Owner.id).where(Owner.id == owner_id).with_for_update(key_share=True))


def factors_of(owner_id: int) -> Factors:
    """Return the second factors of a person."""
    app_since = db.session.scalar(select(Totp.created_at).where(Totp.owner_id == owner_id))
    columns = (Passkey.id, Passkey.name, Passkey.is_backed_up, Passkey.created_at, Passkey.used_at)
    query = select(*columns).where(Passkey.owner_id == owner_id).order_by(Passkey.id)
    passkeys = tuple(ShownPasskey(*row) for row in db.session.execute(query))
    demanded_by = tuple(db.session.scalars(_demanding(Account.name, owner_id)))
    return Factors(app_since, passkeys, codes_left(owner_id), demanded_by)


def codes_left(owner_id: int) -> int:
    """Return how many recovery codes of a person still work."""
    query = select(func.count()).where(RecoveryCode.owner_id == owner_id, RecoveryCode.used_at.is_(None))
    return db.session.scalar(query) or 0


def is_demanded(owner_id: int) -> bool:
    """Return whether an account of this person asks everyone for a second factor."""
    return db.session.scalar(_demanding(Account.id, owner_id).limit(1)) is not None


def _demanding(column: QueryableAttribute[Any], owner_id: int) -> Any:
    query = select(column).join(Membership, Membership.account_id == Account.id)
    return query.where(Membership.owner_id == owner_id, Account.demands_factor).order_by(Account.name)
