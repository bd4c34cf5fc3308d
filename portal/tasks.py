"""Maps job names to functions. The only module that imports the jobs of all rooms."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .bounces import processing, recording, verifying
from .bounces.mailbox import reading
from .clock import utcnow
from .db import read_only
from .deliveries import bulk_actions, rollup
from .domains.checks import run as check_domain
from .enrolment.cleanup import delete_unconfirmed
from .events import digests, pace
from .imports import mailing, running, uploads
from .incidents import alerts, monitor, webhooks
from .jobs import backend, fair_pool
from .jobs.registry import job_registry
from .money import approval_rule
from .money.weekly_summary import enqueue_summaries as enqueue_weekly_summaries
from .outbox.sending import dispatcher
from .privacy import erasing
from .settings import login_probe, versions
from .settings.check import run as check_version

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask

    from .config import Config


def install(app: Flask, config: Config) -> None:
    """Build the job queues of this app and register all jobs."""
    fair_pool.install(app)

    def in_context(work: Callable[[int], object]) -> Callable[[int], None]:
        def run(id_: int) -> None:
            with app.app_context():
                work(id_)

        return run

    def fair(
        pool: str, name: str, account_of: Callable[[int], int | None], work: Callable[[int], object]
    ) -> Callable[[int], None]:
        """Return the job that runs ``work`` on the threads of a pool that the accounts share."""

        def submit(id_: int) -> None:
            with app.app_context(), read_only():
                account_id = account_of(id_)
            if account_id is not None:
                fair_pool.submit(app, pool, account_id, (name, id_), lambda: in_context(work)(id_))

        return submit

    jobs: dict[str, tuple[str, Callable[[int], None]]] = {
        "drain": ("mail", lambda account_id: dispatcher.serve(app, account_id)),
        "check": ("checks", fair("checks", "check", versions.account_of, check_version)),
        "check-domain": ("probes", fair("probes", "check-domain", versions.account_of, check_domain)),
        "bulk-action": ("housekeeping", in_context(bulk_actions.run)),
        "weekly-summary": (
            "housekeeping",
            in_context(lambda account_id: enqueue_weekly_summaries(account_id, now=utcnow())),
        ),
        approval_rule.JOB: (
            "housekeeping",
            in_context(lambda account_id: approval_rule.run(account_id, now=utcnow())),
        ),
        pace.JOB: (
            "housekeeping",
            in_context(lambda account_id: digests.send(account_id, now=utcnow())),
        ),
        "cleanup": ("housekeeping", in_context(lambda _: delete_unconfirmed(now=utcnow()))),
        uploads.JOB: ("housekeeping", in_context(running.run)),
        mailing.JOB: ("housekeeping", in_context(mailing.run)),
        erasing.JOB: ("housekeeping", in_context(erasing.run)),
        "rollup": ("housekeeping", in_context(_roll_up_and_clean_up)),
        "alert": ("alerts", in_context(alerts.send)),
        "webhook": ("webhooks", fair("webhooks", "webhook", webhooks.account_of, webhooks.deliver)),
        "login-probe": ("probes", fair("probes", "login-probe", versions.account_of, login_probe.run)),
        verifying.JOB: ("webhooks", fair("webhooks", verifying.JOB, verifying.account_of, verifying.run)),
        reading.JOB: ("webhooks", fair("webhooks", reading.JOB, reading.account_of, reading.read)),
        recording.JOB: (
            "webhooks",
            fair("bounces", recording.JOB, lambda account_id: account_id, processing.process),
        ),
        "monitor": ("alerts", in_context(monitor.run)),
    }
    backend.install(app, config, jobs)


def _roll_up_and_clean_up(_: int) -> None:
    rollup.run_maintenance()
    for cleanup in job_registry().cleanups:
        cleanup(utcnow())
