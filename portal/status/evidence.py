"""Reads everything that the sending status of an account is made from, in one pass. Changes nothing."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from flask_babel import gettext as _
from sqlalchemy import and_, bindparam, func, select

from ..accounts import standing
from ..accounts.models import Account
from ..affiliates import platform_screen
from ..arrival import proofs
from ..arrival.proofs import Proof
from ..db import db
from ..domains.models import DomainCheck
from ..incidents import incident_log
from ..jobs import heartbeat
from ..outbox.models import Queue
from ..outbox.overview import MAX_SHOWN, count_waiting_of
from ..outbox.rate_limits import SendingRate
from ..outbox.routing import NoRoute
from ..settings import providers, routing
from ..settings.models import IS_LIVE, CheckState, LoginProbe, SettingsCheck, SmtpSettings
from ..web.pagination import capped

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Select

    from ..incidents.models import Incident
    from ..outbox.routing import Route, RouteLookup
    from ..web.pagination import Count

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Evidence:
    """What is known of one account's sending. ``route`` is None if there is none, for the reason in ``no_route``."""

    account: Account
    now: datetime
    live: SmtpSettings | None
    route: Route | None
    no_route: Mapping[str, Any]
    queue: Queue | None
    waiting: Count  # exact up to ``MAX_SHOWN``
    incidents: Sequence[Incident]
    resumes_at: datetime | None  # when the account's own limit allows the next email
    platform_limit: int | None  # of 24 hours, if it is reached and emails wait for it
    worker_missing: bool
    worker_seen_at: datetime | None
    proved_at: datetime | None  # when the connection of the live version was last proved
    proof: Proof
    domain: DomainCheck | None

    @property
    def is_practice(self) -> bool:
        """Whether the live settings lead to the rehearsal server, which delivers no email."""
        return self.live is not None and self.live.provider in providers.REHEARSALS

    @property
    def has_failover(self) -> bool:
        return self.live is not None and self.live.failover_since is not None

    @property
    def is_own(self) -> bool:
        """Whether the account's own settings carry its emails now."""
        return self.live is not None and not self.has_failover


def read(account_id: int, now: datetime) -> Evidence:
    """Read the evidence of an account."""
    return read_all([account_id], now)[account_id]


def read_all(account_ids: Sequence[int], now: datetime) -> dict[int, Evidence]:
    """Read the evidence of several accounts, by account id. The number of statements does not depend on theirs."""
    rows = db.session.execute(_query(), {"account_ids": list(account_ids)}).all()
    routes = routing.find_routes({row.Account: row.SmtpSettings for row in rows})
    waiting = count_waiting_of(account_ids, MAX_SHOWN + 1)
    incidents = incident_log.list_open_of(account_ids)
    seen_at = heartbeat.last_heartbeat_at()
    found = {}
    for row in rows:
        account, live = row.Account, row.SmtpSettings
        route, no_route = _route(account.id, routes[account.id])
        proved = [one for one in (row.checked_at, row.logged_in_at) if one is not None]
        found[account.id] = Evidence(
            account=account,
            now=now,
            live=live,
            route=route,
            no_route=no_route,
            queue=row.Queue,
            waiting=capped(waiting[account.id], MAX_SHOWN),
            incidents=incidents.get(account.id, ()),
            resumes_at=row.resumes_at,
            platform_limit=_reached_limit(account, now) if waiting[account.id] else None,
            worker_missing=seen_at is None or seen_at < now - heartbeat.missing_after(),
            worker_seen_at=seen_at,
            proved_at=max(proved, default=None) if live else None,
            proof=proofs.make_proof(row) if live else Proof(),
            domain=row.DomainCheck,
        )
    return found


def _reached_limit(account: Account, now: datetime) -> int | None:
    """Return the account's limit of the platform's sender if it is reached. Reads the outbox only if there is a limit."""
    return standing.platform_limit(account) if platform_screen.left_of(account, now) == 0 else None


@cache
def _query() -> Select[Any]:
    """Return the query for what there is once for each account, or for its live version.

    It is built once, because every page of an account runs it, and building takes longer than running.
    """
    passed = (
        select(func.max(SettingsCheck.ended_at))
        .where(SettingsCheck.version_id == SmtpSettings.id, SettingsCheck.state == CheckState.PASSED)
        .correlate(SmtpSettings)
        .scalar_subquery()
    )
    proof = proofs.proof_columns(Account.__table__.c.id, SmtpSettings.__table__.c.number)
    is_live = (SmtpSettings.account_id == Account.id, IS_LIVE)
    return (
        select(
            Account,
            SmtpSettings,
            Queue,
            DomainCheck,
            SendingRate.goes_on_at.label("resumes_at"),
            LoginProbe.passed_at.label("logged_in_at"),
            passed.label("checked_at"),
            *proof,
        )
        .outerjoin(SmtpSettings, and_(*is_live))
        .outerjoin(Queue, Queue.account_id == Account.id)
        .outerjoin(SendingRate, SendingRate.account_id == Account.id)
        .outerjoin(DomainCheck, DomainCheck.version_id == SmtpSettings.id)
        .outerjoin(LoginProbe, LoginProbe.version_id == SmtpSettings.id)
        .where(Account.id.in_(bindparam("account_ids", expanding=True)))
    )


def _route(account_id: int, lookup: RouteLookup) -> tuple[Route | None, Mapping[str, Any]]:
    """Return the route, or the diagnosis of why there is none. An internal error is one, so that pages still open."""
    if lookup.error is None or isinstance(lookup.error, NoRoute):
        return lookup.route, lookup.error.diagnosis if lookup.error else {}
    _log.error("looking up the route of account %s failed\n%s", account_id, lookup.traceback)
    cause = _("Signet cannot read your sending settings because of an internal error.")
    return None, {"cause": cause, "fixes": [_("Ask the operator of this portal to look at its log.")]}
