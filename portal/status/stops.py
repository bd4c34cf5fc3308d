"""Findings about whether an account's emails leave, and through what."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from flask_babel import gettext as _

from ..accounts.standing import AccountState, state_of
from ..incidents import presenter
from ..incidents.models import Incident, IncidentKind
from ..smtp.diagnosis.diagnose import RetryClass
from ..web.filters import ago, format_time
from ..web.labels import diagnosis_view
from .model import Code, Link, StatusItem, Tone

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..outbox.models import Queue
    from .evidence import Evidence

_SHOW_PAUSE_FROM = timedelta(seconds=30)
_FIX = Link("Fix the settings", "settings.email_preferences")
_LIMITS = Link("See the limits", "incidents.limits")


def find(seen: Evidence) -> Iterator[StatusItem]:
    """Yield what keeps emails from leaving, or from leaving through the account's own server, the worst first."""
    yield from _account(seen)
    if seen.route is None:
        yield _no_route(seen)
    sending = [incident for incident in seen.incidents if incident.kind is IncidentKind.SENDING]
    first = sending[0] if sending else None
    held = seen.queue if seen.queue is not None and seen.queue.held_at is not None else None
    if held is not None and not seen.has_failover:
        yield _held(seen, held, first)
    if seen.worker_missing:
        yield _no_worker(seen)
    if seen.has_failover:
        yield _failover(seen, first)
    elif held is None and first is not None and not _is_limit(first):
        yield _failing(seen, first)


def limits(seen: Evidence) -> Iterator[StatusItem]:
    """Yield the limits that delay emails: of the provider, and of the account itself."""
    limit = next((one for one in seen.incidents if one.kind is IncidentKind.SENDING and _is_limit(one)), None)
    if limit is not None and not seen.has_failover:
        until = seen.queue.paused_until if seen.queue is not None else None
        resumes = f"It goes on at {format_time(until)}, by itself. " if until and until > seen.now else ""
        detail = (
            f"{presenter.sentence(limit)} {resumes}Nothing is lost; emails leave more slowly for a while."
        )
        links = (_LIMITS, _happened(limit))
        yield StatusItem(
            Code.RATE_LIMITED, Tone.INFO, "Your provider’s limit is reached.", detail, links, is_banner=True
        )
    resumes_at = seen.resumes_at
    if resumes_at is not None and resumes_at >= seen.now + _SHOW_PAUSE_FROM and seen.waiting:
        detail = f"The next emails leave at {format_time(resumes_at)}, by themselves."
        yield StatusItem(
            Code.RATE_LIMITED, Tone.INFO, "A sending limit is reached.", detail, (_LIMITS,), is_banner=True
        )


def _account(seen: Evidence) -> Iterator[StatusItem]:
    match state_of(seen.account):
        case AccountState.SUSPENDED:
            reason = seen.account.suspension_reason
            parts = [_("The reason: %(reason)s", reason=reason)] if reason else []
            parts.append(
                _(
                    "No email leaves and your sign-up page is closed. Nothing is lost: what waits leaves when the suspension "
                    "ends."
                )
            )
            detail = " ".join(map(str, parts))
            yield StatusItem(
                Code.ACCOUNT_SUSPENDED, Tone.DANGER, _("Your account is suspended."), detail, is_banner=True
            )
        case AccountState.WAITING:
            detail = _(
                "You can set everything up now. Your sign-up page opens and your emails leave as soon as the operator of "
                "this portal has approved your account."
            )
            yield StatusItem(
                Code.ACCOUNT_WAITING, Tone.INFO, _("Your account waits for approval."), detail, is_banner=True
            )


def _no_route(seen: Evidence) -> StatusItem:
    cause = str(seen.no_route.get("cause", ""))
    fixes = " ".join(map(str, seen.no_route.get("fixes", ())))
    code = Code.SETTINGS_UNUSABLE if seen.is_own else Code.NO_SENDER
    return StatusItem(code, Tone.DANGER, cause, fixes, (_FIX,), is_banner=True)


def _held(seen: Evidence, queue: Queue, incident: Incident | None) -> StatusItem:
    diagnosis = diagnosis_view(queue.hold_diagnosis)
    cause = presenter.sentence(incident) if incident else (diagnosis.cause if diagnosis else "")
    if seen.waiting:
        subject = "1 email has" if seen.waiting == 1 else f"{seen.waiting} emails have"
        title = f"{subject} waited since {format_time(queue.held_at)}"
    else:
        title = "Sending is on hold"
    fix = " ".join(diagnosis.fixes[:1]) if diagnosis else ""
    detail = " ".join(filter(None, [fix, _nothing_lost()]))
    links = (_FIX, *_waiting_links(seen), *([_happened(incident)] if incident else []))
    sentence = f"{title}: {cause}" if cause else f"{title}."
    return StatusItem(Code.ON_HOLD, Tone.DANGER, sentence, detail, links, is_banner=True)


def _failing(seen: Evidence, incident: Incident) -> StatusItem:
    count = seen.waiting
    waiting = f"{'1 email waits' if count == 1 else f'{count} emails wait'}. " if count else ""
    detail = f"{waiting}Since {format_time(incident.episode_started_at)}. {_nothing_lost() if count else ''}".strip()
    fix = (_FIX,) if incident.blocks_queue else ()
    return StatusItem(
        Code.SERVER_FAILING,
        Tone.DANGER if incident.blocks_queue else Tone.WARNING,
        presenter.sentence(incident),
        detail,
        (*fix, *_waiting_links(seen), _happened(incident)),
        is_banner=True,
    )


def _failover(seen: Evidence, incident: Incident | None) -> StatusItem:
    since = format_time(seen.live.failover_since) if seen.live else ""
    cause = presenter.sentence(incident) if incident else "Your own server failed."
    detail = f"{cause} Signet goes on trying your own server, and goes back to it by itself."
    links = (_FIX, *([_happened(incident)] if incident else []))
    sentence = f"Your emails leave through the platform’s server since {since}."
    return StatusItem(Code.FAILOVER, Tone.WARNING, sentence, detail, links, is_banner=True)


def _no_worker(seen: Evidence) -> StatusItem:
    when = (
        f"The last one was seen {ago(seen.worker_seen_at)}."
        if seen.worker_seen_at
        else "None has been seen yet."
    )
    detail = (
        f"{when} Emails wait safely and leave as soon as a worker runs. "
        "Whoever runs this portal starts one with: flask worker"
    )
    return StatusItem(
        Code.NO_WORKER, Tone.WARNING, "No worker is running, so no email leaves.", detail, is_banner=True
    )


def _is_limit(incident: Incident) -> bool:
    return incident.diagnosis.get("retry_class") == RetryClass.RATE


def _waiting_links(seen: Evidence) -> tuple[Link, ...]:
    if not seen.waiting:
        return ()
    return (
        Link("Send through the platform", "incidents.waiting", (("_anchor", "platform"),)),
        Link("Release or discard", "incidents.waiting"),
    )


def _happened(incident: Incident) -> Link:
    return Link("What happened", "incidents.show", (("incident_id", incident.id),))


def _nothing_lost() -> str:
    return "Nothing is lost: waiting emails leave by themselves as soon as sending works again."
