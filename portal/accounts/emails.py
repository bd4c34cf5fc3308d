"""The portal's own emails to owners. None contains text typed by an unconfirmed visitor, which could be spam.

Each is in the language of the enclosing ``speaking_to``, or of the page. ``programme`` is empty where no operator has approved
the account: then its name is a visitor's text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask_babel import gettext as _
from flask_babel import lazy_gettext

from ..outbox.queue import NewMessage
from .team.rights import Role

if TYPE_CHECKING:
    from collections.abc import Mapping

_ALLOWED: Mapping[str, str] = {
    "events": lazy_gettext("With this token, a program can report events and read their emails."),
    "sending": lazy_gettext("With this token, a program can read the sending status."),
    "affiliates": lazy_gettext("With this token, a program can add, read, change and erase affiliates."),
    "settings": lazy_gettext(
        "With this token, a program can save drafts of the SMTP settings and check them."
    ),
}  # by the scope of a token
_NEW_ROLES: Mapping[str, str] = {
    Role.OWNER: lazy_gettext("An owner of %(whose)s gave you another role. You are now an owner."),
    Role.EDITOR: lazy_gettext("An owner of %(whose)s gave you another role. You are now an editor."),
    Role.VIEWER: lazy_gettext("An owner of %(whose)s gave you another role. You are now a viewer."),
}


def confirm_registration(mailbox: str, token_hash: str, link: str) -> NewMessage:
    """Ask the reader of a mailbox to confirm a registration."""
    return _message(
        "confirm-registration",
        token_hash,
        mailbox,
        _("Confirm your registration with Signet"),
        _(
            "An affiliate programme was registered with Signet for this email address. To complete "
            "the registration, open this page and press the button:"
        ),
        link,
        join(_("The link works for 24 hours."), _ignore()),
    )


def already_registered(mailbox: str, token_hash: str, link: str) -> NewMessage:
    """Inform an owner that the mailbox is registered already; the page must not reveal it."""
    return _message(
        "already-registered",
        token_hash,
        mailbox,
        _("You are already registered with Signet"),
        _(
            "This email address was entered to register with Signet. You are already registered, so "
            "nothing has changed. Log in or choose a new password here:"
        ),
        link,
        join(_("To register another programme, log in and open Account."), _ignore()),
    )


def reset_password(mailbox: str, token_hash: str, link: str) -> NewMessage:
    """Send the link for choosing a new password."""
    return _message(
        "password-reset",
        token_hash,
        mailbox,
        _("Choose a new password for Signet"),
        _("A new password was requested for your log-in to Signet. To choose one, open this page:"),
        link,
        join(_("The link works once, within the next hour."), _ignore()),
        _("Your current password keeps working until you choose a new one."),
    )


def password_changed(mailbox: str, token_hash: str, link: str) -> NewMessage:
    """Inform an owner that the password was changed, in case someone else did it."""
    return _message(
        "password-changed",
        token_hash,
        mailbox,
        _("Your password for Signet was changed"),
        _("Your password for Signet was changed."),
        _("If it was you, you do not need to do anything. If not, choose a new password at once:"),
        link,
    )


def confirm_new_mailbox(mailbox: str, token_hash: str, link: str) -> NewMessage:
    """Ask the reader of a mailbox to confirm it as the one of a log-in."""
    return _message(
        "confirm-new-mailbox",
        token_hash,
        mailbox,
        _("Confirm your new email address for Signet"),
        _(
            "This email address was entered for a log-in to Signet. To log in with it, open this page "
            "where you are logged in and press the button:"
        ),
        link,
        join(_("The link works once, within 24 hours."), _ignore()),
    )


def mailbox_in_use(mailbox: str, token_hash: str) -> NewMessage:
    """Inform an owner that the mailbox was entered for another log-in; the page must not reveal that it is registered."""
    return _message(
        "mailbox-in-use",
        token_hash,
        mailbox,
        _("You already log in to Signet with this address"),
        _(
            "This email address was entered for another log-in to Signet. An address can belong to "
            "only one log-in, and you already log in with it. Nothing has changed."
        ),
        _ignore(),
    )


def mailbox_changed(mailbox: str, token_hash: str, link: str) -> NewMessage:
    """Inform the reader of the former mailbox that the log-in has another one, with the link that undoes it."""
    return _message(
        "mailbox-changed",
        token_hash,
        mailbox,
        _("The email address of your log-in was changed"),
        _("Your log-in to Signet has a new email address. You can no longer log in with this one."),
        _(
            "If it was you, you do not need to do anything. If not, open this page at once and press the button:"
        ),
        link,
        _(
            "The button brings this address back and logs out every device. Then you choose a new "
            "password. The link works for 7 days."
        ),
        _(
            "Second factors, API tokens and open invitations that were made in your name on the day before the change "
            "or since then end, too."
        ),
    )


def confirm_mailbox(mailbox: str, token_hash: str, link: str, programme: str) -> NewMessage:
    """Ask the reader of a mailbox to agree to the emails to a programme's owner."""
    return _message(
        "confirm-mailbox",
        token_hash,
        mailbox,
        _("Confirm your address for emails from Signet"),
        _(
            "The owner of %(whose)s wants to send emails about the programme to this address. To "
            "agree, open this page and press the button:",
            whose=_whose(programme),
        ),
        link,
        join(
            _("The link works for 7 days. Without your agreement, this address gets none of these emails."),
            _ignore(),
        ),
    )


def invite_to_team(mailbox: str, token_hash: str, link: str, programme: str) -> NewMessage:
    """Invite the reader of a mailbox into the team of a programme."""
    return _message(
        "team-invitation",
        token_hash,
        mailbox,
        _("You are invited to a team on Signet"),
        _(
            "An owner of %(whose)s invites you to work on it with Signet. To see your role and to join, open this page:",
            whose=_whose(programme),
        ),
        link,
        join(_one_person(), _("If you do not want to join, ignore this email.")),
    )


def offer_ownership(mailbox: str, token_hash: str, link: str, programme: str) -> NewMessage:
    """Offer a member of a team the ownership of one of its owners."""
    return _message(
        "team-handover",
        token_hash,
        mailbox,
        _("You are offered the ownership of a programme"),
        _(
            "An owner of %(whose)s offers you the ownership. If you accept, you become an owner, and "
            "that person becomes an editor. To decide, open this page:",
            whose=_whose(programme),
        ),
        link,
        join(_one_person(), _("Nothing changes until you accept.")),
    )


def ownership_moved(mailbox: str, key: str, programme: str) -> NewMessage:
    """Inform giver and taker that an ownership was handed over."""
    return _message(
        "team-handed-over",
        key,
        mailbox,
        _("The ownership was handed over"),
        _(
            "An owner of %(whose)s offered the ownership, and it was accepted. The page Team shows who owns the programme now.",
            whose=_whose(programme),
        ),
    )


def new_device(mailbox: str, key: str, where: str, link: str) -> NewMessage:
    """Inform a person of a log-in in a browser that they have not used before. ``where``: device, network and time."""
    return _message(
        "new-device",
        key,
        mailbox,
        _("A log-in to Signet from a new device"),
        _("You have logged in to Signet with a browser that is new to your log-in:"),
        where,
        _(
            "If it was you, you do not need to do anything. If not, choose a new password at once. It logs out every device:"
        ),
        link,
    )


def server_changed(mailbox: str, key: str, programme: str, link: str) -> NewMessage:
    """Inform an owner that emails leave by another server or user from now on."""
    return _message(
        "server-changed",
        key,
        mailbox,
        _("The SMTP settings of your emails were changed"),
        _(
            "The emails of %(whose)s now leave by another SMTP server, or with another username. This "
            "page shows who changed it, and the settings before and after:",
            whose=_whose(programme),
        ),
        link,
    )


def token_created(mailbox: str, key: str, programme: str, link: str, *, scope: str) -> NewMessage:
    """Inform an owner of a new API token and its scope."""
    return _message(
        "token-created",
        key,
        mailbox,
        _("A new API token for your programme"),
        _(
            "An API token of %(whose)s was created, with the scope %(scope)s.",
            whose=_whose(programme),
            scope=scope,
        ),
        join(str(_ALLOWED[scope]), _("This page shows who created it:")),
        link,
    )


def role_changed(mailbox: str, key: str, programme: str, role: str) -> NewMessage:
    """Inform a person of another role."""
    return _message(
        "team-role-changed",
        key,
        mailbox,
        _("Your role in a team on Signet was changed"),
        join(
            str(_NEW_ROLES[role]) % {"whose": _whose(programme)},
            _("The page Team shows what each role includes."),
        ),
    )


def removed_from_team(mailbox: str, key: str, programme: str) -> NewMessage:
    """Inform a person of their removal from a team."""
    return _message(
        "team-removed",
        key,
        mailbox,
        _("You were removed from a team on Signet"),
        _(
            "An owner of %(whose)s removed you from its team. You no longer have access to it. To "
            "come back, you need an invitation.",
            whose=_whose(programme),
        ),
    )


def _whose(programme: str) -> str:
    """Return what follows "of": in German a dative, after "von"."""
    return (
        _("the affiliate programme %(programme)s", programme=programme)
        if programme
        else _("an affiliate programme")
    )


def _ignore() -> str:
    return _("If you did not ask for this, ignore this email.")


def _one_person() -> str:
    return _("The link works once, within 7 days, and only for this email address.")


def _message(kind: str, token_hash: str, mailbox: str, subject: str, *paragraphs: str) -> NewMessage:
    # The key contains the hash of the token. The token itself is only in the text, which is stored sealed.
    return NewMessage(
        kind=kind,
        key=f"{kind}:{token_hash}",
        recipient=mailbox,
        subject=subject,
        text=letter(*paragraphs),
    )


def join(*sentences: str) -> str:
    """Return a paragraph of these sentences."""
    return " ".join(sentences)


def letter(*paragraphs: str) -> str:
    """Return a plain text email. A paragraph is one line, because mail programs wrap lines."""
    return "\n\n".join((_("Hello,"), *paragraphs, "Signet")) + "\n"
