"""The portal's own mails to owners. None holds a word that an unproved visitor typed: it could be spam."""

from __future__ import annotations

from ..outbox.queue import NewMessage

_NOBODY = "If you did not ask for this, you need not do anything."


def confirm_registration(mailbox: str, ident: str, link: str) -> NewMessage:
    """Ask whether whoever reads this mailbox has registered."""
    text = f"""Hello,

somebody, we hope you, has registered an affiliate programme with Signet at this email address.
To complete the registration, open this page and press the button:

{link}

The link works for 24 hours. {_NOBODY}

Signet
"""
    return _message("confirm-registration", ident, mailbox, "Confirm your registration with Signet", text)


def already_registered(mailbox: str, ident: str, link: str) -> NewMessage:
    """Tell an owner that the mailbox is in use, since the page must not."""
    text = f"""Hello,

somebody, perhaps you, tried to register with Signet at this email address.
You are registered already, so nothing was changed. Log in, or choose a new password, here:

{link}

{_NOBODY}

Signet
"""
    return _message("already-registered", ident, mailbox, "You are registered with Signet already", text)


def reset_password(mailbox: str, ident: str, link: str) -> NewMessage:
    """Send the link under which a new password is chosen."""
    text = f"""Hello,

a new password was asked for, for the owner with this email address.
To choose one, open this page:

{link}

The link works once, within the next hour. {_NOBODY}
Your present password goes on working until you choose a new one.

Signet
"""
    return _message("password-reset", ident, mailbox, "Choose a new password for Signet", text)


def password_changed(mailbox: str, ident: str, link: str) -> NewMessage:
    """Tell an owner that the password was changed, lest somebody else did it."""
    text = f"""Hello,

your password for Signet was changed.
If that was you, you need not do anything. If not, choose a new one at once, here:

{link}

Signet
"""
    return _message("password-changed", ident, mailbox, "Your password for Signet was changed", text)


def _message(kind: str, ident: str, mailbox: str, subject: str, text: str) -> NewMessage:
    # The key is made from the hash of the token: the token itself is nowhere but in the sealed text.
    return NewMessage(kind=kind, key=f"{kind}:{ident}", recipient=mailbox, subject=subject, text=text)
