"""What runs the work: Huey, and its tasks, one line each, calling a deed.

A job says *drain this account* or *check this version*; it never carries a message, so it may be lost
or repeated without harm.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flask import Flask
from huey import Huey, SqliteHuey

from .config import Config
from .outbox.delivery import drain as drain_queue
from .settings.check import check as check_version


def install(app: Flask, config: Config) -> Huey:
    """Build the Huey instance for this app and name its tasks."""
    # fsync is off on purpose: losing a job costs one sweep, never a message.
    huey = SqliteHuey(
        "signet", filename=str(Path(config.instance) / "jobs.sqlite"), results=False, fsync=False
    )

    @huey.task(name="drain")
    def drain(account_id: int) -> None:
        with app.app_context():
            drain_queue(account_id)

    @huey.task(name="check")
    def check(version_id: int) -> None:
        with app.app_context():
            check_version(version_id)

    app.extensions["signet.tasks"] = {"drain": drain, "check": check}
    return huey


def announce_missing(app: Flask, jobs: list[tuple[str, int]]) -> None:
    """Put jobs in the queue unless they wait there already: a sweep must not pile them up."""
    huey: Huey = app.extensions["signet.huey"]
    waiting = {(task.name, *task.args) for task in huey.pending()} if jobs else set()
    for job, ident in jobs:
        if (job, ident) not in waiting:
            announce(app, job, ident)


def announce(app: Flask, job: str, ident: int) -> None:
    """Put a job in the queue."""
    tasks: dict[str, Any] = app.extensions["signet.tasks"]
    tasks[job](ident)
