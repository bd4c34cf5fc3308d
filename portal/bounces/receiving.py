"""Receives a call to a hook: verifies it on the bytes as they came, stores its events, and leaves the rest to a worker."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from ..db import db
from . import hooks, verifying
from .models import BounceEvent, EventState
from .providers.adapter import Call, Forged
from .providers.catalogue import ADAPTERS
from .recording import event_key, read_call, record_events

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from .meaning import Report
    from .models import BounceHook

MAX_BODY_BYTES = 1024 * 1024
MAX_WAITING = 20_000  # events of one account that are not matched yet


class Answer(IntEnum):
    """The status of the answer."""

    OK = 200
    REFUSED = 401  # providers repeat it, so that events are not lost while the key is not entered yet
    TOO_LARGE = 413
    BUSY = 503  # too many calls or events wait for a worker


@dataclass(frozen=True)
class Post:
    """A POST as it came; ``headers`` have names in lower case."""

    body: bytes
    headers: Mapping[str, str]


def receive(hook: BounceHook, post: Post, *, now: datetime, played_key: str = "") -> Answer:
    """Store the events of a call; return how to answer it. Commits.

    ``played_key`` verifies a call of the rehearsal in place of the saved key.

    What is not understood is stored as such and answered like the rest: providers stop calling after errors.
    """
    adapter, hook_id, account_id = ADAPTERS[hook.provider], hook.id, hook.account_id
    if adapter.is_verified_later:
        if len(post.body) > verifying.MAX_CALL_BYTES:
            return Answer.TOO_LARGE
        return Answer.OK if verifying.store(hook, post.body, now=now) else Answer.BUSY
    call = Call(post.body, post.headers, played_key or hooks.open_key(hook), now)
    if _has_too_many_waiting(account_id):
        db.session.rollback()
        return Answer.BUSY
    try:
        if adapter.verify is not None:
            adapter.verify(call)
    except Forged:
        hooks.count_refused(hook_id, now=now)
        return Answer.REFUSED
    reports = read_call(adapter, call)
    new = record_events(account_id, adapter.id, reports, now=now)
    if new < len(reports) and _is_any_proof_reused(account_id, adapter.id, reports):
        db.session.rollback()
        hooks.count_refused(hook_id, now=now)
        return Answer.REFUSED
    hooks.count_events(hook_id, new, now=now)
    db.session.commit()
    return Answer.OK


def _has_too_many_waiting(account_id: int) -> bool:
    """Whether the worker is so far behind that the provider has to repeat its calls later."""
    waiting = select(BounceEvent.id).where(
        BounceEvent.account_id == account_id, BounceEvent.state == EventState.WAITING
    )
    some = waiting.limit(MAX_WAITING).subquery()
    return (db.session.scalar(select(func.count()).select_from(some)) or 0) >= MAX_WAITING


def _is_any_proof_reused(account_id: int, source: str, reports: list[Report]) -> bool:
    """Whether a token that counts for one event came with another one. Events that were stored before are no reuse."""
    proofs = {report.proof: event_key(report.key) for report in reports if report.proof}
    if not proofs:
        return False
    query = select(BounceEvent.proof, BounceEvent.key).where(
        BounceEvent.account_id == account_id,
        BounceEvent.source == source,
        BounceEvent.proof.in_(list(proofs)),
        BounceEvent.proof != "",
    )
    return any(proofs[proof] != key for proof, key in db.session.execute(query))
