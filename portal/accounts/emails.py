"""The portal's own emails to owners. None contains text typed by an unconfirmed visitor, which could be spam."""

from __future__ import annotations

from ..outbox.queue import NewMessage

_ALLOWED = {
    "events": "report events and read their emails",
    "sending": "read the sending status",
    "affiliates": "add, read, change and erase affiliates",
    "settings": "save drafts of the SMTP settings and check them",
}  # by the scope of a token
_IGNORE = "If you did not ask for this, you need not do anything."


def confirm_registration(mailbox: str, token_hash: str, link: str) -> NewMessage:
    """Ask the reader of a mailbox to confirm a registration."""
    text = f"""Hello,

somebody, we hope you, has registered an affiliate programme with Signet at this email address.
To complete the registration, open this page and press the button:

{link}

The link works for 24 hours. {_IGNORE}

Signet
"""
    return _message(
        "confirm-registration", token_hash, mailbox, "Confirm your registration with Signet", text
    )


def already_registered(mailbox: str, token_hash: str, link: str) -> NewMessage:
    """Inform an owner that the mailbox is registered already; the page must not reveal it."""
    text = f"""Hello,

somebody, perhaps you, tried to register with Signet at this email address.
You are registered already, so nothing was changed. Log in, or choose a new password, here:

{link}

{_IGNORE}

Signet
"""
    return _message("already-registered", token_hash, mailbox, "You are registered with Signet already", text)


def reset_password(mailbox: str, token_hash: str, link: str) -> NewMessage:
    """Send the link for choosing a new password."""
    text = f"""Hello,

a new password was asked for, for the owner with this email address.
To choose one, open this page:

{link}

The link works once, within the next hour. {_IGNORE}
Your present password goes on working until you choose a new one.

Signet
"""
    return _message("password-reset", token_hash, mailbox, "Choose a new password for Signet", text)


def password_changed(mailbox: str, token_hash: str, link: str) -> NewMessage:
    """Inform an owner that the password was changed, in case someone else did it."""
    text = f"""Hello,

your password for Signet was changed.
If that was you, you need not do anything. If not, choose a new one at once, here:

{link}

Signet
"""
    return _message("password-changed", token_hash, mailbox, "Your password for Signet was changed", text)


def confirm_new_mailbox(mailbox: str, token_hash: str, link: str) -> NewMessage:
    """Ask the reader of a mailbox to confirm it as the one of a log-in."""
    text = f"""Hello,

this email address was entered for a log-in to Signet.
To log in with it from now on, open this page where you are logged in, and press the button:

{link}

The link works once, within 24 hours. {_IGNORE}

Signet
"""
    return _message(
        "confirm-new-mailbox", token_hash, mailbox, "Confirm your new email address for Signet", text
    )


def mailbox_in_use(mailbox: str, token_hash: str) -> NewMessage:
    """Inform an owner that the mailbox was entered for another log-in; the page must not reveal that it is registered."""
    text = f"""Hello,

this email address was entered for another log-in to Signet.
You log in with it already, so nothing was changed. One address belongs to one log-in.

{_IGNORE}

Signet
"""
    return _message(
        "mailbox-in-use", token_hash, mailbox, "You log in to Signet with this address already", text
    )


def mailbox_changed(mailbox: str, token_hash: str, link: str) -> NewMessage:
    """Inform the reader of the former mailbox that the log-in has another one, with the link that undoes it."""
    text = f"""Hello,

the email address of your log-in to Signet was changed. This address no longer opens it.
If that was you, you need not do anything. If not, open this page at once and press the button:

{link}

It brings this address back, logs out every device, and lets you choose a new password. The link works within 7 days.

Signet
"""
    return _message(
        "mailbox-changed", token_hash, mailbox, "The email address of your log-in was changed", text
    )


def confirm_mailbox(mailbox: str, token_hash: str, link: str, programme: str) -> NewMessage:
    """Ask the reader of a mailbox whether it shall get the emails to a programme's owner.

    ``programme`` is empty where no operator has approved the account: then its name is a visitor's text.
    """
    whose = f"the affiliate programme {programme}" if programme else "an affiliate programme"
    text = f"""Hello,

the owner of {whose} wants this email address to get the emails to the owner.
To agree, open this page and press the button:

{link}

The link works for 7 days. Without the button, this address gets nothing more. {_IGNORE}

Signet
"""
    return _message(
        "confirm-mailbox", token_hash, mailbox, "Confirm your address for emails from Signet", text
    )


def invite_to_team(mailbox: str, token_hash: str, link: str, programme: str) -> NewMessage:
    """Invite the reader of a mailbox into the team of a programme.

    ``programme`` is empty where no operator has approved the account: then its name is a visitor's text.
    """
    whose = f"the affiliate programme {programme}" if programme else "an affiliate programme"
    text = f"""Hello,

an owner of {whose} invites you to work on it with Signet.
To see which role you get, and to join, open this page:

{link}

The link is for this email address only and works once, within 7 days. {_IGNORE}

Signet
"""
    return _message("team-invitation", token_hash, mailbox, "An invitation to a team on Signet", text)


def offer_ownership(mailbox: str, token_hash: str, link: str, programme: str) -> NewMessage:
    """Offer a member of a team the ownership of one of its owners. ``programme`` as above."""
    whose = f"the affiliate programme {programme}" if programme else "an affiliate programme"
    text = f"""Hello,

an owner of {whose} offers you the ownership.
If you accept, you become an owner, and that person becomes an editor. To decide, open this page:

{link}

The link is for this email address only and works once, within 7 days. Without the button nothing changes.

Signet
"""
    return _message(
        "team-handover", token_hash, mailbox, "You are offered the ownership of a programme", text
    )


def ownership_moved(mailbox: str, key: str, programme: str) -> NewMessage:
    """Inform giver and taker that an ownership was handed over."""
    text = f"""Hello,

the ownership of the affiliate programme {programme} was handed over, as its owner had offered.
The page Team shows who owns the programme now.

Signet
"""
    return _message("team-handed-over", key, mailbox, "The ownership was handed over", text)


def new_device(mailbox: str, key: str, where: str, link: str) -> NewMessage:
    """Inform a person of a log-in in a browser that they have not used before. ``where``: device, network and time."""
    text = f"""Hello,

you have logged in to Signet in a browser that was not used for it before:

{where}

If that was you, you need not do anything. If not, choose a new password at once, which logs out every device:

{link}

Signet
"""
    return _message("new-device", key, mailbox, "A log-in to Signet from a new device", text)


def server_changed(mailbox: str, key: str, programme: str, link: str) -> NewMessage:
    """Inform an owner that emails leave by another server or user from now on. ``programme`` as for ``invite_to_team``."""
    text = f"""Hello,

the emails of {_whose(programme)} leave by another SMTP server, or with another username there, from now on.
This page shows who changed it, and the settings before and after:

{link}

Signet
"""
    return _message("server-changed", key, mailbox, "The SMTP settings of your emails were changed", text)


def token_created(mailbox: str, key: str, programme: str, link: str, *, scope: str) -> NewMessage:
    """Inform an owner of a new API token and its scope. ``programme`` as for ``invite_to_team``."""
    text = f"""Hello,

an API token with the scope {scope} was created for {_whose(programme)}.
A program that has the token can {_ALLOWED[scope]}. This page shows who created it:

{link}

Signet
"""
    return _message("token-created", key, mailbox, "A new API token for your programme", text)


def role_changed(mailbox: str, key: str, programme: str, role: str) -> NewMessage:
    """Inform a person of another role. ``programme`` as for ``invite_to_team``."""
    article = "a" if role == "viewer" else "an"
    text = f"""Hello,

an owner of {_whose(programme)} gave you another role: you are {article} {role} now.
The page Team shows what each role includes.

Signet
"""
    return _message("team-role-changed", key, mailbox, "Your role in a team on Signet was changed", text)


def removed_from_team(mailbox: str, key: str, programme: str) -> NewMessage:
    """Inform a person of their removal from a team. ``programme`` as for ``invite_to_team``."""
    text = f"""Hello,

an owner of {_whose(programme)} removed you from its team. You see nothing of it any more.
To come back, you need an invitation.

Signet
"""
    return _message("team-removed", key, mailbox, "You were removed from a team on Signet", text)


def _whose(programme: str) -> str:
    return f"the affiliate programme {programme}" if programme else "an affiliate programme"


def _message(kind: str, token_hash: str, mailbox: str, subject: str, text: str) -> NewMessage:
    # The key contains the hash of the token. The token itself is only in the text, which is stored sealed.
    return NewMessage(kind=kind, key=f"{kind}:{token_hash}", recipient=mailbox, subject=subject, text=text)
