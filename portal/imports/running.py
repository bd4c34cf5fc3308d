"""The job that adds the valid lines of an import. A batch is one commit together with the cursor, so a crash repeats none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from ..accounts.models import Account
from ..affiliates import page_keys, suppressions
from ..affiliates.consent import AgreementWay
from ..affiliates.models import Affiliate, AffiliateState, SuppressionReason
from ..affiliates.search_text import search_text
from ..clock import utcnow
from ..db import db, insert
from ..enrolment.signup import new_affiliate
from ..outbox.sending.deliver import stopping
from . import uploads
from .checking import Line, mark_known, read_lines
from .columns import Choices
from .models import AffiliateImport, ImportState
from .reading import read_rows

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

BATCH = 200
_JOBS_PER_SWEEP = 20
_COLUMNS = tuple(column.key for column in Affiliate.__table__.c if column.key != "id")


def find_work(_now: datetime) -> list[tuple[str, int]]:
    """Return the jobs of the imports whose lines are not all added."""
    query = select(AffiliateImport.id).where(AffiliateImport.state == ImportState.ADDING)
    return [(uploads.JOB, id_) for id_ in db.session.scalars(query.limit(_JOBS_PER_SWEEP))]


def run(import_id: int) -> None:
    """Add the lines that are left, batch by batch, until the worker stops. Commits each batch."""
    row = db.session.get(AffiliateImport, import_id, populate_existing=True)
    if row is None or row.state is not ImportState.ADDING:
        db.session.rollback()
        return
    now = utcnow()
    lines = read_lines(read_rows(row.text), Choices.load(row.choices), now)
    db.session.commit()
    while not stopping.is_set() and _add_batch(import_id, lines, now):
        pass


def _add_batch(import_id: int, lines: Sequence[Line], now: datetime) -> bool:
    """Add the next lines; return whether there are more. Commits."""
    row = db.session.get(AffiliateImport, import_id, with_for_update=True, populate_existing=True)
    if row is None or row.state is not ImportState.ADDING:
        db.session.rollback()
        return False
    batch = lines[row.cursor : row.cursor + BATCH]
    mark_known(row.account_id, batch)
    valid = [line for line in batch if not line.problems]
    added = _insert(row, valid, now) if valid else 0
    row.added += added
    row.left_out += len(batch) - added
    row.cursor += len(batch)
    has_more = row.cursor < len(lines)
    if not has_more:
        _end(row, now)
    db.session.commit()
    return has_more


def _insert(row: AffiliateImport, lines: Sequence[Line], now: datetime) -> int:
    """Insert affiliates; return how many. One that was added at the same time is left as it is."""
    account = db.session.get_one(Account, row.account_id)
    choices = Choices.load(row.choices)
    values = [_values(account, row.id, line, now) for line in lines]
    statement = insert(Affiliate).values(values).on_conflict_do_nothing().returning(Affiliate.mailbox_key)
    stored = set(db.session.scalars(statement))
    for line in lines:
        if line.unsubscribed and line.key in stored:
            reason, note = SuppressionReason.UNSUBSCRIBED, row.file_name
            suppressions.suppress(row.account_id, line.mailbox, reason, note=note, now=now)
    is_written_to = [
        line
        for line in lines
        if line.key in stored and (line.consented_at is None or (choices.welcome and not line.suppressed))
    ]
    row.emails += len(is_written_to)
    return len(stored)


def _values(account: Account, import_id: int, line: Line, now: datetime) -> dict[str, Any]:
    new = new_affiliate(account, line.name, line.mailbox, now)
    new.import_id = import_id
    if line.code:
        new.code = line.code
        new.search_text = search_text(line.name, line.mailbox, line.code)
        page_keys.assign(new)  # the code is part of what they are sealed with
    if line.consented_at is not None:
        new.state, new.state_since = AffiliateState.ACTIVE, now
        new.consented_at, new.consent_way = line.consented_at, AgreementWay.ELSEWHERE
        new.consent_source = line.consent_source
    return {name: getattr(new, name) for name in _COLUMNS}


def _end(row: AffiliateImport, now: datetime) -> None:
    """Delete the file, and begin with the emails if there are any."""
    row.text = ""
    if row.emails:
        row.state, row.next_mail_at = ImportState.MAILING, now
    else:
        row.state, row.ended_at = ImportState.DONE, now
