"""Log-in sessions: one row for each device. Any of them can be ended at once from another device."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from flask_babel import gettext as _
from flask_babel import lazy_gettext
from sqlalchemy import ColumnElement, and_, bindparam, case, delete, func, or_, select, update

from ..audit import Activity, Actor, AuditTarget, Way, current_actor
from ..audit import record as record_activity
from ..db import db, read_only, read_write
from ..db.prepared import PreparedStatement
from ..languages import ENGLISH
from ..state import current_config
from .factors.state import owns_factor
from .models import Account, LinkForm, Membership, Owner, OwnerSession, ProvedBy
from .team.rights import Right, Role, may
from .tokens import hash_token, new_token

if TYPE_CHECKING:
    from collections.abc import Sequence

_UNKNOWN, _UNKNOWN_LABEL = "Unknown device", lazy_gettext("Unknown device")  # as stored, and on pages
_USER_AGENT_LIMIT_CHARS = 1000  # of a user agent that are searched
PROOF_LIFETIME = timedelta(minutes=15)  # how long a proof of person is enough for what needs one
NEW_FOR = timedelta(days=1)  # how long the page of devices marks a log-in as new
_SEEN_INTERVAL = timedelta(minutes=5)  # how often the time of the last request is stored
_SEEN_FRACTION = 0.1  # of the time that a session may be idle: the interval, where that is shorter
# How long the token before a proof still opens pages, for requests that were on the way. It proves nothing.
_FORMER_LIFETIME = timedelta(seconds=30)

# The first match wins: a browser's user agent also names some of the browsers below it.
_BROWSERS = (
    (r"Edg(?:e|A|iOS)?/", "Edge"),
    (r"OPR/|Opera", "Opera"),
    (r"SamsungBrowser/", "Samsung Internet"),
    (r"Firefox/|FxiOS/", "Firefox"),
    (r"Chrome/|CriOS/|Chromium/", "Chrome"),
    (r"Safari/", "Safari"),
)
_SYSTEMS = (
    (r"iPhone", "iPhone"),
    (r"iPad", "iPad"),
    (r"Android", "Android"),
    (r"Windows", "Windows"),
    (r"CrOS", "ChromeOS"),
    (r"Macintosh|Mac OS X", "Mac"),
    (r"Linux|X11", "Linux"),
)


@dataclass(frozen=True)
class CurrentAccount:
    """The account that the session shows, as it was when the request began."""

    id: int
    slug: str
    name: str
    time_zone: str
    approved_at: datetime | None = None
    shop_url: str = ""
    link_form: LinkForm = LinkForm.SHORT
    link_pattern: str = ""
    language: str = ENGLISH.code
    confirm_version: int = 0
    demands_factor: bool = False


@dataclass(frozen=True)
class LoggedIn:
    """The logged-in person, Flask-Login's ``current_user``. A value, not a row, so it needs no transaction."""

    account: CurrentAccount
    session_id: int
    token: str
    id: int  # of the person
    name: str
    mailbox: str
    role: Role  # in the account that is shown
    programmes: int  # to how many the person belongs
    is_operator: bool
    language: str = ENGLISH.code  # of the portal's pages
    has_factor: bool = False
    proved_at: datetime | None = None  # when the person last proved who they are; None for a former token
    own_zone: str = ""  # as the person chose it; empty: that of the account
    has_shortcuts: bool = True
    is_authenticated = True
    is_active = True
    is_anonymous = False

    @property
    def account_id(self) -> int:
        """The id of the account that the session shows."""
        return self.account.id

    @property
    def time_zone(self) -> str:
        """The name of the time zone in which the person sees times."""
        return self.own_zone or self.account.time_zone

    @property
    def lacks_factor(self) -> bool:
        """Whether the account demands a second factor, and the person has none."""
        return self.account.demands_factor and not self.has_factor

    def may(self, right: Right) -> bool:
        """Return whether the person's role in this account holds a right."""
        return may(self.role, right)

    def is_proved(self, now: datetime) -> bool:
        """Return whether the last proof of person is young enough for what needs one."""
        return self.proved_at is not None and now - self.proved_at < PROOF_LIFETIME

    def get_id(self) -> str:
        """Return what Flask-Login stores in the cookie: a random token, never the owner's id."""
        return self.token


def _valid_if(seen_after: Any, created_after: Any) -> tuple[ColumnElement[bool], ...]:
    """Return the conditions of a session that is valid, by values or by bind parameters."""
    return (
        OwnerSession.revoked_at.is_(None),
        OwnerSession.seen_at > seen_after,
        OwnerSession.created_at > created_after,
    )


_PROGRAMMES = (
    select(func.count())
    .select_from(Membership)
    .where(Membership.owner_id == Owner.id)
    .correlate(Owner)
    .scalar_subquery()
)
_PERSON = (
    Owner.id,
    Owner.name,
    Owner.mailbox,
    Membership.role,
    _PROGRAMMES,
    Owner.is_operator,
    Owner.language,
    owns_factor(Owner.id),
    case((OwnerSession.token_hash == bindparam("hash"), OwnerSession.proved_at)),
    Owner.time_zone,
    Owner.has_shortcuts,
)
_COLUMNS_OF_PERSON = len(_PERSON)
_FIND = PreparedStatement(
    select(
        OwnerSession.id,
        OwnerSession.seen_at,
        *_PERSON,
        *(getattr(Account, field.name) for field in fields(CurrentAccount)),
    )
    .join_from(OwnerSession, Owner, Owner.id == OwnerSession.owner_id)
    .join(
        Membership,
        and_(Membership.owner_id == OwnerSession.owner_id, Membership.account_id == OwnerSession.account_id),
    )
    .join(Account, Account.id == OwnerSession.account_id)
    .where(
        or_(
            OwnerSession.token_hash == bindparam("hash"),
            and_(
                OwnerSession.former_hash == bindparam("hash"),
                OwnerSession.proved_at > bindparam("former_since", type_=OwnerSession.proved_at.type),
            ),
        ),
        *_valid_if(bindparam("seen_after"), bindparam("created_after")),
    )
)


@dataclass(frozen=True)
class Device:
    """Where a session is used: the device in words, and its network as rate limits see it."""

    name: str
    network: str


def start(owner_id: int, account_id: int, *, device: Device, by: ProvedBy, now: datetime) -> str:
    """Insert a session that shows an account, record the log-in, and return the session's token. The caller commits.

    Each way to log in proves who the person is, so a new session is a proof of person as well. Only ``factors.entry`` calls this.
    """
    db.session.execute(delete(OwnerSession).where(OwnerSession.owner_id == owner_id, ~_is_valid(now)))
    token = new_token()
    row = OwnerSession(token_hash=hash_token(token), owner_id=owner_id, account_id=account_id)
    row.device, row.network = device.name, device.network
    row.created_at = row.seen_at = row.proved_at = now
    row.proved_by = by
    db.session.add(row)
    db.session.flush()
    name = db.session.get_one(Owner, owner_id).name
    actor = Actor(Way.PAGE, owner_id, name, row.id, device.network)
    record_activity(
        Activity.LOGGED_IN, account_id, actor=actor, after={"device": device.name, "by": by.value}
    )
    return token


def renew(user: LoggedIn, proved_by: ProvedBy, *, kept_form: str = "", now: datetime) -> str | None:
    """Store a proof of person and replace the token; return the new one, or None if the session ended. Commits.

    The former token opens pages for some seconds more, because a second click, or another tab, may still send it.
    ``kept_form`` is what the person typed before, without secrets (proof/kept.py).
    """
    token = new_token()
    statement = (
        update(OwnerSession)
        .where(OwnerSession.id == user.session_id, OwnerSession.owner_id == user.id, _is_valid(now))
        .values(
            token_hash=hash_token(token),
            former_hash=OwnerSession.token_hash,
            proved_at=now,
            proved_by=proved_by,
            kept_form=kept_form,
        )
    )
    is_renewed = int(db.session.execute(statement).rowcount) == 1  # type: ignore[attr-defined]
    if is_renewed:
        record_activity(Activity.PROVED, user.account_id, after={"by": proved_by.value})
    db.session.commit()
    return token if is_renewed else None


def replace_token(user: LoggedIn, *, is_proof: bool, now: datetime) -> str:
    """Replace the session's token after a change of the password; return the new one. The caller commits.

    Who copied the cookie before is out. ``is_proof``: the present password was all that a proof of person asks for; then the
    former token opens pages for some seconds more, as in ``renew``.
    """
    token = new_token()
    values = {"token_hash": hash_token(token), "former_hash": OwnerSession.token_hash}
    proof = {"proved_at": now, "proved_by": ProvedBy.PASSWORD} if is_proof else {}
    this = (OwnerSession.id == user.session_id, OwnerSession.owner_id == user.id, _is_valid(now))
    db.session.execute(update(OwnerSession).where(*this).values(**values, **proof))
    return token


def kept_form(user: LoggedIn) -> str:
    """Return what was typed before the session's last proof of person; empty for nothing."""
    with read_only():
        found = db.session.scalar(select(OwnerSession.kept_form).where(OwnerSession.id == user.session_id))
        db.session.rollback()
    return found or ""


def find(token: str, *, now: datetime) -> LoggedIn | None:
    """Return the person of this token if its session is valid. Every few minutes, store that it was seen.

    The role is read at each request, and a session shows nothing of an account that its person no longer belongs to.
    The look-up has its own read-only transaction, which has ended on return, because the caller may go on to read
    for long or to write. The time is stored in another one: a SQLite transaction that began by reading cannot wait
    for the write lock.
    """
    with read_only():
        seen_after, created_after = _valid_after(now)
        row = _FIND.first(
            hash=hash_token(token),
            former_since=now - _FORMER_LIFETIME,
            seen_after=seen_after,
            created_after=created_after,
        )
        db.session.rollback()
    if row is None:
        return None
    session_id, seen_at = row[:2]
    account = CurrentAccount(*row[2 + _COLUMNS_OF_PERSON :])
    idle = timedelta(seconds=current_config().session_idle)
    if now - seen_at >= min(_SEEN_INTERVAL, _SEEN_FRACTION * idle):
        _store_seen(session_id, now)
    return LoggedIn(account, session_id, token, *row[2 : 2 + _COLUMNS_OF_PERSON])


def _store_seen(session_id: int, now: datetime) -> None:
    with read_write():
        db.session.execute(update(OwnerSession).where(OwnerSession.id == session_id).values(seen_at=now))
        db.session.commit()


def devices(owner_id: int, *, now: datetime) -> Sequence[OwnerSession]:
    """Return the owner's valid sessions, the last seen first."""
    query = select(OwnerSession).where(OwnerSession.owner_id == owner_id, _is_valid(now))
    return db.session.scalars(query.order_by(OwnerSession.seen_at.desc(), OwnerSession.id.desc())).all()


def end(owner_id: int, session_id: int, *, now: datetime) -> bool:
    """Log out one device of this owner; return whether there was such a session. Commits."""
    row = db.session.scalar(
        select(OwnerSession).where(OwnerSession.owner_id == owner_id, OwnerSession.id == session_id)
    )
    count = revoke(OwnerSession.owner_id == owner_id, OwnerSession.id == session_id, now=now)
    if row is not None and count:
        is_own = session_id == current_actor().session_id
        action = Activity.LOGGED_OUT if is_own else Activity.LOGGED_OUT_DEVICE
        record_activity(action, row.account_id, target=AuditTarget("device", session_id, row.device))
    db.session.commit()
    return count > 0


def end_others(owner_id: int, session_id: int, *, now: datetime) -> int:
    """Log out all devices of this owner but the current one; return their number. Commits."""
    shown = db.session.scalar(select(OwnerSession.account_id).where(OwnerSession.id == session_id))
    count = revoke(OwnerSession.owner_id == owner_id, OwnerSession.id != session_id, now=now)
    if count:
        record_activity(Activity.LOGGED_OUT_OTHERS, shown, after={"count": count})
    db.session.commit()
    return count


def revoke(*conditions: ColumnElement[bool], now: datetime) -> int:
    """Revoke the valid sessions that match; return their number. The caller commits."""
    statement = update(OwnerSession).where(*conditions, _is_valid(now)).values(revoked_at=now)
    return int(db.session.execute(statement).rowcount)  # type: ignore[attr-defined]


def _is_valid(now: datetime) -> ColumnElement[bool]:
    return and_(*_valid_if(*_valid_after(now)))


def _valid_after(now: datetime) -> tuple[datetime, datetime]:
    """Return the times after which a session was seen and created that is valid now."""
    config = current_config()
    return now - timedelta(seconds=config.session_idle), now - timedelta(seconds=config.session_age)


def describe_device(user_agent: str) -> str:
    """Describe a device in words that its owner recognises, such as "Firefox on Linux"."""
    browser = _first_match(_BROWSERS, user_agent)
    system = _first_match(_SYSTEMS, user_agent)
    if browser and system:
        return f"{browser} on {system}"
    return browser or system or _UNKNOWN


def device_label(device: str) -> str:
    """Return a stored description of a device in the language of the page."""
    browser, on, system = device.partition(" on ")
    if on:
        return _("%(browser)s on %(system)s", browser=browser, system=system)
    return str(_UNKNOWN_LABEL) if device == _UNKNOWN else device


def _first_match(table: tuple[tuple[str, str], ...], text: str) -> str:
    return next((name for pattern, name in table if re.search(pattern, text[:_USER_AGENT_LIMIT_CHARS])), "")
