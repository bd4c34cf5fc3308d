"""``flask create-owner``: creates an account and its owner. The password is prompted for, or chosen later by a link.

An option for the password would show it to every user of the machine (``ps``) and keep it in the shell's history.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ..accounts import password_reset
from ..accounts.passwords import PasswordRefused
from ..accounts.profile import set_operator
from ..accounts.registration import RegistrationRefused, create_owner
from ..accounts.tokens import new_token
from ..clock import utcnow

if TYPE_CHECKING:
    from ..accounts.models import Owner


def run(programme: str, name: str, mailbox: str, *, is_operator: bool, by_link: bool) -> None:
    """Create the owner. Raises ClickException with the reason if a value is refused."""
    password = new_token() if by_link else click.prompt("Password", hide_input=True, confirmation_prompt=True)
    try:
        owner = create_owner(programme, name, mailbox, password, now=utcnow())
    except (RegistrationRefused, PasswordRefused) as refused:
        raise click.ClickException(str(refused)) from None
    created, sentence = owner.mailbox, describe(owner)
    if is_operator:
        set_operator(created, operator=True)
    click.echo(sentence)
    if by_link:
        link = password_reset.create_reset_link(created, now=utcnow())
        click.echo(
            f"Under this link the owner chooses a password, once, within an hour:\n{link}\n"
            f"For a new link run: flask reset-link {created}"
        )


def describe(owner: Owner) -> str:
    """Return what a command prints of an account that it has created."""
    return f"{owner.mailbox} owns {owner.account.name}; its sign-up page is /join/{owner.account.slug}"
