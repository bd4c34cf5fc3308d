"""Domain checks: on request, after settings went live, and once a day for live settings.

They run in the worker, with no transaction open during the DNS queries. Each has a lease: when its worker crashes,
the lease expires and another worker repeats the check.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, Select, and_, or_, select
from sqlalchemy.exc import SQLAlchemyError

from .. import audit, rate_limit
from ..clock import utcnow
from ..db import db, insert
from ..db.lease import Lease, has_lapsed, lapsed, take
from ..jobs import notify
from ..settings import providers, versions
from ..settings.models import SmtpSettings, VersionState
from ..settings.routing import live_version
from ..state import current_config
from ..web import owner_limits
from . import assessment, changes
from .findings import DomainReport, replace_unprintable
from .models import DomainCheck, DomainCheckState, DomainStatus
from .resolver import Resolver

if TYPE_CHECKING:
    from collections.abc import Sequence

_INTERVAL = timedelta(days=1)
_RETRY_INTERVAL = timedelta(hours=1)  # after a check whose queries were not answered
_LEASE = timedelta(seconds=90)
_MAX_SELECTORS = 10  # entered by the owner, per version

_log = logging.getLogger(__name__)


class TooManyChecks(Exception):
    """The account has reached its limit of checks per hour."""


def version_for(account_id: int, number: int | None) -> SmtpSettings | None:
    """Return the version with this number. Without a number: the live version, else the newest."""
    if number is not None:
        return versions.find(account_id, number)
    return live_version(account_id) or versions.newest(account_id)


def get(version: SmtpSettings) -> DomainCheck | None:
    """Return the domain check of a version, if there is one."""
    return db.session.scalar(select(DomainCheck).where(DomainCheck.version_id == version.id))


def request_check(version: SmtpSettings, *, now: datetime) -> None:
    """Request a check of a version's domain. Commits. Raises TooManyChecks."""
    if not rate_limit.consume(owner_limits.DOMAIN_CHECKS, version.account_id, now=now):
        db.session.rollback()
        raise TooManyChecks
    check = _get_or_create(version, now)
    check.requested_at = now  # a check that is running is followed by another
    if check.state is not DomainCheckState.RUNNING or has_lapsed(check, now):
        check.state, check.lease_until = DomainCheckState.WAITING, None
    notify.push_after_commit("check-domain", version.id)
    db.session.commit()


def add_selectors(version: SmtpSettings, selectors: Sequence[str], *, now: datetime) -> None:
    """Add DKIM selectors that the owner knows and request a check. Commits. Raises TooManyChecks."""
    check = _get_or_create(version, now)
    others = [one for one in check.selectors if one not in selectors]
    check.selectors = [*others, *selectors][-_MAX_SELECTORS:]
    _record(audit.Activity.SELECTOR_ADDED, version, ", ".join(selectors))
    request_check(version, now=now)


def remove_selector(version: SmtpSettings, selector: str, *, now: datetime) -> None:
    """Remove a DKIM selector and request a check. Commits. Raises TooManyChecks."""
    check = _get_or_create(version, now)
    if selector in check.selectors:
        _record(audit.Activity.SELECTOR_REMOVED, version, selector)
    check.selectors = [one for one in check.selectors if one != selector]
    request_check(version, now=now)


def _record(action: audit.Activity, version: SmtpSettings, selector: str) -> None:
    after = {"domain": version.domain, "selector": selector}
    audit.record(action, version.account_id, after=after)


def find_due_work(now: datetime) -> list[tuple[str, int]]:
    """Return the jobs of checks that wait, whose lease has expired, or that are due for live settings."""
    waiting = select(DomainCheck.version_id).where(_is_due(now))
    jobs = [*db.session.scalars(waiting), *db.session.scalars(_overdue_live_versions(now))]
    return [("check-domain", version_id) for version_id in dict.fromkeys(jobs)]


def _is_due(now: datetime) -> ColumnElement[bool]:
    crashed = and_(DomainCheck.state == DomainCheckState.RUNNING, lapsed(DomainCheck, now))
    return or_(DomainCheck.state == DomainCheckState.WAITING, crashed)


def _overdue_live_versions(now: datetime) -> Select[int]:
    """Return a query for live versions not checked since they went live, or not within the interval.

    The rehearsal server is excluded, because its versions have no real domain.
    """
    unknown = and_(DomainCheck.status == DomainStatus.UNKNOWN, DomainCheck.checked_at < now - _RETRY_INTERVAL)
    old = or_(
        DomainCheck.id.is_(None),
        and_(
            DomainCheck.state == DomainCheckState.DONE,
            or_(
                DomainCheck.checked_at < now - _INTERVAL,
                DomainCheck.checked_at < SmtpSettings.live_since,
                unknown,
            ),
        ),
    )
    query = select(SmtpSettings.id).outerjoin(DomainCheck, DomainCheck.version_id == SmtpSettings.id)
    live = query.where(
        SmtpSettings.state == VersionState.LIVE, SmtpSettings.provider.not_in(providers.REHEARSALS), old
    )
    return live.order_by(SmtpSettings.id).limit(50)


def run(version_id: int) -> None:
    """Check the domain of a version, if a check is due. Safe to repeat: one worker at a time runs it. Commits."""
    claimed = _claim(version_id, utcnow())
    if claimed is None:
        return
    try:
        report = assessment.assess(claimed.target, claimed.resolver)
    except SQLAlchemyError:
        raise
    except Exception:
        _log.exception("domain check of version %s failed with an internal error", version_id)
        report = assessment.failed_report(claimed.target)
    _store(claimed, report, utcnow())


@dataclass(frozen=True)
class _ClaimedCheck:
    lease: Lease[DomainCheck]
    started_at: datetime
    target: assessment.Target
    resolver: Resolver


def _claim(version_id: int, now: datetime) -> _ClaimedCheck | None:
    version = db.session.get(SmtpSettings, version_id)
    if version is None:
        return None
    check = _get_or_create(version, now, lock=True)
    is_overdue = (
        db.session.scalar(_overdue_live_versions(now).where(SmtpSettings.id == version_id)) is not None
    )
    is_due = check.state is DomainCheckState.WAITING or has_lapsed(check, now)
    if not (is_due or is_overdue):
        db.session.rollback()
        return None
    check.state, lease = DomainCheckState.RUNNING, take(check, _LEASE, now=now)
    target = target_of(version, check.selectors)
    claimed = _ClaimedCheck(
        lease, now, target, Resolver(current_config().dns_servers, uncached_domain=target.domain)
    )
    db.session.commit()
    return claimed


def target_of(version: SmtpSettings, selectors: list[str]) -> assessment.Target:
    """Return what to check for a version. The provider is recognised by the server, not taken from the form."""
    card = providers.by_host(version.host)
    return assessment.Target(version.domain, card, version.host, tuple(selectors))


def _store(claimed: _ClaimedCheck, report: DomainReport, now: datetime) -> None:
    check = claimed.lease.still_mine()
    if check is None:
        db.session.rollback()
        return
    version = db.session.get_one(SmtpSettings, check.version_id)
    if version.state is VersionState.LIVE:
        changes.record_status(check, report.status, replace_unprintable(report.reasons[0]), now=now)
    again = check.requested_at > claimed.started_at
    check.state = DomainCheckState.WAITING if again else DomainCheckState.DONE
    check.lease_until, check.checked_at = None, now
    if again:
        notify.push_after_commit("check-domain", check.version_id)
    check.domain, check.status, check.findings = report.domain, report.status, report.as_dict()
    if report.status is not DomainStatus.UNKNOWN:
        check.last_known_status = report.status
    db.session.commit()


def _get_or_create(version: SmtpSettings, now: datetime, *, lock: bool = False) -> DomainCheck:
    """Return the domain check of a version. A new one starts with the selectors known for its domain."""
    known = select(DomainCheck.selectors).where(
        DomainCheck.account_id == version.account_id, DomainCheck.domain == version.domain
    )
    selectors = db.session.scalar(known.order_by(DomainCheck.id.desc()).limit(1)) or []
    values = {
        "account_id": version.account_id,
        "version_id": version.id,
        "domain": version.domain,
        "selectors": selectors,
        "state": DomainCheckState.WAITING,
        "requested_at": now,
    }
    statement = insert(DomainCheck).values(values).on_conflict_do_nothing(index_elements=["version_id"])
    db.session.execute(statement)
    query = select(DomainCheck).where(DomainCheck.version_id == version.id)
    query = query.execution_options(populate_existing=True)
    return db.session.scalars(query.with_for_update() if lock else query).one()
