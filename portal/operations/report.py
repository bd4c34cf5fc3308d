"""The state of the outbox with the names of its accounts, for the operator's page and ``flask outbox status``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flask_babel import gettext as _

from ..accounts import identifiers
from ..db import db, read_only
from ..outbox import overview
from ..outbox.models import Outcome, Status
from ..outbox.queue import SYSTEM
from ..smtp.protocol.reply import plain_text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from ..jobs.models import WorkerHeartbeat
    from ..outbox.overview import InternalError, MessageLease, Overview, QueueDepth, StoppedQueue

OWN_MAIL = "@portal"  # the portal's own mail, in place of an account's short name, which cannot contain @


@dataclass(frozen=True)
class OutboxReport:
    """The overview of the outbox, the names of its accounts, and what needs the operator's attention."""

    overview: Overview
    names: Mapping[int, str]

    def name(self, account_id: int) -> str:
        return OWN_MAIL if account_id == SYSTEM else self.names.get(account_id, str(account_id))

    @property
    def attention(self) -> list[str]:
        """One sentence for each problem that only the operator can fix."""
        sentences = []
        if not self.overview.at_work:
            sentences.append(_("No worker is running, so no emails are sent."))
        for one in self.overview.stopped:
            if one.diagnosis.get("whose_move") == "operator":
                sentences.append(
                    _(
                        "The emails of %(name)s are on hold: %(reason)s",
                        name=self.name(one.account_id),
                        reason=hold_cause(one),
                    )
                )
        return sentences

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; ``docs/commands.md`` describes them."""
        overview = self.overview
        return {
            "at": overview.at.isoformat(),
            "depth": overview.depth,
            "oldest_waiting": _iso(overview.oldest),
            "oldest_waiting_seconds": int((overview.at - overview.oldest).total_seconds())
            if overview.oldest
            else None,
            "states": {state.value: overview.counts[state] for state in Status},
            "accounts": [self._account(one) for one in overview.accounts],
            "stopped": [self._stopped(one) for one in overview.stopped],
            "workers": [self._worker(one) for one in overview.workers],
            "leases": [self._lease(one) for one in overview.leases],
            "draining": [self.name(id_) for id_ in overview.draining_accounts],
            "attempts_last_hour": {one.value: overview.attempts_last_hour.get(one, 0) for one in Outcome},
            "attempts_last_minute": {one.value: overview.attempts_last_minute.get(one, 0) for one in Outcome},
            "faults": [self._fault(one) for one in overview.internal_errors],
            "attention": self.attention,
        }

    def _fault(self, one: InternalError) -> dict[str, Any]:
        account = self.name(one.account_id)
        return {"message": one.message_id, "account": account, "at": _iso(one.at), "traceback": one.traceback}

    def _account(self, one: QueueDepth) -> dict[str, Any]:
        states = {state.value: one.counts.get(state, 0) for state in Status}
        name, oldest = self.name(one.account_id), _iso(one.oldest)
        return {"account": name, "depth": one.open, "oldest_waiting": oldest, "states": states}

    def _stopped(self, one: StoppedQueue) -> dict[str, Any]:
        return {
            "account": self.name(one.account_id),
            "state": "held" if one.held_at else "paused",
            "since": _iso(one.held_at),
            "until": _iso(one.until),
            "waiting": one.waiting,
            "code": str(one.diagnosis.get("code", "")) or None,
            "cause": hold_cause(one) or None,
            "whose_move": one.diagnosis.get("whose_move"),
        }

    def _worker(self, one: WorkerHeartbeat) -> dict[str, Any]:
        return {
            "name": one.name,
            "host": one.host,
            "pid": one.pid,
            "version": one.version,
            "threads": one.threads,
            "started_at": _iso(one.started_at),
            "seen_at": _iso(one.seen_at),
            "missing": one not in self.overview.at_work,
        }

    def _lease(self, one: MessageLease) -> dict[str, Any]:
        return {
            "message": one.message_id,
            "account": self.name(one.account_id),
            "server": one.server,
            "started_at": _iso(one.started_at),
            "until": _iso(one.until),
            "lapsed": one.lapsed,
        }


def build_report(now: datetime, *, counts_settled: bool = False) -> OutboxReport:
    """Read everything in one read-only transaction, which has ended on return.

    With ``counts_settled``, settled messages are counted as well, which reads every message of the portal.
    """
    with read_only():
        seen = overview.read_overview(now, counts_settled=counts_settled)
        report = OutboxReport(seen, identifiers.account_slugs())
        db.session.expunge_all()  # the workers' rows are used after the transaction
        db.session.rollback()
    return report


def hold_cause(one: StoppedQueue) -> str:
    """Return the sentence that explains why a queue is held; empty if it is only paused."""
    return plain_text(str(one.diagnosis.get("cause", "")))


def _iso(time: datetime | None) -> str | None:
    return time.isoformat() if time else None
