"""Looking at the domains of accounts: on request, after settings went live, and once a day.

The worker does it, with no transaction open while name servers are asked. A worker that dies leaves a lease
that lapses, and the next one looks.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Select, and_, or_, select
from sqlalchemy.exc import SQLAlchemyError

from .. import rate_limit
from ..clock import utcnow
from ..db import db, insert
from ..db.lease import Lease, has_lapsed, lapsed, take
from ..jobs import notify
from ..settings import providers
from ..settings.models import SmtpSettings, VersionState
from ..state import current_config
from . import assessment, changes
from .findings import visible
from .models import DomainCheck, LookState, Verdict
from .resolver import Asker

LOOKS = rate_limit.RateLimit("domain-look", 30, timedelta(hours=1))
_AGAIN = timedelta(days=1)
_SOONER = timedelta(hours=1)  # after a look that could not look
_LEASE = timedelta(seconds=90)
_SELECTORS = 10  # typed by the owner

_log = logging.getLogger(__name__)


class TooManyLooks(Exception):
    """The account has used up its budget of this hour."""


def version_for(account_id: int, number: int | None) -> SmtpSettings | None:
    """Return the version asked for; else the live one, else the newest."""
    query = select(SmtpSettings).where(SmtpSettings.account_id == account_id)
    if number is not None:
        return db.session.scalar(query.where(SmtpSettings.number == number))
    live = db.session.scalar(query.where(SmtpSettings.state == VersionState.LIVE))
    return live or db.session.scalar(query.order_by(SmtpSettings.number.desc()).limit(1))


def of_version(version: SmtpSettings) -> DomainCheck | None:
    """Return what is known about the domain of a version."""
    return db.session.scalar(select(DomainCheck).where(DomainCheck.version_id == version.id))


def request(version: SmtpSettings, *, now: datetime) -> None:
    """Ask for a look. Commits. Raises TooManyLooks."""
    if not rate_limit.consume(LOOKS, version.account_id, now=now):
        db.session.rollback()
        raise TooManyLooks
    check = _row(version, now)
    check.requested_at = now  # while one is under way, another follows it
    if check.state is not LookState.RUNNING or has_lapsed(check, now):
        check.state, check.lease_until = LookState.WAITING, None
    notify.push_after_commit("look", version.id)
    db.session.commit()


def add_selector(version: SmtpSettings, selector: str, *, now: datetime) -> None:
    """Remember a DKIM selector that the owner knows, and look again. Commits. Raises TooManyLooks."""
    check = _row(version, now)
    others = [one for one in check.selectors if one != selector.lower()]
    check.selectors = [*others, selector.lower()][-_SELECTORS:]
    request(version, now=now)


def forget_selector(version: SmtpSettings, selector: str, *, now: datetime) -> None:
    """Forget a selector, and look again. Commits. Raises TooManyLooks."""
    check = _row(version, now)
    check.selectors = [one for one in check.selectors if one != selector]
    request(version, now=now)


def due(now: datetime) -> list[tuple[str, int]]:
    """Find looks that nobody runs: asked for, left by a worker that died, or a day old with live settings."""
    waiting = select(DomainCheck.version_id).where(_free(now))
    jobs = [*db.session.scalars(waiting), *db.session.scalars(_stale(now))]
    return [("look", ident) for ident in dict.fromkeys(jobs)]


def _free(now: datetime) -> ColumnElement[bool]:
    crashed = and_(DomainCheck.state == LookState.RUNNING, lapsed(DomainCheck, now))
    return or_(DomainCheck.state == LookState.WAITING, crashed)


def _stale(now: datetime) -> Select[int]:
    """Live versions never looked at, not since they went live, or not for a day. The rehearsal has no domain."""
    unknown = and_(DomainCheck.status == Verdict.UNKNOWN, DomainCheck.checked_at < now - _SOONER)
    old = or_(
        DomainCheck.id.is_(None),
        and_(
            DomainCheck.state == LookState.DONE,
            or_(
                DomainCheck.checked_at < now - _AGAIN,
                DomainCheck.checked_at < SmtpSettings.live_since,
                unknown,
            ),
        ),
    )
    query = select(SmtpSettings.id).outerjoin(DomainCheck, DomainCheck.version_id == SmtpSettings.id)
    live = query.where(
        SmtpSettings.state == VersionState.LIVE, SmtpSettings.provider != providers.REHEARSAL, old
    )
    return live.order_by(SmtpSettings.id).limit(50)


def look_at(version_id: int) -> None:
    """Look at the domain of a version, if a look is due. Safe to call at any time and by anybody."""
    taken = _take(version_id, utcnow())
    if taken is None:
        return
    try:
        report = assessment.look(taken.target, taken.asker)
    except SQLAlchemyError:
        raise
    except Exception:
        _log.exception("the look at the domain of version %s broke", version_id)
        report = assessment.broken(taken.target)
    _keep(taken, report, utcnow())


@dataclass(frozen=True)
class _Taken:
    lease: Lease[DomainCheck]
    at: datetime
    target: assessment.Target
    asker: Asker


def _take(version_id: int, now: datetime) -> _Taken | None:
    version = db.session.get(SmtpSettings, version_id)
    if version is None:
        return None
    check = _row(version, now, lock=True)
    stale = db.session.scalar(_stale(now).where(SmtpSettings.id == version_id)) is not None
    mine = check.state is LookState.WAITING or has_lapsed(check, now)
    if not (mine or stale):
        db.session.rollback()
        return None
    check.state, lease = LookState.RUNNING, take(check, _LEASE, now=now)
    target = target_of(version, check.selectors)
    taken = _Taken(lease, now, target, Asker(current_config().dns_servers, fresh=target.domain))
    db.session.commit()
    return taken


def target_of(version: SmtpSettings, selectors: list[str]) -> assessment.Target:
    """Return what to look at for a version: its provider is recognised by its server, not by what was chosen."""
    card = providers.by_host(version.host)
    return assessment.Target(version.domain, card, version.host, tuple(selectors))


def _keep(taken: _Taken, report: assessment.Report, now: datetime) -> None:
    check = taken.lease.still_mine()
    if check is None:
        db.session.rollback()
        return
    version = db.session.get_one(SmtpSettings, check.version_id)
    if version.state is VersionState.LIVE:
        changes.compare(check, report.verdict, visible(report.why[0]), now=now)
    again = check.requested_at > taken.at
    check.state = LookState.WAITING if again else LookState.DONE
    check.lease_until, check.checked_at = None, now
    if again:
        notify.push_after_commit("look", check.version_id)
    check.domain, check.status, check.findings = report.domain, report.verdict, report.as_dict()
    if report.verdict is not Verdict.UNKNOWN:
        check.last_known_status = report.verdict
    db.session.commit()


def _row(version: SmtpSettings, now: datetime, *, lock: bool = False) -> DomainCheck:
    """Return the row of a version, made if it is missing, with the selectors known for its domain."""
    known = select(DomainCheck.selectors).where(
        DomainCheck.account_id == version.account_id, DomainCheck.domain == version.domain
    )
    selectors = db.session.scalar(known.order_by(DomainCheck.id.desc()).limit(1)) or []
    values = {
        "account_id": version.account_id,
        "version_id": version.id,
        "domain": version.domain,
        "selectors": selectors,
        "state": LookState.WAITING,
        "requested_at": now,
    }
    made = insert(DomainCheck).values(values).on_conflict_do_nothing(index_elements=["version_id"])
    db.session.execute(made)
    query = select(DomainCheck).where(DomainCheck.version_id == version.id)
    query = query.execution_options(populate_existing=True)
    return db.session.scalars(query.with_for_update() if lock else query).one()
