"""suppressions of before hold for international domains, and know the reports of breakers that are open at the upgrade

Addresses on *Not written to* were stored as typed, while affiliates have the domain in A-labels. An open breaker undoes what the
reports of its hour suppressed; suppressions of before 0035 do not name their report.
"""

from datetime import timedelta

import idna
import sqlalchemy as sa
from alembic import op

revision = "0040"
down_revision = "0039"

_BATCH_ROWS = 1000
_LIMIT_CHARS = 254  # of the column
_WINDOW = timedelta(hours=1)  # before a breaker opened
_PRECEDENCE = ("by-owner", "complained", "bounced", "unsubscribed")  # of two rows about one mailbox, the first stays


def upgrade() -> None:
    for table in ("suppression", "suppression_lift"):
        _write_a_labels(table)
    _name_reports_of_open_breakers()


def downgrade() -> None:
    """Keep the rows: the release before finds them as well."""


def _write_a_labels(name: str) -> None:
    bind = op.get_bind()
    columns = ["id", "account_id", "mailbox_key", "reason"] + ["was_unsubscribed"] * (name == "suppression")
    table = sa.table(name, *map(sa.column, columns))
    beyond_ascii = "~" if bind.dialect.name == "postgresql" else "GLOB"
    pattern = "@.*[^ -~]" if beyond_ascii == "~" else "*@*[^ -~]*"
    query = sa.select(table).where(table.c.mailbox_key.op(beyond_ascii)(pattern)).order_by(table.c.id).limit(_BATCH_ROWS)
    last = 0
    while rows := bind.execute(query.where(table.c.id > last)).all():
        last = rows[-1].id
        for row in rows:
            mailbox = _with_a_labels(row.mailbox_key)
            if mailbox and (name != "suppression" or _is_stronger(bind, table, row, mailbox)):
                bind.execute(sa.update(table).where(table.c.id == row.id).values(mailbox_key=mailbox))


def _with_a_labels(mailbox: str) -> str:
    """Return the mailbox as affiliates have it, or an empty string: none of them has one that is too long."""
    local, _at, domain = mailbox.rpartition("@")
    try:
        found = f"{local}@{idna.encode(domain, uts46=True).decode('ascii')}"
    except idna.IDNAError:
        return ""
    return found if len(found) <= _LIMIT_CHARS else ""


def _is_stronger(bind: sa.Connection, table: sa.TableClause, row: sa.Row, mailbox: str) -> bool:
    """Return whether the row stays beside one that has the same mailbox already; delete the weaker of them.

    The one that stays keeps whether the person has unsubscribed.
    """
    same = (table.c.account_id == row.account_id, table.c.mailbox_key == mailbox)
    other = bind.execute(sa.select(table).where(*same)).one_or_none()
    if other is None:
        return True
    stays = _rank(row.reason) < _rank(other.reason)
    kept, gone = (row, other) if stays else (other, row)
    bind.execute(sa.delete(table).where(table.c.id == gone.id))
    if gone.was_unsubscribed or gone.reason == "unsubscribed":
        bind.execute(sa.update(table).where(table.c.id == kept.id).values(was_unsubscribed=sa.true()))
    return stays


def _rank(reason: str) -> int:
    return _PRECEDENCE.index(reason) if reason in _PRECEDENCE else len(_PRECEDENCE)


def _name_reports_of_open_breakers() -> None:
    """Note the message of each suppression by a report, whose note begins with the source; that of a server's refusal does not."""
    bind = op.get_bind()
    breaker = _table("bounce_breaker", "account_id", "domain", times=("opened_at", "closed_at"))
    outcome = _table(
        "message_outcome", "message_id", "account_id", "mailbox_key", "domain", "meaning", "source", "effect", times=("noted_at",)
    )
    suppressed = _table("suppression", "id", "account_id", "mailbox_key", "reason", "note", "message_id", times=("created_at",))
    for row in bind.execute(sa.select(breaker).where(breaker.c.closed_at.is_(None))).all():
        since = row.opened_at - _WINDOW
        query = (
            sa.select(suppressed.c.id, suppressed.c.note, outcome.c.source, sa.func.min(outcome.c.message_id).label("message_id"))
            .join(
                outcome,
                sa.and_(
                    outcome.c.account_id == suppressed.c.account_id, outcome.c.mailbox_key == suppressed.c.mailbox_key
                ),
            )
            .where(
                outcome.c.account_id == row.account_id,
                outcome.c.domain == row.domain,
                sa.text("message_outcome.meaning IN ('hard', 'blocked')"),
                outcome.c.meaning == "hard",
                outcome.c.noted_at >= since,
                outcome.c.effect == "suppressed",
                suppressed.c.reason == "bounced",
                suppressed.c.message_id.is_(None),
                suppressed.c.created_at >= since,
            )
            .group_by(suppressed.c.id, suppressed.c.note, outcome.c.source)
        )
        for one in bind.execute(query).all():
            if one.note == one.source or one.note.startswith(f"{one.source}:"):
                found = sa.update(suppressed).where(suppressed.c.id == one.id)
                bind.execute(found.values(message_id=one.message_id))


def _table(name: str, *columns: str, times: tuple[str, ...]) -> sa.TableClause:
    kind = sa.DateTime(timezone=True)
    return sa.table(name, *map(sa.column, columns), *(sa.column(one, kind) for one in times))
