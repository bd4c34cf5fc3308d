"""The branding of an account's emails: accent colour, logo, postal address and footer."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flask_babel import gettext as _
from sqlalchemy import bindparam, delete, select

from .. import audit, pictures
from ..accounts.models import Account
from ..accounts.names import holds_link
from ..db import db, insert
from ..db.prepared import PreparedStatement
from ..pictures import InvalidPicture
from ..state import current_config
from . import colours
from .models import NoticeBranding, NoticeLogo

if TYPE_CHECKING:
    from datetime import datetime

    from ..accounts.models import Owner
    from ..accounts.standing import Approvable
    from ..pictures import Picture

DEFAULT_ACCENT = "#1f3f5c"
_SHOWN_HEIGHT_PX, _SHOWN_WIDTH_PX = 56, 240  # the space for a logo in an email
_LOGOS_KEPT = 20  # for each account, because emails sent earlier refer to earlier logos
_KEY_LIMIT_CHARS = 40

_ROW, _LOGO = NoticeBranding.__table__.c, NoticeLogo.__table__.c
# Without the logo's data: emails contain only its address.
COLUMNS = (_ROW.accent, _ROW.address, _ROW.footer, _LOGO.key, _LOGO.media_type, _LOGO.width, _LOGO.height)
_BRANDING_OF = PreparedStatement(
    select(*COLUMNS)
    .outerjoin_from(NoticeBranding.__table__, NoticeLogo.__table__, _LOGO.id == _ROW.logo_id)
    .where(_ROW.account_id == bindparam("account_id"))
)

_ADDRESS_OF = PreparedStatement(
    select(_ROW.address, _ROW.without_address).where(_ROW.account_id == bindparam("account_id"))
)


@dataclass(frozen=True)
class Branding:
    """The values that the layout of each email shows. Sizes in pixels."""

    accent: str = DEFAULT_ACCENT
    address: str = ""
    footer: str = ""
    logo_url: str = ""
    logo_width: int = 0
    logo_height: int = 0


@dataclass(frozen=True)
class BrandingInput:
    """The values an owner entered. ``logo`` is the content of a file, empty to keep the current logo."""

    accent: str
    address: str
    footer: str
    logo: bytes = b""
    remove_logo: bool = False
    without_address: bool = False


class InvalidBranding(Exception):
    """The branding was not saved. Holds a sentence for each invalid field."""

    def __init__(self, by_field: dict[str, str]) -> None:
        super().__init__(", ".join(by_field))
        self.by_field = by_field


def branding_of(account_id: int) -> Branding:
    """Return the branding of an account's emails; the default if none was saved."""
    row = _BRANDING_OF.first(account_id=account_id)
    return branding_from(row) if row else Branding()


def branding_from(row: tuple[Any, ...]) -> Branding:
    """Return the branding of a row with ``COLUMNS``; the default if all are None."""
    if row[0] is None:
        return Branding()
    accent, address, footer, key, media_type, width, height = row
    if key is None:
        return Branding(accent, address, footer)
    return Branding(accent, address, footer, logo_url(key, media_type), *_fit_logo(width, height))


def logo_url(key: str, media_type: str) -> str:
    """Return the absolute address of a logo for use in emails."""
    return picture_url(f"{key}.{pictures.EXTENSIONS[media_type]}")


def find_logo(key: str) -> NoticeLogo | None:
    """Return a logo by the key in its address."""
    if not key.isascii() or not key.isprintable() or len(key) > _KEY_LIMIT_CHARS:
        return None
    return db.session.scalar(select(NoticeLogo).where(NoticeLogo.key == key))


def store_picture(account_id: int, data: bytes, *, now: datetime) -> str:
    """Store an image that is served like a logo; return its name, for ``picture_url``. The caller commits.

    Raises:
        InvalidPicture: the file cannot be used as a picture.
    """
    picture = pictures.read_picture(data)
    return f"{_insert_logo(account_id, picture, now).key}.{pictures.EXTENSIONS[picture.media_type]}"


def delete_picture(account_id: int, name: str) -> None:
    """Delete a picture that ``store_picture`` named. No email refers to it. The caller commits."""
    key = name.rpartition(".")[0]
    db.session.execute(delete(NoticeLogo).where(NoticeLogo.account_id == account_id, NoticeLogo.key == key))


def picture_url(name: str) -> str:
    """Return the absolute address of a stored image."""
    return f"{current_config().base_url}/automated-emails/logo/{name}"


def save_branding(owner: Owner, entered: BrandingInput, *, now: datetime) -> str:
    """Save the branding; return a sentence if the colour had to be changed, else "". Commits.

    Raises:
        InvalidBranding: the colour or the logo is invalid.
    """
    accent, note = _validate_accent(entered.accent)
    _validate_address(owner.account, entered.address)
    picture = _validate_logo(entered.logo) if entered.logo else None
    before = branding_of(owner.account_id)
    values: dict[str, Any] = {
        "accent": accent,
        "address": entered.address,
        "without_address": entered.without_address,
        "footer": entered.footer,
        "updated_at": now,
    }
    if entered.remove_logo:
        values["logo_id"] = None
    if picture is not None:
        values["logo_id"] = _insert_logo(owner.account_id, picture, now).id
    _store(owner.account_id, values, values)
    if picture is not None:
        _delete_old_logos(owner.account_id)
    after = {"accent": accent, "address": entered.address, "footer": entered.footer}
    if picture is not None or entered.remove_logo:
        after["logo"] = "removed" if picture is None else "changed"
    _record(owner.account_id, before, after)
    db.session.commit()
    return note


def is_address_settled(account_id: int) -> bool:
    """Return whether an account has a postal address for its emails, or its owner chose to send without one."""
    row = _ADDRESS_OF.first(account_id=account_id)
    return row is not None and bool(row[0] or row[1])


def save_address(account: Approvable, address: str, *, without: bool, now: datetime) -> None:
    """Save the postal address alone, or that there is none. Commits. Raises InvalidBranding."""
    _validate_address(account, address)
    values = {"address": address, "without_address": without, "updated_at": now}
    before = branding_of(account.id)
    _store(account.id, {"accent": DEFAULT_ACCENT, "footer": "", **values}, values)
    _record(account.id, before, {"address": address})
    db.session.commit()


def _record(account_id: int, before: Branding, after: dict[str, str]) -> None:
    present: dict[str, str] = {name: getattr(before, name) for name in ("accent", "address", "footer")}
    present = {name: value for name, value in present.items() if name in after}
    audit.record(audit.Activity.LOOK_SAVED, account_id, before=present, after=after)


def _validate_accent(text: str) -> tuple[str, str]:
    try:
        return colours.make_readable(text)
    except colours.InvalidColour as error:
        raise InvalidBranding({"accent": str(error)}) from None


def _validate_address(account: Approvable, address: str) -> None:
    """Refuse a link in the address of an account without approval, because its summaries carry the address."""
    if account.approved_at is None and holds_link(address):
        sentence = _("Enter the address without a web or email address; put a space after each dot.")
        raise InvalidBranding({"address": sentence})


def _validate_logo(data: bytes) -> Picture:
    try:
        return pictures.read_picture(data)
    except InvalidPicture as error:
        raise InvalidBranding({"logo": str(error)}) from None


def _store(account_id: int, first: dict[str, Any], changed: dict[str, Any]) -> None:
    """Insert the row of an account with ``first``, or change it; requests at the same time wait for each other."""
    statement = insert(NoticeBranding).values(account_id=account_id, **first)
    statement = statement.on_conflict_do_update(index_elements=["account_id"], set_=changed)
    db.session.execute(statement)


def _insert_logo(account_id: int, picture: Picture, now: datetime) -> NoticeLogo:
    row = NoticeLogo(
        account_id=account_id,
        key=secrets.token_urlsafe(18),
        media_type=picture.media_type,
        width=picture.width,
        height=picture.height,
        data=picture.data,
        created_at=now,
    )
    db.session.add(row)
    db.session.flush()
    return row


def _delete_old_logos(account_id: int) -> None:
    kept = select(NoticeLogo.id).where(NoticeLogo.account_id == account_id)
    kept = kept.order_by(NoticeLogo.id.desc()).limit(_LOGOS_KEPT)
    shared = (
        select(Account.id)
        .where(Account.id == account_id, Account.picture.startswith(NoticeLogo.key))
        .correlate(NoticeLogo)
    )
    old = delete(NoticeLogo).where(
        NoticeLogo.account_id == account_id, NoticeLogo.id.not_in(kept), ~shared.exists()
    )
    db.session.execute(old)


def _fit_logo(width: int, height: int) -> tuple[int, int]:
    """Return the size in pixels at which a logo fits its space. Logos are not enlarged."""
    scale = min(1.0, _SHOWN_HEIGHT_PX / height, _SHOWN_WIDTH_PX / width)
    return max(1, round(width * scale)), max(1, round(height * scale))
