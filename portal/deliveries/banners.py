"""Sending trouble, said on every page of the account it concerns."""

from __future__ import annotations

from flask import url_for

from ..outbox import worker
from ..web.banners import Banner
from ..web.filters import ago, moment
from ..web.troubles import trouble
from . import log


def banners(account_id: int) -> list[Banner]:
    """Return what the owner has to know about the queue and the worker."""
    return [*_held(account_id), *_no_worker()]


def _held(account_id: int) -> list[Banner]:
    queue = log.held_queue(account_id)
    if queue is None or queue.held_because is None:
        return []
    count = log.waiting(account_id)
    many = "1 email waits" if str(count) == "1" else f"{count} emails wait"
    title = f"{many} since {moment(queue.held_at)}" if count else "Sending is on hold"
    why = trouble(queue.held_because)
    said = f"{why.cause} {' '.join(why.fixes[:1])} " if why else ""
    text = f"{said}Nothing is lost: waiting emails leave as soon as sending works again."
    return [Banner("danger", title, text, "Go to the settings", url_for("settings.email_preferences"))]


def _no_worker() -> list[Banner]:
    if not worker.is_missing():
        return []
    seen = worker.last_seen()
    when = f"The last one was seen {ago(seen)}." if seen else "None has been seen yet."
    text = (
        f"{when} Emails wait safely and leave as soon as a worker runs. "
        "Whoever runs this portal starts one with: flask worker"
    )
    return [Banner("warning", "No worker is running, so no email leaves", text)]
