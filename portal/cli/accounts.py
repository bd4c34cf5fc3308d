"""``flask accounts``: lists accounts, and approves, suspends, resumes and invites."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import click
from flask.cli import AppGroup

from ..clock import utcnow

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..operations.accounts import AccountRow

_DONE, _NOT_DONE = 0, 1
_NO_ACCOUNT = "No account has this name. It is the last part of /join/<name>."

accounts = AppGroup("accounts", help="Accounts: list, approve, suspend, resume, invite.")
_as_json = click.option("--json", "as_json", is_flag=True, help="Answer with JSON.")


@accounts.command("list")
@_as_json
def list_accounts(as_json: bool) -> None:
    """List the accounts, newest first: state, sender, emails and failures of 24 hours."""
    from ..operations import accounts as report

    rows = report.list_all(utcnow())
    if as_json:
        click.echo(json.dumps([one.as_dict() for one in rows]))
        return
    for one in rows:
        click.echo(_line(one))


@accounts.command()
@click.argument("account")
@_as_json
def approve(account: str, as_json: bool) -> None:
    """Approve an account, so that it may send its own texts through the platform's sender."""
    from ..accounts import standing

    _apply(account, as_json, lambda id_: standing.approve(id_, now=utcnow()), "approved", "approved already")


@accounts.command()
@click.argument("account")
@click.option("--reason", default="", help="Why, for its owners to read.")
@_as_json
def suspend(account: str, reason: str, as_json: bool) -> None:
    """Suspend an account: its emails wait, and its sign-up page closes."""
    from ..accounts import standing

    def run(account_id: int) -> bool:
        return standing.suspend(account_id, reason=reason, now=utcnow())

    _apply(account, as_json, run, "suspended", "suspended already")


@accounts.command()
@click.argument("account")
@_as_json
def resume(account: str, as_json: bool) -> None:
    """End the suspension of an account; what waited leaves."""
    from ..accounts import standing

    _apply(account, as_json, standing.resume, "active again", "not suspended")


@accounts.command()
@click.argument("mailbox")
@_as_json
def invite(mailbox: str, as_json: bool) -> None:
    """Print a link with which the reader of a mailbox registers; it works once, within 7 days."""
    from ..accounts import invitations
    from ..accounts.registration import RegistrationRefused

    try:
        link = invitations.invite(mailbox, link=invitations.link_to, now=utcnow())
    except RegistrationRefused as error:
        raise click.ClickException(str(error)) from None
    click.echo(json.dumps({"mailbox": mailbox, "link": link}) if as_json else link)


def _apply(account: str, as_json: bool, run: Callable[[int], bool], done: str, not_done: str) -> None:
    """Change the standing of an account, print what it is now, and exit with 1 if nothing changed."""
    from ..accounts import identifiers

    account_id = identifiers.find_account_id(account)
    if account_id is None:
        raise click.ClickException(_NO_ACCOUNT)
    changed = run(account_id)
    result = done if changed else not_done
    if as_json:
        click.echo(json.dumps({"account": account, "changed": changed, "result": result}))
    else:
        click.echo(f"{account} is {result}.")
    sys.exit(_DONE if changed else _NOT_DONE)


def _line(one: AccountRow) -> str:
    approved = "approved" if one.is_approved else "not approved"
    sender = f"{one.sender or 'no sender'}{' (platform)' if one.uses_platform else ''}"
    figures = f"sent {one.sent}, failed {one.failed} in 24 h"
    return f"{one.slug}  {one.state}  {approved}  {one.owner}  {sender}  {figures}"
