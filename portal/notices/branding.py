"""The look of an account's mail: its colour, its logo, its postal address and a line of its own."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, delete, select

from ..db import db
from ..db.prepared import PreparedStatement
from ..state import current_config
from . import colours, images
from .models import NoticeBranding, NoticeLogo

if TYPE_CHECKING:
    from datetime import datetime

    from ..accounts.models import Owner

DEFAULT_ACCENT = "#1f3f5c"
_SHOWN_HEIGHT, _SHOWN_WIDTH = 56, 240  # pixels a logo may take in a mail
_ROW, _LOGO = NoticeBranding.__table__.c, NoticeLogo.__table__.c
_LOOK = PreparedStatement(
    select(_ROW.accent, _ROW.address, _ROW.footer, _LOGO.key, _LOGO.media_type, _LOGO.width, _LOGO.height)
    .outerjoin_from(NoticeBranding.__table__, NoticeLogo.__table__, _LOGO.id == _ROW.logo_id)
    .where(_ROW.account_id == bindparam("account_id"))
)
_LOGOS_KEPT = 20  # earlier ones, for mail that was sent with them


@dataclass(frozen=True)
class Branding:
    """What the frame of every mail needs to know."""

    accent: str = DEFAULT_ACCENT
    address: str = ""
    footer: str = ""
    logo_url: str = ""
    logo_width: int = 0
    logo_height: int = 0


@dataclass(frozen=True)
class BrandingInput:
    """What the owner entered; ``logo`` is the file, empty for the present one."""

    accent: str
    address: str
    footer: str
    logo: bytes = b""
    remove_logo: bool = False


class InvalidBranding(Exception):
    """The look may not be saved: a sentence for each field at fault."""

    def __init__(self, by_field: dict[str, str]) -> None:
        super().__init__(", ".join(by_field))
        self.by_field = by_field


def branding_of(account_id: int) -> Branding:
    """Return the look of an account's mail."""
    found = _LOOK.first(account_id=account_id)
    if found is None:
        return Branding()
    accent, address, footer, key, media_type, width, height = found  # not the logo's data: mails name it only
    if key is None:
        return Branding(accent, address, footer)
    return Branding(accent, address, footer, logo_url(key, media_type), *_shown_size(width, height))


def logo_url(key: str, media_type: str) -> str:
    """Return the absolute address of a logo, as it stands in mails."""
    return f"{current_config().base_url}/automated-emails/logo/{key}.{images.LOGO_EXTENSIONS[media_type]}"


def save(owner: Owner, typed: BrandingInput, *, now: datetime) -> str:
    """Save the look. Commits. Returns a sentence where something was changed on the way. Raises InvalidBranding."""
    accent, note = _judge_accent(typed.accent)
    picture = _judge_logo(typed.logo) if typed.logo else None
    row = db.session.get(NoticeBranding, owner.account_id) or NoticeBranding(account_id=owner.account_id)
    row.accent, row.address, row.footer, row.updated_at = accent, typed.address, typed.footer, now
    if typed.remove_logo:
        row.logo_id = None
    if picture is not None:
        row.logo_id = _keep(owner.account_id, picture, typed.logo, now).id
        _forget_oldest(owner.account_id)
    db.session.add(row)
    db.session.commit()
    return note


def find_logo(key: str) -> NoticeLogo | None:
    """Return a logo by the key in its address."""
    if not key.isascii() or not key.isprintable() or len(key) > 40:
        return None
    return db.session.scalar(select(NoticeLogo).where(NoticeLogo.key == key))


def _judge_accent(text: str) -> tuple[str, str]:
    try:
        return colours.make_readable(text)
    except colours.InvalidColour as refused:
        raise InvalidBranding({"accent": str(refused)}) from None


def _judge_logo(data: bytes) -> images.Image:
    try:
        return images.identify_image(data)
    except images.InvalidImage as refused:
        raise InvalidBranding({"logo": str(refused)}) from None


def _keep(account_id: int, picture: images.Image, data: bytes, now: datetime) -> NoticeLogo:
    row = NoticeLogo(
        account_id=account_id,
        key=secrets.token_urlsafe(18),
        media_type=picture.media_type,
        width=picture.width,
        height=picture.height,
        data=data,
        created_at=now,
    )
    db.session.add(row)
    db.session.flush()
    return row


def _forget_oldest(account_id: int) -> None:
    kept = select(NoticeLogo.id).where(NoticeLogo.account_id == account_id)
    kept = kept.order_by(NoticeLogo.id.desc()).limit(_LOGOS_KEPT)
    old = delete(NoticeLogo).where(NoticeLogo.account_id == account_id, NoticeLogo.id.not_in(kept))
    db.session.execute(old)


def _shown_size(width: int, height: int) -> tuple[int, int]:
    scale = min(1.0, _SHOWN_HEIGHT / height, _SHOWN_WIDTH / width)
    return max(1, round(width * scale)), max(1, round(height * scale))
