"""The texts of notices: the default texts that Signet ships, and an account's own texts as numbered versions.

Each save adds a version, and the newest is sent. No version is ever deleted.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING

from sqlalchemy import Select, bindparam, func, select, update
from sqlalchemy.exc import IntegrityError

from .. import audit
from ..accounts.models import Account
from ..db import db
from ..db.prepared import PreparedStatement
from ..languages import ENGLISH, PORTAL_LANGUAGES, language_of, portal_language, shipped_language
from ..web.translations import current_language
from .catalogue import CONFIRM_SIGN_UP, FOLDER, Audience
from .models import TextVersion

if TYPE_CHECKING:
    from datetime import datetime

    from ..accounts.models import Owner
    from .catalogue import Notice

_INCLUDE = re.compile(r'^\{% include "([a-z_.]+\.html)" %\}$', re.MULTILINE)
_ROW = TextVersion.__table__.c
_CURRENT = PreparedStatement(
    select(_ROW.shipped, _ROW.subject, _ROW.html, _ROW.text)
    .where(_ROW.account_id == bindparam("account_id"), _ROW.kind == bindparam("kind"))
    .order_by(_ROW.number.desc())
    .limit(1)
)


_VERSION = PreparedStatement(
    select(_ROW.subject, _ROW.html, _ROW.text).where(
        _ROW.account_id == bindparam("account_id"),
        _ROW.kind == CONFIRM_SIGN_UP.kind,
        _ROW.number == bindparam("number"),
    )
)


@dataclass(frozen=True)
class Text:
    """The editable parts of a notice. If ``text`` is empty, the text part is generated from the HTML.

    If ``markdown`` is a string, the message was written in it, and the HTML was made from it.
    ``language`` is the code of the language that it is written in (portal/languages.py).
    """

    subject: str
    html: str
    text: str = ""
    markdown: str | None = None
    language: str = field(default=ENGLISH.code, compare=False)


class EditConflict(Exception):
    """Another version was saved after the owner opened the editor."""

    def __init__(self, newest: TextVersion) -> None:
        super().__init__(newest.number)
        self.newest = newest


@cache
def default_text(notice: Notice, language: str | None = None) -> Text:
    """Return the default text from the folder of the notice, where ``text.txt`` is optional.

    It is English where Signet's sentences do not exist in the language: those to affiliates exist in the complete languages,
    those to owners in the languages of the portal.

    A line ``{% include "file.html" %}`` stands for a file that several notices share. Editors and senders get its content.
    """
    shipped = shipped_language if notice.audience is Audience.AFFILIATE else portal_language
    code = shipped(language).code
    folder = FOLDER / notice.kind / ("" if code == ENGLISH.code else code)
    plain = folder / "text.txt"
    return Text(
        (folder / "subject.txt").read_text(encoding="utf-8").strip(),
        _INCLUDE.sub(_shared_part, (folder / "html.html").read_text(encoding="utf-8")).strip(),
        plain.read_text(encoding="utf-8").strip() if plain.exists() else "",
        language=code,
    )


def _shared_part(found: re.Match[str]) -> str:
    return (FOLDER / found[1]).read_text(encoding="utf-8").strip()


def language_for(notice: Notice, account: Account, chosen: str = "") -> str:
    """Return the code of the language of an account's texts: what an affiliate has chosen, else the programme's.

    A notice to the owner is in the language of the page, or of the enclosing ``speaking_to``, which is that of its reader.
    """
    return (chosen or account.language) if notice.audience is Audience.AFFILIATE else current_language().code


def current_text(account: Account, notice: Notice, language: str = "") -> Text:
    """Return the text that is sent: the account's newest version, or the default. Its Markdown is not read.

    ``language`` is what an affiliate chose, if anything: the default text is in it, an own text exists in one language only.
    """
    default = default_text(notice, language_for(notice, account, language))
    if notice.locked:
        return default
    row = _CURRENT.first(account_id=account.id, kind=notice.kind)
    if row is None:
        return default
    shipped, *parts = row
    return default if shipped else in_language(Text(*parts), notice, account)


def confirmation_text(account: Account, language: str = "") -> Text:
    """Return the text of Confirm sign-up as ``current_text`` does. With the default text, it takes no query."""
    default = default_text(CONFIRM_SIGN_UP, language or account.language)
    if not account.confirm_version:
        return default
    row = _VERSION.first(account_id=account.id, number=account.confirm_version)
    return in_language(Text(*row), CONFIRM_SIGN_UP, account) if row else default


def in_language(text: Text, notice: Notice, account: Account) -> Text:
    """Return a text with its language: that of the programme, unless it is a default text in another one.

    An owner's own text of a notice to the owner has the language of its reader, if the portal exists in the programme's: a
    programme in another language has texts in it.
    """
    default = default_text(notice, language_for(notice, account))
    if text == default:
        return default
    code = language_for(notice, account) if account.language in PORTAL_LANGUAGES else account.language
    return replace(text, language=language_of(code).code)


def text_of(version: TextVersion, notice: Notice, account: Account) -> Text:
    """Return the text of a version."""
    if version.shipped:
        return default_text(notice, language_for(notice, account))
    return in_language(Text(version.subject, version.html, version.text, version.markdown), notice, account)


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
    account = owner.account
    present = (
        text_of(newest, notice, account) if newest else default_text(notice, language_for(notice, account))
    )
    if text == present:
        db.session.commit()
        return None
    return _add_version(
        owner, notice, text, _VersionStep(audit.Activity.TEXT_SAVED, based_on, present.subject), now
    )


def reset_to_default(owner: Owner, notice: Notice, *, based_on: int, now: datetime) -> TextVersion | None:
    """Save a version that stands for the default text; return None if the default is sent already. Commits.

    Raises:
        EditConflict: another version was saved meanwhile.
    """
    newest = _check_newest(owner, notice, based_on)
    if newest is None or newest.shipped:
        db.session.commit()
        return None
    return _add_version(
        owner, notice, None, _VersionStep(audit.Activity.TEXT_RESET, based_on, newest.subject), now
    )


def restore_version(
    owner: Owner, notice: Notice, version: TextVersion, *, now: datetime
) -> TextVersion | None:
    """Save an earlier version as the newest; return None if their texts are equal. Commits.

    Raises:
        EditConflict: another version was saved at the same time.
    """
    newest = newest_version(owner.account_id, notice)
    if newest is not None and text_of(newest, notice, owner.account) == text_of(
        version, notice, owner.account
    ):
        db.session.commit()
        return None
    text = None if version.shipped else text_of(version, notice, owner.account)
    number, subject = (newest.number, newest.subject) if newest else (0, "")
    step = _VersionStep(audit.Activity.TEXT_RESTORED, number, subject)
    return _add_version(owner, notice, text, step, now)


def _versions(account_id: int, notice: Notice) -> Select[TextVersion]:
    query = select(TextVersion).where(TextVersion.account_id == account_id, TextVersion.kind == notice.kind)
    return query.order_by(TextVersion.number.desc())


def _check_newest(owner: Owner, notice: Notice, based_on: int) -> TextVersion | None:
    """Return the newest version. Raises EditConflict if its number is not ``based_on``."""
    newest = newest_version(owner.account_id, notice)
    if newest is not None and newest.number != based_on:
        raise EditConflict(newest)
    return newest


@dataclass(frozen=True)
class _VersionStep:
    """What leads to a version, for the audit trail: the action, and number and subject of the version before."""

    action: audit.Activity
    number: int
    subject: str


def _add_version(
    owner: Owner, notice: Notice, text: Text | None, step: _VersionStep, now: datetime
) -> TextVersion:
    """Insert a version; ``text`` None stands for the default text. Commits.

    Raises:
        EditConflict: another owner inserted a version of this number first.
    """
    number = step.number + 1
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
            if notice is CONFIRM_SIGN_UP:
                mine = update(Account).where(Account.id == owner.account_id)
                db.session.execute(mine.values(confirm_version=number if text else 0))
    except IntegrityError:
        newest = newest_version(owner.account_id, notice)
        if newest is None:
            raise
        raise EditConflict(newest) from None
    audit.record(
        step.action,
        owner.account_id,
        target=audit.AuditTarget("notice", name=notice.name),
        before={"version": step.number, "subject": step.subject},
        after={"version": number, "subject": row.subject},
    )
    db.session.commit()
    return row
