"""The texts of notices: the default texts that Signet ships, and an account's own texts as numbered versions.

Each save adds a version, and the newest is sent. No version is ever deleted.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from sqlalchemy import Select, bindparam, func, select
from sqlalchemy.exc import IntegrityError

from ..db import db
from ..db.transaction import current_connection
from .catalogue import FOLDER
from .models import TextVersion

if TYPE_CHECKING:
    from datetime import datetime

    from ..accounts.models import Owner
    from .catalogue import Notice

_INCLUDE = re.compile(r'^\{% include "([a-z_]+\.html)" %\}$', re.MULTILINE)
_ROW = TextVersion.__table__.c
_CURRENT = (
    select(_ROW.shipped, _ROW.subject, _ROW.html, _ROW.text)
    .where(_ROW.account_id == bindparam("account_id"), _ROW.kind == bindparam("kind"))
    .order_by(_ROW.number.desc())
    .limit(1)
)


@dataclass(frozen=True)
class Text:
    """The editable parts of a notice. If ``text`` is empty, the text part is generated from the HTML.

    If ``markdown`` is a string, the message was written in it, and the HTML was made from it.
    """

    subject: str
    html: str
    text: str = ""
    markdown: str | None = None


class EditConflict(Exception):
    """Another version was saved after the owner opened the editor."""

    def __init__(self, newest: TextVersion) -> None:
        super().__init__(newest.number)
        self.newest = newest


@cache
def default_text(notice: Notice) -> Text:
    """Return the default text from the folder of the notice, where ``text.txt`` is optional.

    A line ``{% include "file.html" %}`` stands for a file that several notices share. Editors and senders get its content.
    """
    folder = FOLDER / notice.kind
    plain = folder / "text.txt"
    return Text(
        (folder / "subject.txt").read_text(encoding="utf-8").strip(),
        _INCLUDE.sub(_shared_part, (folder / "html.html").read_text(encoding="utf-8")).strip(),
        plain.read_text(encoding="utf-8").strip() if plain.exists() else "",
    )


def _shared_part(found: re.Match[str]) -> str:
    return (FOLDER / found[1]).read_text(encoding="utf-8").strip()


def current_text(account_id: int, notice: Notice) -> Text:
    """Return the text that is sent: the account's newest version, or the default. Its Markdown is not read."""
    if notice.locked:
        return default_text(notice)
    row = current_connection().execute(_CURRENT, {"account_id": account_id, "kind": notice.kind}).first()
    return default_text(notice) if row is None or row.shipped else Text(row.subject, row.html, row.text)


def text_of(version: TextVersion, notice: Notice) -> Text:
    """Return the text of a version."""
    if version.shipped:
        return default_text(notice)
    return Text(version.subject, version.html, version.text, version.markdown)


def newest_version(account_id: int, notice: Notice) -> TextVersion | None:
    """Return the version saved last. It is the one that is sent."""
    return db.session.scalar(_versions(account_id, notice).limit(1))


def find_version(account_id: int, notice: Notice, number: int) -> TextVersion | None:
    """Return one version of this account by its number."""
    return db.session.scalar(_versions(account_id, notice).where(TextVersion.number == number))


def list_versions(account_id: int, notice: Notice, limit: int = 50) -> list[TextVersion]:
    """Return the last versions, newest first."""
    return list(db.session.scalars(_versions(account_id, notice).limit(limit)))


def newest_versions(account_id: int) -> dict[str, TextVersion]:
    """Return the newest version of each kind that has one."""
    newest = (
        select(TextVersion.kind, func.max(TextVersion.number).label("number"))
        .where(TextVersion.account_id == account_id)
        .group_by(TextVersion.kind)
        .subquery()
    )
    query = select(TextVersion).join(
        newest, (newest.c.kind == TextVersion.kind) & (newest.c.number == TextVersion.number)
    )
    rows = db.session.scalars(query.where(TextVersion.account_id == account_id))
    return {row.kind: row for row in rows}


def save_version(
    owner: Owner, notice: Notice, text: Text, *, based_on: int, now: datetime
) -> TextVersion | None:
    """Save a validated text as the next version; return None if nothing changed. Commits.

    ``based_on`` is the number of the version that was edited, 0 for the default text.

    Raises:
        EditConflict: another version was saved meanwhile.
    """
    newest = _check_newest(owner, notice, based_on)
    if text == (text_of(newest, notice) if newest else default_text(notice)):
        db.session.commit()
        return None
    return _add_version(owner, notice, text, based_on + 1, now)


def reset_to_default(owner: Owner, notice: Notice, *, based_on: int, now: datetime) -> TextVersion | None:
    """Save a version that stands for the default text; return None if the default is sent already. Commits.

    Raises:
        EditConflict: another version was saved meanwhile.
    """
    newest = _check_newest(owner, notice, based_on)
    if newest is None or newest.shipped:
        db.session.commit()
        return None
    return _add_version(owner, notice, None, based_on + 1, now)


def restore_version(
    owner: Owner, notice: Notice, version: TextVersion, *, now: datetime
) -> TextVersion | None:
    """Save an earlier version as the newest; return None if their texts are equal. Commits.

    Raises:
        EditConflict: another version was saved at the same time.
    """
    newest = newest_version(owner.account_id, notice)
    if newest is not None and text_of(newest, notice) == text_of(version, notice):
        db.session.commit()
        return None
    text = None if version.shipped else text_of(version, notice)
    return _add_version(owner, notice, text, newest.number + 1 if newest else 1, now)


def _versions(account_id: int, notice: Notice) -> Select[TextVersion]:
    query = select(TextVersion).where(TextVersion.account_id == account_id, TextVersion.kind == notice.kind)
    return query.order_by(TextVersion.number.desc())


def _check_newest(owner: Owner, notice: Notice, based_on: int) -> TextVersion | None:
    """Return the newest version. Raises EditConflict if its number is not ``based_on``."""
    newest = newest_version(owner.account_id, notice)
    if newest is not None and newest.number != based_on:
        raise EditConflict(newest)
    return newest


def _add_version(owner: Owner, notice: Notice, text: Text | None, number: int, now: datetime) -> TextVersion:
    """Insert a version; ``text`` None stands for the default text. Commits.

    Raises:
        EditConflict: another owner inserted a version of this number first.
    """
    row = TextVersion(
        account_id=owner.account_id,
        kind=notice.kind,
        number=number,
        shipped=text is None,
        subject=text.subject if text else "",
        html=text.html if text else "",
        text=text.text if text else "",
        markdown=text.markdown if text else None,
        owner_id=owner.id,
        owner_name=owner.name,
        created_at=now,
    )
    try:
        with db.session.begin_nested():
            db.session.add(row)
    except IntegrityError:
        newest = newest_version(owner.account_id, notice)
        if newest is None:
            raise
        raise EditConflict(newest) from None
    db.session.commit()
    return row
