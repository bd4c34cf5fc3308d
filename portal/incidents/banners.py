"""Banners about sending, shown on every page of the account they concern, with links to what the owner can do."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from flask import url_for

from ..clock import utcnow
from ..jobs import heartbeat
from ..outbox import rate_limits
from ..outbox.overview import count_waiting
from ..outbox.queue import find_queue
from ..settings.routing import live_version
from ..smtp.diagnosis.diagnose import RetryClass
from ..web.banners import Banner
from ..web.filters import ago, format_time
from ..web.labels import diagnosis_view
from . import incident_log, presenter
from .models import Incident, IncidentKind

if TYPE_CHECKING:
    from ..outbox.models import Queue

_NOTHING_LOST = "Nothing is lost: waiting emails leave by themselves as soon as sending works again."
_SHOW_PAUSE_FROM = timedelta(seconds=30)
_MAX_OTHERS = 2  # incidents that do not concern sending
_SETTINGS = "settings.email_preferences"


def banners(account_id: int) -> list[Banner]:
    """Return the account's banners: about sending, about at most two other incidents, and about a missing worker."""
    found = incident_log.list_open(account_id)
    sending = [incident for incident in found if incident.kind is IncidentKind.SENDING]
    others = [_other(incident) for incident in found if incident.kind is not IncidentKind.SENDING]
    return [*_sending(account_id, sending), *_own_limit(account_id), *others[:_MAX_OTHERS], *_no_worker()]


def _sending(account_id: int, incidents: list[Incident]) -> list[Banner]:
    """Return one banner for all sending incidents; the first of them is the one that blocks the queue."""
    queue, live = find_queue(account_id), live_version(account_id)
    held = queue if queue is not None and queue.held_at is not None else None
    first = incidents[0] if incidents else None
    if live is not None and live.failover_since is not None:
        return [_failover(format_time(live.failover_since), first)]
    if held is not None:
        return [_held(account_id, held, first)]
    return [_failing(account_id, first)] if first else []


def _held(account_id: int, queue: Queue, incident: Incident | None) -> Banner:
    count = count_waiting(account_id)
    diagnosis = diagnosis_view(queue.hold_diagnosis)
    cause = presenter.sentence(incident) if incident else (diagnosis.cause if diagnosis else "")
    if count:
        subject = "1 email has" if count == 1 else f"{count} emails have"
        title = f"{subject} waited since {format_time(queue.held_at)}"
    else:
        title = "Sending is on hold"
    fix = " ".join(diagnosis.fixes[:1]) if diagnosis else ""
    return Banner(
        "danger",
        f"{title}: {cause}" if cause else title,
        " ".join(filter(None, [fix, _NOTHING_LOST])),
        "Fix the settings",
        url_for(_SETTINGS),
        more=_links(incident, has_waiting=bool(count)),
    )


def _failing(account_id: int, incident: Incident) -> Banner:
    """Return the banner of a failing server while the queue is not on hold."""
    if incident.diagnosis.get("retry_class") == RetryClass.RATE:
        return _rate_limited(account_id, incident)
    count = count_waiting(account_id)
    waiting = f"{'1 email waits' if count == 1 else f'{count} emails wait'}. " if count else ""
    tone = "danger" if incident.blocks_queue else "warning"
    text = (
        f"{waiting}Since {format_time(incident.episode_started_at)}. {_NOTHING_LOST if count else ''}".strip()
    )
    action = ("Fix the settings", url_for(_SETTINGS)) if incident.blocks_queue else ("", "")
    return Banner(
        tone, presenter.sentence(incident), text, *action, more=_links(incident, has_waiting=bool(count))
    )


def _rate_limited(account_id: int, incident: Incident) -> Banner:
    """Return the banner of a limit that the provider sets: the owner only has to wait."""
    queue = find_queue(account_id)
    until = queue.paused_until if queue is not None else None
    resumes = f"It goes on at {format_time(until)}, by itself. " if until and until > utcnow() else ""
    text = f"{presenter.sentence(incident)} {resumes}Nothing is lost; emails leave more slowly for a while."
    links = (("What happened", url_for("incidents.show", incident_id=incident.id)),)
    return Banner(
        "info", "Your provider’s limit is reached", text, "See the limits", _limits_url(), more=links
    )


def _limits_url() -> str:
    return url_for("incidents.limits")


def _links(incident: Incident | None, *, has_waiting: bool) -> tuple[tuple[str, str], ...]:
    links = []
    if has_waiting:
        links += [
            ("Send through the platform", url_for("incidents.waiting", _anchor="platform")),
            ("Release or discard", url_for("incidents.waiting")),
        ]
    if incident is not None:
        links.append(("What happened", url_for("incidents.show", incident_id=incident.id)))
    return tuple(links)


def _failover(since: str, incident: Incident | None) -> Banner:
    cause = presenter.sentence(incident) if incident else "Your own server failed."
    text = f"{cause} Signet goes on trying your own server, and goes back to it by itself."
    more = (("What happened", url_for("incidents.show", incident_id=incident.id)),) if incident else ()
    title = f"Your emails leave through the platform’s server since {since}"
    return Banner("warning", title, text, "Fix the settings", url_for(_SETTINGS), more=more)


def _own_limit(account_id: int) -> list[Banner]:
    """Return the banner of the account's own sending limit, if it delays waiting emails noticeably."""
    resumes_at = rate_limits.resumes_at(account_id)
    if resumes_at is None or resumes_at < utcnow() + _SHOW_PAUSE_FROM or not count_waiting(account_id):
        return []
    text = f"The next emails leave at {format_time(resumes_at)}, by themselves."
    return [Banner("info", "A sending limit is reached", text, "See the limits", _limits_url())]


def _other(incident: Incident) -> Banner:
    link = url_for("incidents.show", incident_id=incident.id)
    return Banner("warning", presenter.sentence(incident), "", "What to do", link)


def _no_worker() -> list[Banner]:
    if not heartbeat.is_worker_missing():
        return []
    seen = heartbeat.last_heartbeat_at()
    when = f"The last one was seen {ago(seen)}." if seen else "None has been seen yet."
    text = (
        f"{when} Emails wait safely and leave as soon as a worker runs. "
        "Whoever runs this portal starts one with: flask worker"
    )
    return [Banner("warning", "No worker is running, so no email leaves", text)]
