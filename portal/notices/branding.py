"""The branding of an account's emails: accent colour, logo, postal address and footer."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flask_babel import gettext as _
from sqlalchemy import bindparam, delete, select

from ..accounts.models import Account
from ..accounts.names import holds_link
from ..db import db, insert
from ..db.prepared import PreparedStatement
from ..state import current_config
from . import colours
from .models import NoticeBranding, NoticeLogo

if TYPE_CHECKING:
    from datetime import datetime

    from ..accounts.models import Owner
    from ..accounts.standing import Approvable

DEFAULT_ACCENT = "#1f3f5c"
LOGO_LIMIT_BYTES = 256 * 1024
LOGO_EXTENSIONS = {"image/png": "png", "image/jpeg": "jpg", "image/gif": "gif"}
_SIDE_LIMIT_PX = 2_000
_SHOWN_HEIGHT_PX, _SHOWN_WIDTH_PX = 56, 240  # the space for a logo in an email
_LOGOS_KEPT = 20  # for each account, because emails sent earlier refer to earlier logos
_KEY_LIMIT_CHARS = 40
_JPEG_FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # with the size; ISO 10918-1

_ROW, _LOGO = NoticeBranding.__table__.c, NoticeLogo.__table__.c
# Without the logo's data: emails contain only its address.
_BRANDING_OF = PreparedStatement(
    select(
        _ROW.accent,
        _ROW.address,
        _ROW.footer,
        _LOGO.key,
        _LOGO.media_type,
        _LOGO.width,
        _LOGO.height,
    )
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


@dataclass(frozen=True)
class Image:
    """Type and size, in pixels, of an image."""

    media_type: str
    width: int
    height: int


class InvalidBranding(Exception):
    """The branding was not saved. Holds a sentence for each invalid field."""

    def __init__(self, by_field: dict[str, str]) -> None:
        super().__init__(", ".join(by_field))
        self.by_field = by_field


class InvalidImage(ValueError):
    """The file cannot be used as a logo. The message is one sentence for the owner."""


def branding_of(account_id: int) -> Branding:
    """Return the branding of an account's emails; the default if none was saved."""
    row = _BRANDING_OF.first(account_id=account_id)
    if row is None:
        return Branding()
    accent, address, footer, key, media_type, width, height = row
    if key is None:
        return Branding(accent, address, footer)
    return Branding(accent, address, footer, logo_url(key, media_type), *_fit_logo(width, height))


def logo_url(key: str, media_type: str) -> str:
    """Return the absolute address of a logo for use in emails."""
    return picture_url(f"{key}.{LOGO_EXTENSIONS[media_type]}")


def find_logo(key: str) -> NoticeLogo | None:
    """Return a logo by the key in its address."""
    if not key.isascii() or not key.isprintable() or len(key) > _KEY_LIMIT_CHARS:
        return None
    return db.session.scalar(select(NoticeLogo).where(NoticeLogo.key == key))


def store_picture(account_id: int, data: bytes, *, now: datetime) -> str:
    """Store an image that is served like a logo; return its name, for ``picture_url``. The caller commits.

    Raises:
        InvalidImage: the file is not a PNG, JPEG or GIF, or is too large.
    """
    image = identify_image(data)
    return f"{_insert_logo(account_id, image, data, now).key}.{LOGO_EXTENSIONS[image.media_type]}"


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
    image = _validate_logo(entered.logo) if entered.logo else None
    values: dict[str, Any] = {
        "accent": accent,
        "address": entered.address,
        "without_address": entered.without_address,
        "footer": entered.footer,
        "updated_at": now,
    }
    if entered.remove_logo:
        values["logo_id"] = None
    if image is not None:
        values["logo_id"] = _insert_logo(owner.account_id, image, entered.logo, now).id
    _store(owner.account_id, values, values)
    if image is not None:
        _delete_old_logos(owner.account_id)
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
    _store(account.id, {"accent": DEFAULT_ACCENT, "footer": "", **values}, values)
    db.session.commit()


def identify_image(data: bytes) -> Image:
    """Return the type and size of an image from its content, since the file name and type of an upload can be wrong.

    Raises:
        InvalidImage: the file is not a PNG, JPEG or GIF, or is too large.
    """
    if len(data) > LOGO_LIMIT_BYTES:
        raise InvalidImage(
            f"The file has {len(data) // 1024} KB. Choose one of at most {LOGO_LIMIT_BYTES // 1024} KB."
        )
    image = _identify_png(data) or _identify_gif(data) or _identify_jpeg(data)
    if image is None:
        raise InvalidImage("This is no PNG, JPEG or GIF picture. Mail programmes show no others.")
    if not (0 < image.width <= _SIDE_LIMIT_PX and 0 < image.height <= _SIDE_LIMIT_PX):
        raise InvalidImage(
            f"The picture measures {image.width} × {image.height} pixels. "
            f"Choose one of at most {_SIDE_LIMIT_PX} × {_SIDE_LIMIT_PX}."
        )
    return image


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


def _validate_logo(data: bytes) -> Image:
    try:
        return identify_image(data)
    except InvalidImage as error:
        raise InvalidBranding({"logo": str(error)}) from None


def _store(account_id: int, first: dict[str, Any], changed: dict[str, Any]) -> None:
    """Insert the row of an account with ``first``, or change it; requests at the same time wait for each other."""
    statement = insert(NoticeBranding).values(account_id=account_id, **first)
    statement = statement.on_conflict_do_update(index_elements=["account_id"], set_=changed)
    db.session.execute(statement)


def _insert_logo(account_id: int, image: Image, data: bytes, now: datetime) -> NoticeLogo:
    row = NoticeLogo(
        account_id=account_id,
        key=secrets.token_urlsafe(18),
        media_type=image.media_type,
        width=image.width,
        height=image.height,
        data=data,
        created_at=now,
    )
    db.session.add(row)
    db.session.flush()
    return row


def _delete_old_logos(account_id: int) -> None:
    kept = select(NoticeLogo.id).where(NoticeLogo.account_id == account_id)
    kept = kept.order_by(NoticeLogo.id.desc()).limit(_LOGOS_KEPT)
    picture = (
        select(Account.id)
        .where(Account.id == account_id, Account.picture.startswith(NoticeLogo.key))
        .correlate(NoticeLogo)
    )
    old = delete(NoticeLogo).where(
        NoticeLogo.account_id == account_id, NoticeLogo.id.not_in(kept), ~picture.exists()
    )
    db.session.execute(old)


def _fit_logo(width: int, height: int) -> tuple[int, int]:
    """Return the size in pixels at which a logo fits its space. Logos are not enlarged."""
    scale = min(1.0, _SHOWN_HEIGHT_PX / height, _SHOWN_WIDTH_PX / width)
    return max(1, round(width * scale)), max(1, round(height * scale))


def _identify_png(data: bytes) -> Image | None:
    if not data.startswith(b"\x89PNG\r\n\x1a\n") or data[12:16] != b"IHDR" or b"IEND" not in data[-16:]:
        return None
    return Image("image/png", int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big"))


def _identify_gif(data: bytes) -> Image | None:
    if data[:6] not in (b"GIF87a", b"GIF89a") or len(data) < 14:
        return None
    return Image("image/gif", int.from_bytes(data[6:8], "little"), int.from_bytes(data[8:10], "little"))


def _identify_jpeg(data: bytes) -> Image | None:
    """Read the segments until one contains the size."""
    if not data.startswith(b"\xff\xd8\xff"):
        return None
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if marker in _JPEG_FRAME_MARKERS:
            height, width = (int.from_bytes(data[at + i : at + i + 2], "big") for i in (5, 7))
            return Image("image/jpeg", width, height)
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        if length < 2:
            return None
        at += 2 + length
    return None
