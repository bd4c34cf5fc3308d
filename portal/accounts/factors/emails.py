"""The portal's emails about a person's second factor: each change, each recovery code, and guesses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...db import db
from ...outbox.queue import NewMessage, enqueue_row
from ...state import current_config
from ..models import Owner
from ..tokens import hash_token, new_token

if TYPE_CHECKING:
    from datetime import datetime

_NOT_YOU = """If that was not you, change your password at once, log out all other devices on the page Account, and on the page
Second factor remove what is not yours and make new recovery codes: a new password ends no passkey."""


def app_added(owner_id: int, *, now: datetime) -> None:
    """Inform a person that an authenticator app was set up. The caller commits."""
    text = "an authenticator app was set up for your log-in. From now on, a log-in asks for one of its codes."
    _send(owner_id, "An authenticator app was set up", f"{text}\n{_NOT_YOU}", now)


def app_removed(owner_id: int, *, now: datetime) -> None:
    """Inform a person that the authenticator app was removed. The caller commits."""
    text = "the authenticator app was removed from your log-in. Its codes count no more."
    _send(owner_id, "The authenticator app was removed", f"{text}\n{_NOT_YOU}", now)


def passkey_added(owner_id: int, name: str, *, now: datetime) -> None:
    """Inform a person of a new passkey. The caller commits."""
    text = f"a passkey was added to your log-in: {name}. It logs you in without your password."
    _send(owner_id, "A passkey was added", f"{text}\n{_NOT_YOU}", now)


def passkey_removed(owner_id: int, name: str, *, now: datetime) -> None:
    """Inform a person that a passkey was removed. The caller commits."""
    text = f"a passkey was removed from your log-in: {name}."
    _send(owner_id, "A passkey was removed", f"{text}\n{_NOT_YOU}", now)


def codes_made(owner_id: int, *, now: datetime) -> None:
    """Inform a person that there are new recovery codes. The caller commits."""
    text = "new recovery codes were made for your log-in. The former ones count no more."
    _send(owner_id, "New recovery codes were made", f"{text}\n{_NOT_YOU}", now)


def code_used(owner_id: int, left: int, *, now: datetime) -> None:
    """Inform a person that a recovery code was used, and how many are left. The caller commits."""
    codes = "None is left." if not left else "1 is left." if left == 1 else f"{left} are left."
    text = f"a recovery code was used for your log-in. {codes}"
    more = "You get new ones on the page Second factor.\n" if left <= 3 else ""
    _send(owner_id, "A recovery code was used", f"{text}\n{more}{_NOT_YOU}", now)


def reset_by(owner_id: int, who: str, *, now: datetime) -> None:
    """Inform a person that the second factor was removed by ``who``. The caller commits."""
    text = f"""your second factor was removed by {who}: passkeys, the authenticator app and all recovery codes count no more.
You are logged out everywhere. The next log-in asks for your password alone; set up a new second factor then."""
    _send(owner_id, "Your second factor was removed", f"{text}\n\n{_NOT_YOU}", now)


def wrong_codes(owner_id: int, *, now: datetime) -> None:
    """Inform a person that a log-in with the right password ended after wrong codes. The caller commits."""
    text = """somebody entered your password and then several wrong codes. The log-in was refused.
If that was not you, somebody knows your password. Choose a new one at once."""
    _send(owner_id, "Wrong codes after your password", text, now)


def _send(owner_id: int, subject: str, text: str, now: datetime) -> None:
    if not current_config().platform.server:
        return
    mailbox, key = db.session.get_one(Owner, owner_id).mailbox, hash_token(new_token())
    body = f"Hello,\n\n{text}\n\nSignet\n"
    kind = "second-factor"
    enqueue_row(
        None,
        NewMessage(kind=kind, key=f"{kind}:{key}", recipient=mailbox, subject=subject, text=body),
        now=now,
    )
