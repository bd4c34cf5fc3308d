"""Changes to an affiliate by the owner or the shop: name, address, code, external id, notes and website."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flask_babel import gettext as _
from sqlalchemy.exc import IntegrityError

from ... import audit
from ...affiliates import codes, directory
from ...affiliates.models import AffiliateState
from ...affiliates.search_text import search_text
from ...db import db
from ..moderation import lock_affiliate
from . import address_change
from .address_change import InvalidChange

if TYPE_CHECKING:
    from datetime import datetime

    from ...accounts.models import Account
    from ...affiliates.models import Affiliate

NOTES_LIMIT_CHARS = 2000
EXTERNAL_ID_LIMIT_CHARS = 100


@dataclass(frozen=True)
class Changes:
    """What to change, already validated; None leaves a value as it is, and an empty external id removes it."""

    name: str | None = None
    mailbox: str | None = None
    code: str | None = None
    external_id: str | None = None
    notes: str | None = None
    website: str | None = None


@dataclass(frozen=True)
class Edited:
    """The affiliate after a change. ``asked``: an email asks the new address for confirmation."""

    affiliate: Affiliate
    asked: bool


def edit(account: Account, affiliate_id: int, changes: Changes, *, now: datetime) -> Edited | None:
    """Change an affiliate, all or nothing; None if the account has none with this id. Commits.

    A new address gets an email that asks for confirmation, and the present one stays until then.

    Raises:
        InvalidChange: A value belongs to another affiliate, or the address cannot be asked.
        AddressChangeLimit: Too many addresses were asked today.
    """
    affiliate = lock_affiliate(account.id, affiliate_id)
    if affiliate is None or affiliate.state is AffiliateState.ERASED:
        db.session.rollback()
        return None
    try:
        before = _values(affiliate)
        _apply(affiliate, changes, now)
        asked = changes.mailbox is not None and address_change.ask(
            account, affiliate, changes.mailbox, now=now
        )
        changed = [name for name, value in _values(affiliate).items() if value != before[name]]
        _record(affiliate, changed + ["mailbox"] * asked)
        db.session.commit()
    except IntegrityError:
        db.session.rollback()
        raise InvalidChange({"external_id": _taken_id()}) from None
    except InvalidChange:
        db.session.rollback()
        raise
    return Edited(affiliate, asked)


def _values(affiliate: Affiliate) -> dict[str, str | None]:
    return {name: getattr(affiliate, name) for name in ("name", "code", "external_id", "notes", "website")}


def _record(affiliate: Affiliate, changed: list[str]) -> None:
    """Record which values changed, not what they are: an erasure has to find every place that holds them."""
    if changed:
        target = audit.AuditTarget("affiliate", affiliate.id)
        audit.record(
            audit.Activity.AFFILIATE_CHANGED, affiliate.account_id, target=target, after={"fields": changed}
        )


def _apply(affiliate: Affiliate, changes: Changes, now: datetime) -> None:
    if changes.external_id is not None:
        _change_external_id(affiliate, changes.external_id)
    if (
        changes.code is not None
        and changes.code != affiliate.code
        and not _change_code(affiliate, changes.code, now)
    ):
        raise InvalidChange({"code": _("Another affiliate has or had this code.")})
    if changes.name is not None:
        affiliate.name = changes.name
    if changes.notes is not None:
        affiliate.notes = changes.notes
    if changes.website is not None:
        affiliate.website = changes.website
    affiliate.search_text = search_text(
        affiliate.name, affiliate.mailbox, affiliate.code, affiliate.external_id
    )
    db.session.flush()


def _change_external_id(affiliate: Affiliate, external_id: str) -> None:
    other = directory.find_by_external_id(affiliate.account_id, external_id) if external_id else None
    if other is not None and other.id != affiliate.id:
        raise InvalidChange({"external_id": _taken_id()})
    affiliate.external_id = external_id or None


def _change_code(affiliate: Affiliate, code: str, now: datetime) -> bool:
    try:
        return codes.change(affiliate, code, now=now)
    except IntegrityError:  # given to another affiliate at this moment
        return False


def _taken_id() -> str:
    return str(_("Another affiliate has this ID."))
