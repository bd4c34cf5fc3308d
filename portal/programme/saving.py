"""Saves a programme's settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from flask_babel import gettext as _
from sqlalchemy import select, update

from .. import audit
from ..accounts.models import Account, LinkForm
from ..db import db
from ..languages import ENGLISH
from ..notices import branding
from ..pictures import InvalidPicture, read_upload
from ..shop_links import InvalidShopAddress, clean_address, clean_pattern
from ..state import current_config

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

MAX_VISIT_DAYS = 365
LIMITS = (5, 100_000)  # the least and the most sign-ups that an owner may allow
DEFAULT_LIMIT = 20
_NOT_RECORDED = {"sign_ups_slow_until", "script_seen_at"}
_OF_LINKS = ("shop_url", "link_form", "link_pattern")


@dataclass(frozen=True)
class ProgrammeSettings:
    """What an owner entered. Addresses may be empty; ``visit_days`` 0 means that a visit counts until it ends."""

    shop_url: str
    link_form: LinkForm
    link_pattern: str
    visit_days: int
    commission: str
    description: str
    terms_url: str
    privacy_url: str
    picture: IO[bytes] | None = None  # an uploaded file; None keeps the present one
    remove_picture: bool = False
    asks_website: bool = False
    sign_ups_per_network: int = DEFAULT_LIMIT
    sign_ups_at_once: int = DEFAULT_LIMIT
    language: str = ENGLISH.code


class InvalidProgramme(Exception):
    """The settings were not saved. Holds a sentence for each invalid field."""

    def __init__(self, by_field: dict[str, str]) -> None:
        super().__init__(", ".join(by_field))
        self.by_field = by_field


def find_account(account_id: int) -> Account:
    """Return the account with its settings."""
    return db.session.get_one(Account, account_id)


def save_settings(account_id: int, entered: ProgrammeSettings, *, now: datetime) -> None:
    """Save the settings; every link follows at once. Commits. Raises InvalidProgramme."""
    wrong: dict[str, str] = {}

    def cleaned(field: str, clean: Callable[[], str]) -> str:
        try:
            return clean()
        except InvalidShopAddress as error:
            wrong[field] = str(error)
            return ""

    own = current_config().base_url
    shop_url = cleaned("shop_url", lambda: clean_address(entered.shop_url, taken=own))
    link_pattern = ""
    if entered.link_form is not LinkForm.SHORT and not shop_url and not wrong:
        wrong["shop_url"] = _("Enter your shop’s address. Links in this form start with it.")
    elif entered.link_form is LinkForm.PATTERN and not wrong:
        link_pattern = cleaned(
            "link_pattern", lambda: clean_pattern(entered.link_pattern, shop_url, taken=own)
        )
    terms_url = cleaned("terms_url", lambda: clean_address(entered.terms_url))
    privacy_url = cleaned("privacy_url", lambda: clean_address(entered.privacy_url))
    if wrong:
        raise InvalidProgramme(wrong)
    values: dict[str, object] = {
        "language": entered.language,
        "shop_url": shop_url,
        "link_form": entered.link_form,
        "link_pattern": link_pattern,
        "visit_days": entered.visit_days,
        "commission": entered.commission,
        "description": entered.description,
        "terms_url": terms_url,
        "privacy_url": privacy_url,
        "asks_website": entered.asks_website,
        "sign_ups_per_network": entered.sign_ups_per_network,
        "sign_ups_at_once": entered.sign_ups_at_once,
        "sign_ups_slow_until": None,  # the owner has looked; what goes on slows the form again
    }
    if entered.picture is not None:
        try:
            data = read_upload(entered.picture)
            values["picture"] = branding.store_picture(account_id, data, now=now)
        except InvalidPicture as error:
            raise InvalidProgramme({"picture": str(error)}) from None
    elif entered.remove_picture:
        values["picture"] = ""
    if "picture" in values:
        before = select(Account.picture).where(Account.id == account_id).with_for_update()
        branding.delete_picture(account_id, db.session.scalar(before) or "")
    account = db.session.get_one(Account, account_id, populate_existing=True)
    values |= _if_links_change(account, values)
    present = {name: getattr(account, name) for name in values if name not in _NOT_RECORDED}
    after = {name: value for name, value in values.items() if name not in _NOT_RECORDED}
    audit.record(audit.Activity.PROGRAMME_SAVED, account_id, before=present, after=after)
    db.session.execute(update(Account).where(Account.id == account_id).values(values))
    db.session.commit()


def _if_links_change(account: Account, values: dict[str, object]) -> dict[str, object]:
    """Return what changes with the links: another shop may have no script, so visits count once it reports one."""
    is_same = all(getattr(account, name) == values[name] for name in _OF_LINKS)
    return {} if is_same else {"script_seen_at": None}
