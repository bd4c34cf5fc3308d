"""Incidents: detection of failures, alerts, webhooks, failover, and the account's failure policy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..affiliates import suppressions
from ..bounces import breaker, outcomes
from ..bounces.mailbox import trouble
from ..domains import changes
from ..enrolment import sign_up_brake
from ..jobs.registry import add_cleanup, add_work_source
from ..outbox.callbacks import add_listener
from ..settings import login_probe

if TYPE_CHECKING:
    from flask import Flask


def install(app: Flask) -> None:
    """Register the pages, jobs and listeners of the incidents."""
    from . import (  # noqa: F401 - views_policy adds its pages
        alerts,
        bounces,
        detection,
        mailbox,
        message_events,
        monitor,
        sign_ups,
        views_policy,
        webhooks,
    )
    from .views import blueprint

    app.register_blueprint(blueprint)
    for source in (alerts.find_due_work, webhooks.find_due_work, monitor.find_due_work):
        add_work_source(app, source)
    add_listener(app, detection.on_attempt_settled, on_acceptance=detection.concerns_acceptance)
    outcomes.add_listener(app, bounces.on_outcome_change)
    outcomes.add_batch_listener(app, bounces.on_batch)
    outcomes.add_listener(app, message_events.on_outcome_change)
    add_listener(app, message_events.on_attempt_settled, on_acceptance=message_events.concerns_acceptance)
    suppressions.add_listener(app, message_events.on_suppressed)
    add_cleanup(app, webhooks.delete_ended)
    sign_up_brake.add_listener(app, sign_ups.on_limit)
    breaker.add_listener(app, bounces.on_breaker)
    trouble.add_listener(app, mailbox.on_mailbox_state)
    changes.add_listener(app, detection.on_domain_change)
    login_probe.add_listener(app, detection.on_login_probe)
