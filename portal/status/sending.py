"""Makes the sending status of an account. Every page, command and endpoint that states it calls ``status_of``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import g, has_request_context
from flask_babel import gettext as _
from sqlalchemy import select

from ..accounts.models import Account
from ..clock import utcnow
from ..db import db
from . import evidence, quality, stops
from .model import Facts, SendingStatus, Through

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .evidence import Evidence


_MAX_SLUG_CHARS = 100


def status_of(account_id: int) -> SendingStatus:
    """Return the status of an account as it is now. A request makes it once."""
    if not has_request_context():
        return assess(evidence.read(account_id, utcnow()))
    known: dict[int, SendingStatus] = g.setdefault("sending_status", {})
    if account_id not in known:
        known[account_id] = assess(evidence.read(account_id, utcnow()))
    return known[account_id]


def statuses_of(account_ids: Sequence[int]) -> dict[int, SendingStatus]:
    """Return the statuses of several accounts as they are now, by account id."""
    return {id_: assess(seen) for id_, seen in evidence.read_all(account_ids, utcnow()).items()}


def sending_of(slug: str) -> SendingStatus | None:
    """Return the status of the account with this name, or None if there is none."""
    if not slug.isprintable() or len(slug) > _MAX_SLUG_CHARS:
        return None
    account_id = db.session.scalar(select(Account.id).where(Account.slug == slug))
    return status_of(account_id) if account_id is not None else None


def assess(seen: Evidence) -> SendingStatus:
    """Make the status from the evidence. Findings that stop emails come first, limits that delay them last."""
    stopping, facts = tuple(stops.find(seen)), _facts(seen)
    missing = (*stopping, *quality.find(seen), *stops.limits(seen))
    summary = ""
    if not missing:
        summary = _(
            "Sending as %(sender)s. Emails arrive from your own domain, as promised.", sender=facts.sender
        )
    elif not stopping and facts.through is Through.OWN and not seen.is_practice:
        summary = _("Sending as %(sender)s.", sender=facts.sender)
    return SendingStatus(facts, missing, str(summary))


def _facts(seen: Evidence) -> Facts:
    route, live = seen.route, seen.live
    through = Through.NONE if route is None else Through.OWN if seen.is_own else Through.PLATFORM
    return Facts(
        through=through,
        sender_name=route.display_name if route else "",
        sender=route.sender if route else "",
        reply_to=(route.reply_to or "") if route else "",
        server=route.server.address if route and through is Through.OWN else "",
        version=live.number if live and seen.is_own else None,
        since=live.live_since if live and seen.is_own else None,
        waiting=seen.waiting,
        proved_at=seen.proved_at,
        received_at=seen.proof.received_at,
        from_outcome=seen.proof.outcome,
        domain_status=seen.domain.status if seen.domain else None,
        domain_checked_at=seen.domain.checked_at if seen.domain else None,
    )
