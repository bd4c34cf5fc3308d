"""Reads the mailboxes of accounts: new mails by UID, headers first, then the beginning of what they show to be of use.

The job has a budget of mails, bytes and time, so that a full mailbox or a slow server costs the other accounts nothing: it goes
on where it stopped. A mail that the server does not hand out in several readings, although it hands out another one, is passed
over. Nothing in the mailbox is changed. No transaction is open while the server is asked.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import select, update

from ...arrival.pasting import HeadersRefused
from ...arrival.pasting import store as store_headers
from ...clock import utcnow
from ...db import db
from ...security_log import SecurityEvent, record
from ...smtp.failure import SubmissionFailure
from ...smtp.server import Secret
from ...vault import DecryptionError
from ..meaning import NOT_HANDED_OUT, Meaning, Report
from ..parsing.mime import MAX_BYTES
from ..recording import event_key, record_event, record_events
from . import finding, problems, trouble
from .candidates import Expected, MailKind, kind_of
from .credentials import OpenedMailbox, open_mailbox
from .finding import MailContent, expected_by
from .imap import TIME_LIMIT_S, UID_SPAN, ImapFailure, ImapSession
from .models import BounceMailbox

if TYPE_CHECKING:
    from datetime import datetime

    from ...smtp.server import AccessToken
    from .imap import MailSummary

JOB = "read-mailbox"
SOURCE = "mailbox"
EVERY = timedelta(minutes=5)
_LEASE = timedelta(seconds=TIME_LIMIT_S + 60)
_LONGEST_PAUSE = timedelta(hours=6)
_FIRST_MAILS = 500  # of a mailbox that is read for the first time, the newest ones
_MAILS_PER_READING = 500
_REPORTS_PER_READING = 20
_HEADERS_AT_ONCE = 50
_TRIES_OF_MAIL = 3  # readings that ended at it
_JOBS_PER_SWEEP = 50
_BYTES_PER_READING = 8 * 1024 * 1024  # of mails that were fetched
_HEADER_BYTES = 64 * 1024  # of a test email
_SAMPLE_BYTES = 1024  # of a mail that shows whether the server hands out any


class _Place(NamedTuple):
    """Where the readings before came, as the table has it."""

    uid_validity: int | None
    last_uid: int | None
    uid_failures: int
    failures: int


@dataclass
class _Reading:
    """What a reading found, up to where it came."""

    uid_validity: int | None = None
    last_uid: int = 0
    mails: int = 0
    found: MailContent = field(default_factory=MailContent)
    fetched_bytes: int = 0
    has_more: bool = False
    fetching: tuple[
        int, ...
    ] = ()  # the mails that the server is asked for; those that it did not hand out, after a failure
    hands_out: bool = False  # the server handed out a mail other than the one that it refused before
    problem: str = ""


def find_due_work(now: datetime) -> list[tuple[str, int]]:
    """Return the jobs of the mailboxes that are due."""
    query = select(BounceMailbox.id).where(BounceMailbox.next_read_at <= now)
    query = query.order_by(BounceMailbox.next_read_at).limit(_JOBS_PER_SWEEP)
    return [(JOB, mailbox_id) for mailbox_id in db.session.scalars(query)]


def account_of(mailbox_id: int) -> int | None:
    """Return the account of a mailbox, or None if there is no such mailbox."""
    return db.session.scalar(select(BounceMailbox.account_id).where(BounceMailbox.id == mailbox_id))


def read(mailbox_id: int) -> None:
    """Read one mailbox that is due, and record what it reports. Commits. Safe to repeat: one worker at a time has the lease."""
    mailbox = _claim(mailbox_id, utcnow())
    if mailbox is None:
        return
    account_id, generation = mailbox.account_id, mailbox.generation
    place = _Place(mailbox.uid_validity, mailbox.last_uid, mailbox.uid_failures, mailbox.failures)
    expected = expected_by(account_id, mailbox.username, now=utcnow())
    try:
        opened = open_mailbox(mailbox)
    except DecryptionError:
        db.session.rollback()
        _store(mailbox_id, generation, _Reading(problem="password-lost"))
        return
    db.session.rollback()  # no transaction is open while the server is asked
    result = _read(opened, expected, place)
    if result.problem == "target-refused":
        target = f"{opened.server.host}:{opened.server.port}"
        record(SecurityEvent.TARGET_REFUSED, account=account_id, target=target, purpose="imap")
    _store(mailbox_id, generation, result)


def _claim(mailbox_id: int, now: datetime) -> BounceMailbox | None:
    taken = db.session.execute(
        update(BounceMailbox)
        .where(BounceMailbox.id == mailbox_id, BounceMailbox.next_read_at <= now)
        .values(next_read_at=now + _LEASE, last_tried_at=now)
        .execution_options(synchronize_session=False)
    )
    db.session.commit()
    if taken.rowcount != 1:  # type: ignore[attr-defined]
        return None
    return db.session.get(BounceMailbox, mailbox_id, populate_existing=True)


def _read(opened: OpenedMailbox, expected: Expected, place: _Place) -> _Reading:
    result = _Reading()
    try:
        # The token comes first: the time limit of the connection is for the mailbox.
        token = opened.tokens.fetch() if opened.tokens is not None else None
        with ImapSession(opened.server) as mailbox:
            _log_in(mailbox, opened, token)
            result.uid_validity = mailbox.examine(opened.folder)
            newest = mailbox.next_uid() - 1
            is_new = result.uid_validity != place.uid_validity or place.last_uid is None
            result.last_uid = max(0, newest - _FIRST_MAILS) if is_new else place.last_uid or 0
            if newest > result.last_uid:
                if place.uid_failures >= _TRIES_OF_MAIL - 1:
                    result.hands_out = _hands_out_another(mailbox, result.last_uid, place.failures)
                at_once = 1 if place.uid_failures else _HEADERS_AT_ONCE
                _read_up_to(mailbox, newest, expected, result, at_once=at_once)
    except ImapFailure as failure:
        result.problem = failure.code
    except SubmissionFailure as failure:
        result.problem = problems.code_of_token(failure)
    return result


def _log_in(mailbox: ImapSession, opened: OpenedMailbox, token: AccessToken | None) -> None:
    """Log in; with a kept token that is refused, once more with a new one. Raises ImapFailure and SubmissionFailure."""
    if token is None or opened.tokens is None:
        mailbox.log_in(opened.username, opened.password or Secret(""))
        return
    try:
        mailbox.log_in_with_token(opened.username, token.secret)
    except ImapFailure as failure:
        fresh = opened.tokens.renew(token) if failure.code == "token-refused" else None
        if fresh is None:
            raise
        mailbox.log_in_with_token(opened.username, fresh.secret)


def _hands_out_another(mailbox: ImapSession, last_uid: int, turn: int) -> bool:
    """Return whether the server hands out a mail near the next one, which it refused before. Raises ImapFailure.

    A server in trouble may let a client log in and refuse every mail, which is not caused by any of them. Each ``turn`` asks
    for another mail, as the one asked for may be refused for its own sake.
    """
    after = mailbox.uids_between(last_uid + 1, last_uid + UID_SPAN)[1:]
    others = mailbox.uids_between(max(1, last_uid - UID_SPAN + 1), last_uid) + after if last_uid else after
    return bool(others and mailbox.beginning(others[turn % len(others)], _SAMPLE_BYTES))


def _read_up_to(
    mailbox: ImapSession, newest: int, expected: Expected, result: _Reading, *, at_once: int
) -> None:
    """Read some mails, ``at_once`` headers in one request: a single one shows which mail the server does not hand out."""
    end = min(newest, result.last_uid + UID_SPAN)
    uids = mailbox.uids_between(result.last_uid + 1, end)
    taken = uids[: _MAILS_PER_READING if at_once > 1 else _HEADERS_AT_ONCE]
    for start in range(0, len(taken), at_once):
        part = taken[start : start + at_once]
        result.fetching = tuple(part)
        for summary in sorted(mailbox.summaries(part), key=lambda one: one.uid):
            if (
                len(result.found.reports) >= _REPORTS_PER_READING
                or result.fetched_bytes >= _BYTES_PER_READING
            ):
                result.has_more, result.fetching = True, ()
                return
            result.fetching = (summary.uid,)
            _read_mail(mailbox, summary, expected, result)
            result.mails += 1
            result.last_uid = max(result.last_uid, summary.uid)
        result.last_uid = max(result.last_uid, part[-1])
    result.fetching = ()
    # A mail that was deleted since the search has no summary, and a span may be empty.
    result.last_uid = end if len(taken) == len(uids) else taken[-1]
    result.has_more = result.last_uid < newest


def _read_mail(mailbox: ImapSession, summary: MailSummary, expected: Expected, result: _Reading) -> None:
    """Fetch the beginning of a mail that may be of use, and add what it holds."""
    kind = kind_of(summary.headers, expected)
    if kind is MailKind.LETTER:
        return
    raw = mailbox.beginning(summary.uid, _HEADER_BYTES if kind is MailKind.TEST_EMAIL else MAX_BYTES)
    result.fetched_bytes += len(raw)
    found = finding.read(raw, kind)
    result.found.reports += found.reports
    result.found.test_emails += found.test_emails


def _store(mailbox_id: int, generation: int, result: _Reading) -> None:
    """Record the reports and the place, in one transaction. Nothing is stored if the mailbox was saved again or removed."""
    now = utcnow()
    mailbox = db.session.scalar(
        select(BounceMailbox)
        .where(BounceMailbox.id == mailbox_id, BounceMailbox.generation == generation)
        .execution_options(populate_existing=True)
        .with_for_update()
    )
    if mailbox is None:
        db.session.rollback()
        return
    is_passed_over = False
    if result.uid_validity is not None:
        if mailbox.uid_validity != result.uid_validity:
            mailbox.failing_uid, mailbox.uid_failures = None, 0
        mailbox.uid_validity, mailbox.last_uid = result.uid_validity, result.last_uid
        is_passed_over = _passes_over(mailbox, result, now)
    mailbox.mails += result.mails
    if result.found.reports:
        record_events(mailbox.account_id, SOURCE, result.found.reports, now=now)
        mailbox.reports += len(result.found.reports)
        mailbox.last_report_at = now
    mailbox.problem = result.problem
    if result.problem:
        mailbox.failures += 1
        pause = min(EVERY * 2 ** min(mailbox.failures - 1, 10), _LONGEST_PAUSE)
        mailbox.next_read_at = now + (EVERY if is_passed_over else pause)
    else:
        mailbox.failures, mailbox.last_read_at = 0, now
        mailbox.next_read_at = now if result.has_more else now + EVERY
    account_id = mailbox.account_id
    trouble.report(mailbox, now=now)
    db.session.commit()
    for text in result.found.test_emails:
        with suppress(HeadersRefused):  # another email of ours than a test, or one that is kept no more
            store_headers(account_id, text, now=now, is_found=True)
        db.session.rollback()


def _passes_over(mailbox: BounceMailbox, result: _Reading, now: datetime) -> bool:
    """Count the readings that ended at the same mail; return whether it is passed over, which is listed for the owner.

    A failure while several headers were asked for may be that of any of them, so it counts for none: the next reading asks
    for single ones. A mail is not passed over unless the server handed out another one.
    """
    if not result.problem:
        mailbox.failing_uid, mailbox.uid_failures = None, 0
    if not result.fetching:
        return False
    uid = result.fetching[0] if len(result.fetching) == 1 else None
    is_same = uid is not None and uid == mailbox.failing_uid
    mailbox.failing_uid, mailbox.uid_failures = uid, mailbox.uid_failures + 1 if is_same else 1
    if uid is None or mailbox.uid_failures < _TRIES_OF_MAIL or not result.hands_out:
        return False
    mailbox.last_uid, mailbox.failing_uid, mailbox.uid_failures = uid, None, 0
    mailbox.skipped += 1
    raw = (
        f"Folder: {mailbox.folder}\nUIDVALIDITY: {mailbox.uid_validity}\nUID: {uid}\n\n"
        f"The server did not hand out this email in {_TRIES_OF_MAIL} readings ({result.problem}), so it was passed over."
    )
    key = event_key("skipped", mailbox.id, mailbox.generation, mailbox.uid_validity, uid)
    skipped = Report(Meaning.UNKNOWN, key, kind=NOT_HANDED_OUT, raw=raw)
    record_event(mailbox.account_id, SOURCE, skipped, now=now)
    return True
