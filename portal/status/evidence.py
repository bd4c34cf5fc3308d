"""Reads everything that the sending status of an account is made from, in one pass. Changes nothing."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flask_babel import gettext as _
from sqlalchemy import func, select

from ..accounts.models import Account
from ..arrival import proofs
from ..arrival.proofs import Proof
from ..db import db
from ..domains import checks
from ..incidents import incident_log
from ..jobs import heartbeat
from ..outbox import rate_limits
from ..outbox.overview import count_waiting
from ..outbox.queue import find_queue
from ..outbox.routing import NoRoute, Route, find_route
from ..settings import login_probe, providers, routing
from ..settings.models import CheckState, SettingsCheck

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from ..domains.models import DomainCheck
    from ..incidents.models import Incident
    from ..outbox.models import Queue
    from ..settings.models import SmtpSettings

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
    waiting: int
    incidents: Sequence[Incident]
    resumes_at: datetime | None  # when the account's own limit allows the next email
    worker_missing: bool
    worker_seen_at: datetime | None
    proved_at: datetime | None  # when the connection of the live version was last proved
    proof: Proof
    domain: DomainCheck | None

    @property
    def is_practice(self) -> bool:
        """Whether the live settings lead to the rehearsal server, which delivers no email."""
        return self.live is not None and self.live.provider == providers.REHEARSAL

    @property
    def has_failover(self) -> bool:
        return self.live is not None and self.live.failover_since is not None

    @property
    def is_own(self) -> bool:
        """Whether the account's own settings carry its emails now."""
        return self.live is not None and not self.has_failover


def read(account_id: int, now: datetime) -> Evidence:
    """Read the evidence of an account."""
    account, live = db.session.get_one(Account, account_id), routing.live_version(account_id)
    route, no_route = _route(account_id)
    return Evidence(
        account=account,
        now=now,
        live=live,
        route=route,
        no_route=no_route,
        queue=find_queue(account_id),
        waiting=count_waiting(account_id),
        incidents=incident_log.list_open(account_id),
        resumes_at=rate_limits.resumes_at(account_id),
        worker_missing=heartbeat.is_worker_missing(now),
        worker_seen_at=heartbeat.last_heartbeat_at(),
        proved_at=_proved_at(live) if live else None,
        proof=proofs.proof_of(account_id, live.number) if live else Proof(),
        domain=checks.get(live) if live else None,
    )


def _route(account_id: int) -> tuple[Route | None, Mapping[str, Any]]:
    """Return the route, or the diagnosis of why there is none. An internal error is one, so that pages still open."""
    lookup = find_route(account_id)
    if lookup.error is None or isinstance(lookup.error, NoRoute):
        return lookup.route, lookup.error.diagnosis if lookup.error else {}
    _log.error("looking up the route of account %s failed\n%s", account_id, lookup.traceback)
    cause = _("Signet cannot read your sending settings because of an internal error.")
    return None, {"cause": cause, "fixes": [_("Ask the person who runs Signet to look at its log.")]}


def _proved_at(live: SmtpSettings) -> datetime | None:
    """Return when a check or a login probe of a version last passed."""
    passed = select(func.max(SettingsCheck.ended_at)).where(
        SettingsCheck.version_id == live.id, SettingsCheck.state == CheckState.PASSED
    )
    probe = login_probe.get(live.id)
    times = [db.session.scalar(passed), probe.passed_at if probe else None]
    return max((one for one in times if one is not None), default=None)
