"""Saves drafts of the SMTP settings by the form, the validators and the limits of the page, and starts their checks.

A draft logs in with the password of the request, or with a saved one under the binding of ``settings.credentials``: to the
same server and user alone. The check tries it up to a test email to the contact. It stays a draft until a person activates it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ... import rate_limit
from ...accounts.team.contact import find_contact
from ...db import db
from ...settings import versions
from ...settings.checking import check_requests
from ...settings.drafts import submitted
from ...settings.models import CheckState, VersionState
from ...settings.validation import InvalidSettings
from ...web import owner_limits
from ..problems import FieldError, Problem, ProblemKind
from ..validation import invalid, validate_component
from .serializers import version_json

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, timedelta

    from ..tokens import Bearer

_NO_DRAFT = "This version is no draft of the API. People check their versions on the page Email Preferences."
_BUSY = "A check of another version has not ended. Wait for it, then send this again."


@dataclass(frozen=True)
class _TokenSaver:
    """The token, in place of the person who saves a version."""

    account_id: int
    name: str
    mailbox: str = ""


def save(bearer: Bearer, body: Any, *, now: datetime) -> dict[str, Any]:
    """Save a draft, which no check is requested for; return its version. Commits. Raises Problem."""
    if not isinstance(body, dict):
        raise invalid([FieldError("#", "A draft is an object with the fields of the SMTP settings.")])
    validate_component("SettingsDraft", body)
    values = {name: _text(value) for name, value in body.items()}
    try:
        entered = submitted.read(bearer.account_id, values)
    except InvalidSettings as error:
        raise invalid(_field_errors(error.errors)) from None
    try:
        owner_limits.count(owner_limits.API_DRAFTS, bearer.account_id, now=now)
    except owner_limits.LimitReached as limit:
        raise _too_many(limit.wait, str(limit)) from None
    saver = _TokenSaver(bearer.account_id, f"API token {bearer.name}")
    try:
        version = versions.save_draft(saver, entered, now=now, by_api=True)
    except InvalidSettings as error:
        raise invalid(_field_errors(error.errors)) from None
    return version_json(version)


def find(account_id: int, number: int) -> dict[str, Any] | None:
    """Return a version of the account, unless it is discarded."""
    version = versions.find(account_id, number)
    return version_json(version) if version else None


def check(account_id: int, number: int, *, now: datetime) -> dict[str, Any] | None:
    """Start a check of a draft of the API, unless one of it has not ended; None if there is no such version. Commits.

    It displaces no check that a person started. Raises Problem.
    """
    version = versions.find(account_id, number)
    if version is None:
        return None
    versions.lock_account(account_id)
    db.session.refresh(version)  # a person may have activated or discarded it before the lock
    if version.state is VersionState.DISCARDED:
        db.session.rollback()
        return None
    latest = check_requests.latest_check(version)
    if not version.waits_for_person:
        raise Problem(ProblemKind.NOT_CHECKED, _NO_DRAFT)
    if latest is not None and latest.state in (CheckState.WAITING, CheckState.RUNNING):
        return version_json(version)
    if check_requests.is_any_unfinished(account_id):
        raise Problem(ProblemKind.NOT_CHECKED, _BUSY)
    contact = find_contact(account_id)
    if contact is None:
        raise Problem(ProblemKind.NOT_CHECKED, "The programme has no contact, who would get the test email.")
    try:
        versions.check_again(contact, version, now=now)
    except check_requests.CheckLimitReached as limit:
        wait = rate_limit.wait(owner_limits.CHECKS, account_id, now=now)
        raise _too_many(wait, limit.errors[""]) from None
    return version_json(version)


def _text(value: Any) -> str:
    """Return a value as the page's form has it: a number as digits, a list with one entry on each line."""
    if isinstance(value, list):
        return "\n".join(value)
    return value if isinstance(value, str) else str(int(value))


def _field_errors(errors: Mapping[str, str]) -> list[FieldError]:
    return [FieldError(f"#/{name}" if name else "#", sentence) for name, sentence in sorted(errors.items())]


def _too_many(wait: timedelta, detail: str) -> Problem:
    seconds = max(1, math.ceil(wait.total_seconds()))
    return Problem(ProblemKind.TOO_MANY, detail, headers={"Retry-After": str(seconds)})
