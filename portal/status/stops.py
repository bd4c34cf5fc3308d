"""Findings about whether an account's emails leave, and through what."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from flask_babel import gettext as _
from flask_babel import ngettext

from ..accounts.standing import AccountState, state_of
from ..incidents import presenter
from ..incidents.models import Incident, IncidentKind
from ..smtp.diagnosis.diagnose import RetryClass
from ..web.filters import ago, format_time
from ..web.labels import diagnosis_view
from ..web.translations import write_integer
from .model import Code, Link, StatusItem, Tone

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..outbox.models import Queue
    from .evidence import Evidence

_SHOW_PAUSE_FROM = timedelta(seconds=30)
_SETTINGS, _LIMITS = "settings.email_preferences", "incidents.limits"


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
        parts = [presenter.sentence(limit)]
        if until and until > seen.now:
            parts.append(_("Sending resumes automatically at %(time)s.", time=format_time(until)))
        parts.append(_("No email is lost. Emails are sent more slowly for a while."))
        sentence, links = _("You have reached your provider’s limit."), (_limits(), _happened(limit))
        yield StatusItem(Code.RATE_LIMITED, Tone.INFO, sentence, " ".join(parts), links, is_banner=True)
    if seen.platform_limit is not None:
        yield _platform_limit(seen.platform_limit)
    resumes_at = seen.resumes_at
    if resumes_at is not None and resumes_at >= seen.now + _SHOW_PAUSE_FROM and seen.waiting:
        detail = _("Signet sends the next emails at %(time)s.", time=format_time(resumes_at))
        sentence = _("You have reached a sending limit.")
        yield StatusItem(Code.RATE_LIMITED, Tone.INFO, sentence, detail, (_limits(),), is_banner=True)


def _platform_limit(limit: int) -> StatusItem:
    detail = _(
        "It sends up to %(limit)s emails in 24 hours for your account. The other emails wait, and Signet sends them as soon as "
        "the limit allows it. Ask the operator of this portal for a higher limit, or use your own SMTP server.",
        limit=write_integer(limit),
    )
    sentence = _("The platform’s sender has reached its limit.")
    links = (Link(_("Use your own SMTP server"), _SETTINGS),)
    return StatusItem(Code.RATE_LIMITED, Tone.INFO, sentence, detail, links, is_banner=True)


def _account(seen: Evidence) -> Iterator[StatusItem]:
    match state_of(seen.account):
        case AccountState.SUSPENDED:
            reason = seen.account.suspension_reason
            parts = [_("Reason: %(reason)s", reason=reason)] if reason else []
            parts.append(
                _(
                    "No emails are sent, and your sign-up page is closed. No email is lost: waiting "
                    "emails are sent when the suspension ends."
                )
            )
            detail = " ".join(map(str, parts))
            yield StatusItem(
                Code.ACCOUNT_SUSPENDED, Tone.DANGER, _("Your account is suspended."), detail, is_banner=True
            )
        case AccountState.WAITING:
            detail = _(
                "You can set everything up now. Your sign-up page opens and your emails are sent once "
                "the operator of this portal has approved your account."
            )
            yield StatusItem(
                Code.ACCOUNT_WAITING,
                Tone.INFO,
                _("Your account is waiting for approval."),
                detail,
                is_banner=True,
            )


def _no_route(seen: Evidence) -> StatusItem:
    cause = str(seen.no_route.get("cause", ""))
    fixes = " ".join(map(str, seen.no_route.get("fixes", ())))
    code = Code.SETTINGS_UNUSABLE if seen.is_own else Code.NO_SENDER
    return StatusItem(code, Tone.DANGER, cause, fixes, (_fix(),), is_banner=True)


def _held(seen: Evidence, queue: Queue, incident: Incident | None) -> StatusItem:
    diagnosis = diagnosis_view(queue.hold_diagnosis)
    cause = presenter.sentence(incident) if incident else (diagnosis.cause if diagnosis else "")
    title = _("Sending is on hold")
    if seen.waiting:
        title = ngettext(
            "1 email waiting since %(time)s",
            "%(count)s emails waiting since %(time)s",
            seen.waiting.number,
            count=str(seen.waiting),
            time=format_time(queue.held_at),
        )
    fix = " ".join(diagnosis.fixes[:1]) if diagnosis else ""
    detail = " ".join(filter(None, [fix, _nothing_lost()]))
    links = (_fix(), *_waiting_links(seen), *([_happened(incident)] if incident else []))
    sentence = _("%(title)s: %(cause)s", title=title, cause=cause) if cause else f"{title}."
    return StatusItem(Code.ON_HOLD, Tone.DANGER, sentence, detail, links, is_banner=True)


def _failing(seen: Evidence, incident: Incident) -> StatusItem:
    parts = [_("Since %(time)s.", time=format_time(incident.episode_started_at))]
    if seen.waiting:
        parts = [
            ngettext(
                "1 email is waiting.",
                "%(count)s emails are waiting.",
                seen.waiting.number,
                count=str(seen.waiting),
            ),
            *parts,
            _nothing_lost(),
        ]
    detail = " ".join(parts)
    fix = (_fix(),) if incident.blocks_queue else ()
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
    cause = presenter.sentence(incident) if incident else _("Your own server failed.")
    goes_back = _("Signet keeps trying your own server and switches back to it automatically.")
    detail = f"{cause} {goes_back}"
    links = (_fix(), *([_happened(incident)] if incident else []))
    sentence = _("The platform’s server has sent your emails since %(time)s.", time=since)
    return StatusItem(Code.FAILOVER, Tone.WARNING, sentence, detail, links, is_banner=True)


def _no_worker(seen: Evidence) -> StatusItem:
    when = (
        _("The last one ran %(ago)s.", ago=ago(seen.worker_seen_at))
        if seen.worker_seen_at
        else _("None has run yet.")
    )
    waits = _(
        "Emails wait safely and are sent once a worker, the program that sends them, is running. The "
        "operator of this portal starts one with: flask worker"
    )
    sentence = _("No worker is running, so no emails are sent.")
    return StatusItem(Code.NO_WORKER, Tone.WARNING, sentence, f"{when} {waits}", is_banner=True)


def _is_limit(incident: Incident) -> bool:
    return incident.diagnosis.get("retry_class") == RetryClass.RATE


def _waiting_links(seen: Evidence) -> tuple[Link, ...]:
    if not seen.waiting:
        return ()
    return (
        Link(_("Send through the platform"), "incidents.waiting", (("_anchor", "platform"),)),
        Link(_("Release or discard"), "incidents.waiting"),
    )


def _happened(incident: Incident) -> Link:
    return Link(_("What happened"), "incidents.show", (("incident_id", incident.id),))


def _nothing_lost() -> str:
    return str(_("No email is lost: Signet sends waiting emails automatically once sending works again."))


def _fix() -> Link:
    return Link(_("Fix the settings"), _SETTINGS)


def _limits() -> Link:
    return Link(_("See the limits"), _LIMITS)
