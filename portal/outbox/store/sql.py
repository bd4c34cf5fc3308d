"""The stores of SQLite and PostgreSQL, composed of the functions of this package."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from ...config import Record
from ...db import db, read_only
from ...db.transaction import current_connection
from ...state import current_config
from ..models import Queue
from ..queue import SYSTEM, get_queue
from . import acceptance_log, claims, due, leases, one_statement, recovery
from . import settle as settlement

if TYPE_CHECKING:
    from ...smtp.protocol.envelope import Acceptance
    from .interface import Store
    from .types import Claim


class SqlStore:
    """The operations that both databases share; ``interface.Store`` states the contract of each."""

    log_suffices = False
    has_one_statement = True

    is_account_limit_reached = staticmethod(leases.is_account_limit_reached)
    is_portal_limit_reached = staticmethod(leases.is_portal_limit_reached)
    recover_orphaned = staticmethod(recovery.recover_orphaned)
    has_due_messages = staticmethod(due.has_due_messages)
    claim_batch = staticmethod(claims.claim_batch)
    connection_limit = staticmethod(leases.connection_limit)
    acquire_lease = staticmethod(leases.acquire)
    is_current = staticmethod(claims.is_current)
    mark_started = staticmethod(claims.mark_started)
    record_start = staticmethod(claims.record_start)
    start_single = staticmethod(claims.start_single)
    renew_lease = staticmethod(leases.renew)
    shorten_lease = staticmethod(leases.shorten)
    settle = staticmethod(settlement.settle)
    settle_accepted = staticmethod(settlement.settle_accepted)
    settle_and_start = staticmethod(one_statement.settle_and_start)
    release_claims = staticmethod(claims.release_claims)
    release_all = staticmethod(claims.release_all)
    release_lease = staticmethod(leases.release)
    release_drain = staticmethod(recovery.release_drain_or_defer)

    def is_healthy(self, account_id: int) -> bool:
        with read_only():
            healthy = db.session.scalar(select(Queue.healthy).where(Queue.account_id == account_id))
            db.session.rollback()
        return bool(healthy)

    def lock_queue(self, account_id: int) -> Queue:
        queue = db.session.get(Queue, account_id, with_for_update=True, populate_existing=True)
        return queue or get_queue(None if account_id == SYSTEM else account_id, lock=True)

    def get_generation(self, account_id: int) -> int:
        query = select(Queue.generation).where(Queue.account_id == account_id)
        return int(current_connection().execute(query).scalar_one())

    def log_start(self, claim: Claim) -> bool:
        return acceptance_log.current_log().log_start(claim)

    def log_accepted(self, claim: Claim, acceptance: Acceptance, following: Claim | None = None) -> bool:
        return acceptance_log.current_log().log_accepted(claim, acceptance, following)

    def discard_log(self, *discarded: Claim) -> None:
        acceptance_log.current_log().discard(*discarded)


class LogStore(SqlStore):
    """The store of SQLite, and of PostgreSQL with SIGNET_RECORD=log: the table follows the acceptance log.

    Workers that share the instance folder read each other's logs. The token of a claim names the folder, so that a worker
    with another one cannot read the log, and counts the claimed messages as possibly delivered.
    """

    log_suffices = True

    @property
    def has_one_statement(self) -> bool:  # type: ignore[override]
        return db.engine.dialect.name == "postgresql"


_LOG_STORE, _TABLE_STORE = LogStore(), SqlStore()


def get_store() -> Store:
    """Return the store of the database in use."""
    is_by_log = db.engine.dialect.name == "sqlite" or current_config().record is Record.LOG
    return _LOG_STORE if is_by_log else _TABLE_STORE
