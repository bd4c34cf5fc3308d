"""What is sealed under which key, and sealing everything anew under the first key of the ring.

Rows are read in batches and written back only while they still hold what was read, each batch in a
transaction of its own: whoever saves meanwhile wins, and a rotation that was killed is simply run again.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Text, and_, func, or_, select, true, update

from ..db import Base, db, read_only
from ..db.readiness import KEY_CHECK_BINDING, KeyCheck
from ..incidents.models import IncidentPolicy
from ..incidents.policy import secret_binding
from ..outbox.models import OutboxMessage
from ..outbox.queue import body_binding
from ..settings.credentials import binding
from ..settings.models import SmtpSettings
from ..state import vault
from ..vault import SealBroken, key_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_PASSES = 5  # over rows that somebody else changed at the same moment
_PAGE = 500  # rows read at a time where nothing is written
UNREADABLE = "?"  # stands for the key of what is no sealed secret at all


@dataclass(frozen=True)
class Kind:
    """One kind of sealed thing: where it is kept, and what it is bound to."""

    name: str
    table: type[Base]
    columns: tuple[str, ...]
    bound_to: Callable[[Any], Mapping[str, str | int]]
    rows: ColumnElement[bool] = field(default_factory=true)

    def elsewhere(self, mark: bytes) -> ColumnElement[bool]:
        """Whether a row holds something that does not begin with ``mark``."""
        return or_(*(_begins_otherwise(getattr(self.table, name), mark) for name in self.columns))


KINDS = (
    Kind("SMTP passwords", SmtpSettings, ("sealed_password",), binding),
    Kind(
        "sealed emails",  # those of the portal itself that still wait; the others were wiped
        OutboxMessage,
        ("text", "html"),
        lambda row: body_binding(row.key),
        and_(OutboxMessage.is_sealed, OutboxMessage.text != ""),
    ),
    Kind(
        "webhook secrets",
        IncidentPolicy,
        ("sealed_secret",),
        secret_binding,
        IncidentPolicy.sealed_secret.is_not(None),
    ),
    # The last, so that a portal without the former key refuses to start until everything else is done.
    Kind("key check", KeyCheck, ("sealed",), lambda _row: KEY_CHECK_BINDING),
)


@dataclass
class Sealed:
    """What one key seals: rows by kind, and how many of them do not open."""

    rows: Counter[str] = field(default_factory=Counter)
    broken: int = 0


@dataclass
class Tally:
    """What became of the rows of one kind."""

    done: int = 0
    broken: int = 0  # does not open, left as it was
    changed: int = 0  # somebody else changed it at the same moment


@dataclass(frozen=True)
class _Anew:
    ident: int
    before: Mapping[str, Any]
    after: Mapping[str, Any]  # empty: it does not open


def census(*, all_keys: bool = True) -> dict[str, Sealed]:
    """Open everything that is sealed and return what was found, by key id. Changes nothing.

    ``all_keys`` False leaves out what is sealed under the first key already.
    """
    found: dict[str, Sealed] = {}
    for kind in KINDS:
        where = true() if all_keys else kind.elsewhere(vault().mark)
        for row in _each(kind, where):
            sealed = found.setdefault(_key_of(kind, row), Sealed())
            sealed.rows[kind.name] += 1
            sealed.broken += not _opens(kind, row)
    return found


def reseal(kind: Kind, *, batch: int, told: Callable[[Tally], None]) -> Tally:
    """Seal every row of a kind under the first key, ``batch`` rows a transaction. Commits each."""
    total = Tally()
    for _ in range(_PASSES):
        total.broken = total.changed = 0
        last = 0
        while rows := _read(kind, last, batch):
            last = rows[-1].ident
            _write(kind, rows, total)
            told(total)
        if not total.changed:
            break
    return total


def left(kind: Kind) -> int:
    """Return how many rows of a kind are sealed under another key than the first."""
    with read_only():
        query = select(func.count()).select_from(kind.table).where(kind.rows, kind.elsewhere(vault().mark))
        count = db.session.scalar(query) or 0
        db.session.rollback()
    return count


def _each(kind: Kind, where: ColumnElement[bool]) -> Iterator[Any]:
    last = 0
    while True:
        with read_only():
            rows = _page(kind, where, last, _PAGE)
            yield from rows
            last = rows[-1].id if rows else last
            db.session.rollback()
        if not rows:
            return


def _page(kind: Kind, where: ColumnElement[bool], last: int, size: int) -> list[Any]:
    table: Any = kind.table
    query = select(table).where(kind.rows, where, table.id > last).order_by(table.id).limit(size)
    return list(db.session.scalars(query))


def _read(kind: Kind, last: int, size: int) -> list[_Anew]:
    """Read the next rows and seal them anew, in a transaction that only reads: nobody waits for it."""
    with read_only():
        rows = [_anew(kind, row) for row in _page(kind, kind.elsewhere(vault().mark), last, size)]
        db.session.rollback()
    return rows


def _anew(kind: Kind, row: Any) -> _Anew:
    before = {name: value for name in kind.columns if (value := getattr(row, name))}
    try:
        after = {name: _seal(value, kind.bound_to(row)) for name, value in before.items()}
    except SealBroken:
        after = {}
    return _Anew(row.id, before, after)


def _write(kind: Kind, rows: list[_Anew], total: Tally) -> None:
    table: Any = kind.table
    for row in rows:
        if not row.after:
            total.broken += 1
            continue
        unchanged = [getattr(table, name) == value for name, value in row.before.items()]
        statement = update(table).where(table.id == row.ident, *unchanged).values(**row.after)
        result = db.session.execute(statement.execution_options(synchronize_session=False))
        if result.rowcount == 1:  # type: ignore[attr-defined]
            total.done += 1
        else:
            total.changed += 1
    db.session.commit()


def _seal(value: Any, bound_to: Mapping[str, str | int]) -> Any:
    """Seal anew in the form of the old value: octets, or their hexadecimal digits."""
    fresh = vault().seal(vault().open(_octets(value), bound_to), bound_to)
    return fresh.hex() if isinstance(value, str) else fresh


def _opens(kind: Kind, row: Any) -> bool:
    try:
        for name in kind.columns:
            if value := getattr(row, name):
                vault().open(_octets(value), kind.bound_to(row))
    except SealBroken:
        return False
    return True


def _key_of(kind: Kind, row: Any) -> str:
    try:
        return key_id(_octets(getattr(row, kind.columns[0])))
    except SealBroken:
        return UNREADABLE


def _octets(value: bytes | str) -> bytes:
    try:
        return bytes.fromhex(value) if isinstance(value, str) else value
    except ValueError:
        raise SealBroken("not a sealed secret") from None


def _begins_otherwise(column: Any, mark: bytes) -> ColumnElement[bool]:
    start: Any = mark
    if isinstance(column.type, Text):
        start = mark.hex()
    head = func.substr(column, 1, len(start), type_=column.type)
    return and_(func.length(column) > 0, head != start)
