"""Key rotation: counts the rows sealed under each key, and reseals all rows under the first key of the keyring.

Rows are read in batches, and each batch is written in its own transaction. A row is updated only if it still holds the
value that was read, so a concurrent change is never overwritten, and an interrupted rotation can be run again.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Text, and_, func, or_, select, true, update

from ..accounts.factors import totp
from ..accounts.factors.models import Totp
from ..affiliates import page_keys
from ..affiliates.erased import BINDING as ERASURE_KEY_BINDING
from ..affiliates.erased import ErasureKey
from ..affiliates.models import Affiliate
from ..bounces import hooks
from ..bounces.mailbox import credentials as mailbox_credentials
from ..bounces.mailbox.models import BounceMailbox
from ..bounces.models import BounceHook
from ..db import Base, db, read_only
from ..db.readiness import KEY_CHECK_BINDING, KeyCheck
from ..incidents.models import IncidentPolicy
from ..incidents.policy import secret_binding
from ..oauth.consent import attempt_binding
from ..oauth.models import OAuthAttempt, OAuthGrant
from ..oauth.sealing import binding as grant_binding
from ..outbox.models import OutboxMessage
from ..outbox.queue import body_binding
from ..privacy import erasing
from ..privacy.models import Erasure
from ..settings.credentials import binding
from ..settings.models import SmtpSettings, VersionState
from ..state import vault
from ..vault import DecryptionError, key_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_MAX_PASSES = 5  # over rows that another process changed concurrently
_PAGE_ROWS = 500  # read at once where nothing is written
UNREADABLE = "?"  # in place of a key id: the value is not a sealed secret


@dataclass(frozen=True)
class SealedKind:
    """One kind of sealed value: the columns it is stored in, and its binding."""

    name: str
    table: type[Base]
    columns: tuple[str, ...]
    binding_of: Callable[[Any], Mapping[str, str | int]]
    rows: ColumnElement[bool] = field(default_factory=true)

    def not_under(self, prefix: bytes) -> ColumnElement[bool]:
        """Return the condition that a row holds a value which does not start with ``prefix``."""
        return or_(*(_starts_differently(getattr(self.table, name), prefix) for name in self.columns))


KINDS = (
    SealedKind(
        "SMTP passwords",
        SmtpSettings,
        ("sealed_password",),
        binding,
        SmtpSettings.state != VersionState.DISCARDED,  # they have none any more
    ),
    SealedKind(
        "sealed emails",  # the portal's own that are not settled yet; bodies of settled ones are cleared
        OutboxMessage,
        ("text", "html"),
        lambda row: body_binding(row.key),
        and_(OutboxMessage.is_sealed, OutboxMessage.text != ""),
    ),
    SealedKind(
        "webhook secrets",
        IncidentPolicy,
        ("sealed_secret",),
        secret_binding,
        IncidentPolicy.sealed_secret.is_not(None),
    ),
    SealedKind(
        "secrets of connections",
        OAuthGrant,
        ("sealed_secret",),
        grant_binding,
        OAuthGrant.sealed_secret.is_not(None),
    ),
    SealedKind(
        "refresh tokens",
        OAuthGrant,
        ("sealed_refresh",),
        grant_binding,
        OAuthGrant.sealed_refresh.is_not(None),
    ),
    SealedKind(
        "attempts to connect",
        OAuthAttempt,
        ("sealed",),
        attempt_binding,
        OAuthAttempt.used_at.is_(None),  # used ones have no secrets any more
    ),
    SealedKind(
        "access tokens",
        OAuthGrant,
        ("sealed_access",),
        grant_binding,
        OAuthGrant.sealed_access.is_not(None),
    ),
    SealedKind("secrets of bounce hooks", BounceHook, ("sealed_secret",), hooks.secret_binding),
    SealedKind(
        "keys of bounce hooks",
        BounceHook,
        ("sealed_key",),
        hooks.key_binding,
        BounceHook.sealed_key.is_not(None),
    ),
    SealedKind(
        "IMAP passwords",
        BounceMailbox,
        ("sealed_password",),
        mailbox_credentials.binding,
        BounceMailbox.grant_id.is_(None),  # the others have none
    ),
    SealedKind("the key of erased addresses", ErasureKey, ("sealed",), lambda _row: ERASURE_KEY_BINDING),
    SealedKind(
        "persons being erased",
        Erasure,
        ("sealed_person",),
        erasing.binding,
        Erasure.sealed_person.is_not(None),  # cleared at the end
    ),
    SealedKind("secrets of authenticator apps", Totp, ("sealed_secret",), totp.binding),
    SealedKind("keys of affiliates' pages", Affiliate, ("sealed_page_keys",), page_keys.binding),
    # Last, so that a portal without the old key refuses to start until all other rows are resealed.
    SealedKind("key check", KeyCheck, ("sealed",), lambda _row: KEY_CHECK_BINDING),
)


@dataclass
class KeyUsage:
    """What one key seals: the number of rows by kind, and how many of them cannot be decrypted."""

    rows: Counter[str] = field(default_factory=Counter)
    unreadable: int = 0


@dataclass
class ResealCounts:
    """The results of resealing the rows of one kind."""

    resealed: int = 0
    unreadable: int = 0  # cannot be decrypted, left unchanged
    conflicts: int = 0  # changed by another process since they were read


@dataclass(frozen=True)
class _ResealedRow:
    id_: int
    before: Mapping[str, Any]
    after: Mapping[str, Any]  # empty: it cannot be decrypted


def count_by_key(*, all_keys: bool = True) -> dict[str, KeyUsage]:
    """Decrypt all sealed rows and return the counts by key id. Changes nothing.

    ``all_keys`` False leaves out the rows that are sealed under the first key already.
    """
    found: dict[str, KeyUsage] = {}
    for kind in KINDS:
        condition = true() if all_keys else kind.not_under(vault().prefix)
        for row in _iterate_rows(kind, condition):
            sealed = found.setdefault(_key_id_of(kind, row), KeyUsage())
            sealed.rows[kind.name] += 1
            sealed.unreadable += not _opens(kind, row)
    return found


def reseal_rows(kind: SealedKind, *, batch: int, on_progress: Callable[[ResealCounts], None]) -> ResealCounts:
    """Seal every row of a kind under the first key, ``batch`` rows per transaction. Commits each."""
    total = ResealCounts()
    for _ in range(_MAX_PASSES):
        total.unreadable = total.conflicts = 0
        last = 0
        while rows := _reseal_page(kind, last, batch):
            last = rows[-1].id_
            _write(kind, rows, total)
            on_progress(total)
        if not total.conflicts:
            break
    return total


def count_remaining(kind: SealedKind) -> int:
    """Return how many rows of a kind are sealed under another key than the first."""
    with read_only():
        query = select(func.count()).select_from(kind.table).where(kind.rows, kind.not_under(vault().prefix))
        count = db.session.scalar(query) or 0
        db.session.rollback()
    return count


def _iterate_rows(kind: SealedKind, condition: ColumnElement[bool]) -> Iterator[Any]:
    last = 0
    while True:
        with read_only():
            rows = _read_page(kind, condition, last, _PAGE_ROWS)
            yield from rows
            last = rows[-1].id if rows else last
            db.session.rollback()
        if not rows:
            return


def _read_page(kind: SealedKind, condition: ColumnElement[bool], last: int, size: int) -> list[Any]:
    table: Any = kind.table
    query = select(table).where(kind.rows, condition, table.id > last).order_by(table.id).limit(size)
    return list(db.session.scalars(query))


def _reseal_page(kind: SealedKind, last: int, size: int) -> list[_ResealedRow]:
    """Read the next rows and seal their values again, in a read-only transaction that blocks no writer."""
    with read_only():
        rows = [
            _reseal_row(kind, row) for row in _read_page(kind, kind.not_under(vault().prefix), last, size)
        ]
        db.session.rollback()
    return rows


def _reseal_row(kind: SealedKind, row: Any) -> _ResealedRow:
    before = {name: value for name in kind.columns if (value := getattr(row, name))}
    try:
        after = {name: _reseal_value(value, kind.binding_of(row)) for name, value in before.items()}
    except DecryptionError:
        after = {}
    return _ResealedRow(row.id, before, after)


def _write(kind: SealedKind, rows: list[_ResealedRow], total: ResealCounts) -> None:
    table: Any = kind.table
    for row in rows:
        if not row.after:
            total.unreadable += 1
            continue
        unchanged = [getattr(table, name) == value for name, value in row.before.items()]
        statement = update(table).where(table.id == row.id_, *unchanged).values(**row.after)
        result = db.session.execute(statement.execution_options(synchronize_session=False))
        if result.rowcount == 1:  # type: ignore[attr-defined]
            total.resealed += 1
        else:
            total.conflicts += 1
    db.session.commit()


def _reseal_value(value: Any, binding: Mapping[str, str | int]) -> Any:
    """Return the value sealed under the first key, in the form of the old one: bytes or hexadecimal digits."""
    sealed = vault().seal(vault().open(_as_bytes(value), binding), binding)
    return sealed.hex() if isinstance(value, str) else sealed


def _opens(kind: SealedKind, row: Any) -> bool:
    try:
        for name in kind.columns:
            if value := getattr(row, name):
                vault().open(_as_bytes(value), kind.binding_of(row))
    except DecryptionError:
        return False
    return True


def _key_id_of(kind: SealedKind, row: Any) -> str:
    try:
        return key_id(_as_bytes(getattr(row, kind.columns[0])))
    except DecryptionError:
        return UNREADABLE


def _as_bytes(value: bytes | str) -> bytes:
    try:
        return bytes.fromhex(value) if isinstance(value, str) else value
    except ValueError:
        raise DecryptionError("not a sealed secret") from None


def _starts_differently(column: Any, prefix: bytes) -> ColumnElement[bool]:
    start: Any = prefix
    if isinstance(column.type, Text):
        start = prefix.hex()
    head = func.substr(column, 1, len(start), type_=column.type)
    return and_(func.length(column) > 0, head != start)
