"""Saving texts: a version for every change, and nobody's words lost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy.exc import IntegrityError

from ..db import db
from . import validation
from .defaults import Text
from .models import TextVersion
from .texts import current_text, newest_version, text_of

if TYPE_CHECKING:
    from datetime import datetime

    from ..accounts.models import Owner
    from .catalogue import Notice
    from .validation import ValidText


class EditConflict(Exception):
    """Somebody else saved a version since this one was begun."""

    def __init__(self, newest: TextVersion) -> None:
        super().__init__(newest.number)
        self.newest = newest


@dataclass(frozen=True)
class Saved:
    """What became of a save. No version: nothing had changed."""

    version: TextVersion | None
    judged: ValidText


def save_version(owner: Owner, notice: Notice, typed: Text, *, based_on: int, now: datetime) -> Saved:
    """Save the next version, if anything changed. Commits. Raises InvalidText, EditConflict.

    ``based_on`` is the number of the version the owner began with, 0 for the shipped text.
    """
    judged = validation.validate(notice, owner.account, typed)
    _only_after(owner, notice, based_on)
    if judged.text == current_text(owner.account_id, notice):
        db.session.commit()
        return Saved(None, judged)
    return Saved(_add(owner, notice, judged.text, based_on + 1, now), judged)


def reset_to_default(owner: Owner, notice: Notice, *, based_on: int, now: datetime) -> TextVersion | None:
    """Go back to the text Signet ships. Commits. Raises EditConflict."""
    present = _only_after(owner, notice, based_on)
    if present is None or present.shipped:
        db.session.commit()
        return None
    return _add(owner, notice, None, based_on + 1, now)


def restore_version(owner: Owner, notice: Notice, old: TextVersion, *, now: datetime) -> TextVersion | None:
    """Make an earlier version the newest. Commits. Raises EditConflict."""
    present = newest_version(owner.account_id, notice)
    words = None if old.shipped else Text(old.subject, old.html, old.text)
    if present is not None and text_of(present, notice) == text_of(old, notice):
        db.session.commit()
        return None
    return _add(owner, notice, words, present.number + 1 if present else 1, now)


def _only_after(owner: Owner, notice: Notice, based_on: int) -> TextVersion | None:
    present = newest_version(owner.account_id, notice)
    if present is not None and present.number != based_on:
        raise EditConflict(present)
    return present


def _add(owner: Owner, notice: Notice, words: Text | None, number: int, now: datetime) -> TextVersion:
    """Add a version; of two owners at once, the second is told."""
    row = TextVersion(
        account_id=owner.account_id,
        kind=notice.kind,
        number=number,
        shipped=words is None,
        subject=words.subject if words else "",
        html=words.html if words else "",
        text=words.text if words else "",
        owner_id=owner.id,
        owner_name=owner.name,
        created_at=now,
    )
    try:
        with db.session.begin_nested():
            db.session.add(row)
    except IntegrityError:
        present = newest_version(owner.account_id, notice)
        if present is None:
            raise
        raise EditConflict(present) from None
    db.session.commit()
    return row
