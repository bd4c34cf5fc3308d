"""Uploads: the stored file, the owner's choices, the preview, and the end of an import."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from flask_babel import gettext as _
from sqlalchemy import func, select, update
from sqlalchemy.orm import defer

from .. import audit
from ..db import db, insert, read_write
from ..jobs import notify
from ..settings.routing import sends_by_own_server
from ..smtp.protocol.reply import plain_text
from ..web import owner_limits
from .checking import Line, mark_doubtful, mark_known, read_lines, rows_below_headings
from .columns import Choices, guess
from .models import AffiliateImport, ImportState
from .reading import FileRefused, decode, read_rows

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

JOB = "import-affiliates"
_KEPT = timedelta(days=7)  # of a file whose import was not started
_LISTED = 20
_MAX_WAITING = 10  # files of one account whose import is not started
STEP = timedelta(minutes=5)  # between two parts of the emails


@dataclass(frozen=True)
class ImportPreview:
    """What an import would do."""

    headings: list[str]
    sample: list[list[str]]
    lines: Sequence[Line]
    welcomes: int
    confirmations: int
    quiet: int  # valid ones that get no email
    per_step: int
    has_server: bool

    @property
    def valid(self) -> list[Line]:
        return [line for line in self.lines if not line.problems]

    @property
    def faulty(self) -> list[Line]:
        return [line for line in self.lines if line.problems]

    @property
    def doubtful(self) -> list[Line]:
        return [line for line in self.lines if line.doubt]

    @property
    def emails(self) -> int:
        return self.welcomes + self.confirmations


@dataclass(frozen=True)
class UploadedFile:
    """A file as it came. ``key`` is that of the form, so a second click stores it once."""

    name: str
    octets: bytes
    key: str
    uploaded_by: str


def upload(account_id: int, file: UploadedFile, *, now: datetime) -> AffiliateImport:
    """Store a file with the choices that its headings suggest, once for each key. Commits. Raises FileRefused."""
    text, key = decode(file.octets), file.key
    rows = read_rows(text)
    if not rows:
        raise FileRefused(_("The file is empty."))
    choices = guess(rows)
    rows_below_headings(rows, choices)
    _refuse_too_many(account_id, key)
    values = {
        "account_id": account_id,
        "key": key,
        "file_name": plain_text(file.name, 100) or "affiliates.csv",
        "text": text,
        "choices": choices.as_dict(),
        "state": ImportState.UPLOADED,
        "uploaded_by": file.uploaded_by,
        "created_at": now,
        **dict.fromkeys(("lines", "cursor", "added", "left_out", "emails", "queued", "mail_cursor"), 0),
    }
    statement = insert(AffiliateImport).values(values)
    statement = statement.on_conflict_do_nothing(index_elements=["account_id", "key"])
    import_id = db.session.scalar(statement.returning(AffiliateImport.id))
    if import_id is not None:
        _record(audit.Activity.IMPORT_UPLOADED, account_id, import_id, lines=len(rows))
    db.session.commit()
    query = select(AffiliateImport).where(
        AffiliateImport.account_id == account_id, AffiliateImport.key == key
    )
    return db.session.scalars(query).one()


def _refuse_too_many(account_id: int, key: str) -> None:
    """Raise FileRefused while many other files of the account wait, because each is stored whole."""
    query = select(func.count()).select_from(AffiliateImport)
    waiting = query.where(
        AffiliateImport.account_id == account_id,
        AffiliateImport.state == ImportState.UPLOADED,
        AffiliateImport.key != key,
    )
    if (db.session.scalar(waiting) or 0) >= _MAX_WAITING:
        raise FileRefused(
            _(
                "%(number)s files are already waiting. Start or delete one of them first.",
                number=_MAX_WAITING,
            )
        )


def find(account_id: int, import_id: int) -> AffiliateImport | None:
    """Return an import of this account."""
    query = select(AffiliateImport).where(
        AffiliateImport.id == import_id, AffiliateImport.account_id == account_id
    )
    return db.session.scalar(query)


def list_newest(account_id: int) -> Sequence[AffiliateImport]:
    """Return the newest imports of an account, without their files, which are large."""
    query = select(AffiliateImport).where(AffiliateImport.account_id == account_id)
    query = query.options(defer(AffiliateImport.text))
    return db.session.scalars(query.order_by(AffiliateImport.id.desc()).limit(_LISTED)).all()


def save_choices(row: AffiliateImport, choices: Choices) -> None:
    """Save the owner's choices while nothing is added yet. Commits. Raises FileRefused for too many lines."""
    rows_below_headings(read_rows(row.text), choices)
    statement = update(AffiliateImport).where(
        AffiliateImport.id == row.id, AffiliateImport.state == ImportState.UPLOADED
    )
    db.session.execute(statement.values(choices=choices.as_dict()))
    db.session.commit()


def preview_for_owner(row: AffiliateImport, *, now: datetime) -> ImportPreview:
    """Return the preview for a page. A large file takes seconds, so an account has a limit. Commits.

    Raises FileRefused and owner_limits.LimitReached.
    """
    account_id = row.account_id
    db.session.rollback()  # a page that only shows something reads by another connection than it writes
    with read_write():
        owner_limits.count(owner_limits.IMPORT_PREVIEWS, account_id, now=now)
    return preview(row, now=now)


def preview(row: AffiliateImport, *, now: datetime) -> ImportPreview:
    """Return what an import would do. Only reads. Raises FileRefused."""
    choices, rows = Choices.load(row.choices), read_rows(row.text)
    lines = read_lines(rows, choices, now)
    mark_known(row.account_id, lines)
    valid = [line for line in lines if not line.problems]
    mark_doubtful(row.account_id, valid)
    confirmations = sum(line.consented_at is None for line in valid)
    written_to = [line for line in valid if line.consented_at is not None and not line.suppressed]
    welcomes = len(written_to) if choices.welcome else 0
    width = max((len(one.cells) for one in rows[:50]), default=0)
    first = rows[0].cells if rows and choices.has_headings else []
    return ImportPreview(
        headings=[first[index] if index < len(first) else "" for index in range(width)],
        sample=[one.cells for one in rows[1 if choices.has_headings else 0 :][:3]],
        lines=lines,
        welcomes=welcomes,
        confirmations=confirmations,
        quiet=len(valid) - welcomes - confirmations,
        per_step=emails_per_step(welcomes + confirmations, choices.hours),
        has_server=sends_by_own_server(row.account_id),
    )


def emails_per_step(emails: int, hours: int) -> int:
    """Return how many emails are queued every five minutes, so that all are within these hours."""
    return -(-emails * STEP // timedelta(hours=hours))


def start(account_id: int, import_id: int, *, total: int) -> bool:
    """Let the job add the valid lines; False if the import was started or stopped before. Commits."""
    statement = update(AffiliateImport).where(
        AffiliateImport.id == import_id,
        AffiliateImport.account_id == account_id,
        AffiliateImport.state == ImportState.UPLOADED,
    )
    done = db.session.execute(statement.values(state=ImportState.ADDING, lines=total))
    is_new = bool(done.rowcount)  # type: ignore[attr-defined]
    if is_new:
        notify.push_after_commit(JOB, import_id)
        _record(audit.Activity.IMPORT_STARTED, account_id, import_id, lines=total)
    db.session.commit()
    return is_new


def stop(account_id: int, import_id: int, *, now: datetime) -> None:
    """Stop an import: nothing more is added or written, and the file is deleted. Commits."""
    statement = update(AffiliateImport).where(
        AffiliateImport.id == import_id,
        AffiliateImport.account_id == account_id,
        AffiliateImport.state.in_((ImportState.UPLOADED, ImportState.ADDING, ImportState.MAILING)),
    )
    stopped = statement.values(state=ImportState.STOPPED, ended_at=now, text="", next_mail_at=None)
    if db.session.scalar(stopped.returning(AffiliateImport.id)) is not None:
        _record(audit.Activity.IMPORT_STOPPED, account_id, import_id)
    db.session.commit()


def _record(action: audit.Activity, account_id: int, import_id: int, **values: int) -> None:
    audit.record(action, account_id, target=audit.AuditTarget("import", import_id), after=values)


def forget_old(now: datetime) -> None:
    """Delete files whose import was not started within a week. Commits."""
    statement = update(AffiliateImport).where(
        AffiliateImport.state == ImportState.UPLOADED, AffiliateImport.created_at < now - _KEPT
    )
    db.session.execute(statement.values(state=ImportState.STOPPED, ended_at=now, text=""))
    db.session.commit()
