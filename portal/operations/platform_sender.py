"""The check of the platform's sender: the stages of a submission up to the recipient. Nothing is sent or stored."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import select

from .. import rate_limit
from ..accounts.models import Owner
from ..db import db
from ..outbox.routing import NoRoute, Route
from ..rate_limit import RateLimit
from ..settings import routing
from ..smtp.probe.dry_run import ProbeReport, probe
from ..state import current_config

if TYPE_CHECKING:
    from datetime import datetime

    from ..smtp.diagnosis.diagnose import Diagnosis

PAGE_LIMIT = RateLimit("checks of the platform's sender", 20, timedelta(hours=1))
PAGE_DEADLINE_S = 20.0  # a visitor of the page waits for it


class NoSender(Exception):
    """The portal has no sender of its own."""


class UnusableSender(Exception):
    """The check could not start. ``fix`` states what to do."""

    def __init__(self, cause: str, fix: str) -> None:
        super().__init__(cause)
        self.cause, self.fix = cause, fix


@dataclass(frozen=True)
class SenderCheck:
    """The result of a check. ``diagnosis`` is None if every stage passed."""

    route: Route
    recipient: str
    report: ProbeReport
    diagnosis: Diagnosis | None


def count_check(*, now: datetime) -> bool:
    """Count one check by the page; return whether the limit allows it. Commits."""
    is_allowed = rate_limit.consume(PAGE_LIMIT, now=now)
    db.session.commit()
    return is_allowed


def check(recipient: str = "", *, deadline_s: float | None = None) -> SenderCheck:
    """Run the stages up to RCPT TO. Ends the transaction before it connects. Raises NoSender or UnusableSender.

    Args:
        recipient: by default the first owner of the portal.
        deadline_s: for the whole conversation; by default as for emails.
    """
    if not current_config().platform.server:
        raise NoSender
    try:
        route = routing.platform_route(None)
        first = select(Owner.mailbox).order_by(Owner.id).limit(1)
        recipient = recipient or db.session.scalar(first) or route.sender
        db.session.rollback()
        server = route.server
        if deadline_s is not None and deadline_s < server.limits.deadline:
            server = replace(server, limits=replace(server.limits, deadline=deadline_s))
        report = probe(server, route.sender, recipient)
    except NoRoute as trouble:
        raise UnusableSender(str(trouble.diagnosis["cause"]), "Look at MAIL_SERVER.") from None
    except ValueError as trouble:  # credentials or addresses that SMTP cannot carry
        raise UnusableSender(f"The MAIL_* variables cannot be used: {trouble}.", "Change them.") from None
    return SenderCheck(route, recipient, report, route.explain(report.failure) if report.failure else None)
