"""The portal's emails about a person's second factor: each change, each recovery code, and guesses. In the person's language."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask_babel import gettext as _
from flask_babel import ngettext

from ...db import db
from ...outbox.queue import NewMessage, enqueue_row
from ...state import current_config
from ...web.translations import speaking_to
from ..emails import join, letter
from ..models import Owner
from ..tokens import hash_token, new_token

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    Content = tuple[str, ...]  # subject and paragraphs

_FEW_CODES = 3


def app_added(owner_id: int, *, now: datetime) -> None:
    """Inform a person that an authenticator app was set up. The caller commits."""
    _send(
        owner_id,
        lambda: (
            _("An authenticator app was set up"),
            _(
                "An authenticator app was set up for your log-in. After your password, a log-in now asks for one of its codes."
            ),
            _not_you(),
        ),
        now,
    )


def app_removed(owner_id: int, *, now: datetime) -> None:
    """Inform a person that the authenticator app was removed. The caller commits."""
    _send(
        owner_id,
        lambda: (
            _("The authenticator app was removed"),
            _("The authenticator app was removed from your log-in. Its codes no longer work."),
            _not_you(),
        ),
        now,
    )


def passkey_added(owner_id: int, name: str, *, now: datetime) -> None:
    """Inform a person of a new passkey. The caller commits."""
    _send(
        owner_id,
        lambda: (
            _("A passkey was added"),
            _(
                "A passkey was added to your log-in: %(name)s. It logs you in without your password.",
                name=name,
            ),
            _not_you(),
        ),
        now,
    )


def passkey_removed(owner_id: int, name: str, *, now: datetime) -> None:
    """Inform a person that a passkey was removed. The caller commits."""
    _send(
        owner_id,
        lambda: (
            _("A passkey was removed"),
            _("A passkey was removed from your log-in: %(name)s.", name=name),
            _not_you(),
        ),
        now,
    )


def codes_made(owner_id: int, *, now: datetime) -> None:
    """Inform a person that there are new recovery codes. The caller commits."""
    _send(
        owner_id,
        lambda: (
            _("New recovery codes were created"),
            _("New recovery codes were created for your log-in. Earlier ones no longer work."),
            _not_you(),
        ),
        now,
    )


def code_used(owner_id: int, left: int, *, now: datetime) -> None:
    """Inform a person that a recovery code was used, and how many are left. The caller commits."""
    _send(
        owner_id,
        lambda: (
            _("A recovery code was used"),
            join(_("A recovery code was used for your log-in."), _codes_left(left)),
            *((_("Create new codes on the page Second factor."),) if left <= _FEW_CODES else ()),
            _not_you(),
        ),
        now,
    )


def reset_by(owner_id: int, who: tuple[str, str] | None, *, now: datetime) -> None:
    """Inform a person that the second factor was removed. The caller commits.

    ``who`` names the owner who removed it, and the programme; None stands for the operator.
    """

    def by() -> str:
        if who is None:
            return _("The operator of the portal removed your second factor.")
        return _(
            "%(name)s, an owner of %(programme)s, removed your second factor.", name=who[0], programme=who[1]
        )

    _send(
        owner_id,
        lambda: (
            _("Your second factor was removed"),
            join(by(), _("Your passkeys, your authenticator app and your recovery codes no longer work.")),
            _(
                "You are logged out everywhere. Your next log-in asks for your password alone. Set up a new second factor then."
            ),
            _not_you(),
        ),
        now,
    )


def wrong_codes(owner_id: int, *, now: datetime) -> None:
    """Inform a person that a log-in with the right password ended after wrong codes. The caller commits."""
    _send(
        owner_id,
        lambda: (
            _("Wrong codes after your password"),
            _("Your password was entered, and then several wrong codes. The log-in was refused."),
            _("If it was not you, another person has your password. Choose a new one at once."),
        ),
        now,
    )


def _codes_left(left: int) -> str:
    return (
        ngettext("%(num)s code is left.", "%(num)s codes are left.", left) if left else _("No code is left.")
    )


def _not_you() -> str:
    return _(
        "If it was not you, change your password at once, and log out all other devices on the page "
        "Account. A new password does not end passkeys: on the page Second factor, remove what is not "
        "yours and create new recovery codes."
    )


def _send(owner_id: int, content: Callable[[], Content], now: datetime) -> None:
    if not current_config().platform.server:
        return
    owner, kind = db.session.get_one(Owner, owner_id), "second-factor"
    with speaking_to(owner.language):
        subject, *paragraphs = content()
        text = letter(*paragraphs)
    key = f"{kind}:{hash_token(new_token())}"
    enqueue_row(
        None,
        NewMessage(kind=kind, key=key, recipient=owner.mailbox, subject=subject, text=text),
        now=now,
    )
