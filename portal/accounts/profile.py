"""Changes to an owner and the account: names, time zone, password, operator rights."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING
from zoneinfo import available_timezones

from sqlalchemy import select

from .. import audit
from ..audit.retention import PERSON, forget_person
from ..db import db
from ..languages import portal_language
from ..security_log import SecurityEvent, record
from . import login, sessions
from .factors.state import has_factor
from .identifiers import mailbox_key
from .login import WrongCredentials
from .models import Account, Owner, OwnerSession
from .password_reset import replace_password
from .passwords import check_password, hasher
from .team.programmes import account_of

if TYPE_CHECKING:
    from datetime import datetime

    from .sessions import LoggedIn

UTC = "UTC"
# The tz database also has outdated names, and names such as Etc/GMT+5, whose sign is inverted.
_REGIONS = (
    "Africa",
    "America",
    "Antarctica",
    "Arctic",
    "Asia",
    "Atlantic",
    "Australia",
    "Europe",
    "Indian",
    "Pacific",
)
Choices = dict[str, list[tuple[str, str]]]


def change_names(user: LoggedIn, *, programme: str | None, name: str) -> None:
    """Rename the person, and the programme unless it is None. Commits.

    The slug stays, because affiliates have shared links with it.
    """
    owner = db.session.get_one(Owner, user.id)
    if owner.name != name:
        owner.name = name
        audit.record(audit.Activity.NAME_CHANGED, user.account_id)
    account = db.session.get_one(Account, user.account_id)
    if programme is not None and account.name != programme:
        before, account.name = {"name": account.name}, programme
        audit.record(audit.Activity.PROGRAMME_SAVED, account.id, before=before, after={"name": programme})
    db.session.commit()


def change_time_zone(account_id: int, time_zone: str) -> None:
    """Set the time zone that the account's weeks end in. Commits."""
    account = db.session.get_one(Account, account_id)
    if account.time_zone != time_zone:
        before, account.time_zone = {"time_zone": account.time_zone}, time_zone
        audit.record(
            audit.Activity.PROGRAMME_SAVED, account_id, before=before, after={"time_zone": time_zone}
        )
    db.session.commit()


def change_language(owner_id: int, language: str) -> None:
    """Set the language in which a person sees the portal. Commits."""
    db.session.get_one(Owner, owner_id).language = portal_language(language).code
    db.session.commit()


def change_own_zone(owner_id: int, time_zone: str) -> None:
    """Set the time zone in which a person sees times; empty for that of the programme. Commits."""
    db.session.get_one(Owner, owner_id).time_zone = time_zone
    db.session.commit()


def switch_shortcuts(owner_id: int, *, on: bool) -> None:
    """Switch the keyboard shortcuts of a person on or off. Commits."""
    db.session.get_one(Owner, owner_id).has_shortcuts = on
    db.session.commit()


def change_password(user: LoggedIn, *, present: str, new: str, reset_link: str, now: datetime) -> str:
    """Change the password of an owner who knows the present one, and log out all other devices. Commits.

    Returns the session's new token: who copied the cookie is logged out as well.

    Attempts have a rate limit, so that a borrowed device is no way to guess the password. It is the session's own:
    another person's guesses at the log-in page do not count.

    Raises:
        WrongCredentials: ``present`` is not the owner's password.
        TooManyAttempts: the rate limit of the session is reached.
        PasswordRefused: the new password is not accepted.
    """
    owner = db.session.get_one(Owner, user.id)
    stored, about = owner.password_hash, (user.account.name, owner.name, owner.mailbox)
    key = owner.mailbox_key
    wait = login.count_password(user.session_id, now=now)
    db.session.commit()
    if wait:
        login.record_lock_out(login.PASSWORDS_PER_SESSION.name, wait)
        raise login.TooManyAttempts(wait)
    check_password(new, *about)
    if not hasher().verify(stored, present):
        audit.record_refusal(audit.Activity.PASSWORD_CHANGED, user.account_id, key=user.session_id)
        record(SecurityEvent.LOG_IN_FAILED, reason="present password")
        raise WrongCredentials
    hashed = hasher().hash(new)
    owner = db.session.get_one(Owner, user.id, with_for_update={"of": Owner})
    if owner.password_hash != stored:  # another device changed it since it was read
        db.session.rollback()
        raise WrongCredentials
    replace_password(owner, hashed, reset_link=reset_link, now=now)
    login.reset_attempts(key, now=now)
    sessions.revoke(OwnerSession.owner_id == user.id, OwnerSession.id != user.session_id, now=now)
    token = sessions.replace_token(user, is_proof=not has_factor(user.id), now=now)
    audit.record(audit.Activity.PASSWORD_CHANGED, user.account_id)
    db.session.commit()
    record(SecurityEvent.PASSWORD_CHANGED)
    return token


def set_operator(mailbox: str, *, operator: bool) -> Owner | None:
    """Make an owner an operator, or no longer; return None for an unknown mailbox. Commits."""
    owner = db.session.scalar(select(Owner).where(Owner.mailbox_key == mailbox_key(mailbox)))
    if owner is None:
        db.session.rollback()
        return None
    owner.is_operator = operator
    action = audit.Activity.OPERATOR_PROMOTED if operator else audit.Activity.OPERATOR_DEMOTED
    audit.record(action, account_of(owner.id), target=audit.AuditTarget(PERSON, owner.id, owner.name))
    concerned = {"account": owner.account_id, "owner": owner.id}
    db.session.commit()
    record(SecurityEvent.OPERATOR_PROMOTED if operator else SecurityEvent.OPERATOR_DEMOTED, **concerned)
    return owner


def forget_in_audit_trail(mailbox: str) -> int | None:
    """Empty a person's name in the audit trail; return in how many rows, or None for an unknown mailbox. Commits."""
    owner = db.session.scalar(select(Owner).where(Owner.mailbox_key == mailbox_key(mailbox)))
    if owner is None:
        db.session.rollback()
        return None
    audit.record(audit.Activity.NAME_EMPTIED, None, target=audit.AuditTarget(PERSON, owner.id))
    return forget_person(owner.id)  # commits both


def time_zone_choices(current: str) -> Choices:
    """Return value and label of each time zone, by region.

    ``current`` is always among them, even where this machine's tz database lacks it.
    """
    choices: Choices = {"Everywhere": [(UTC, "UTC")]}
    for region, place in _places():
        label = ", ".join(reversed(place.split("/"))).replace("_", " ")
        choices.setdefault(region, []).append((f"{region}/{place}", label))
    if current not in {value for zones in choices.values() for value, _ in zones}:
        choices["Everywhere"].append((current, current))
    return choices


@cache
def _places() -> tuple[tuple[str, str], ...]:
    names = (name.partition("/") for name in sorted(available_timezones()))
    return tuple((region, place) for region, slash, place in names if slash and region in _REGIONS)
