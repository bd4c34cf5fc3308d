"""The operator's commands: keys, the outbox, operator rights, and a password reset link."""

from __future__ import annotations

import re
import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click
from flask.cli import AppGroup, with_appcontext

from ..clock import utcnow

if TYPE_CHECKING:
    from collections.abc import Callable

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class _Duration(click.ParamType["timedelta"]):
    """A duration such as 90s, 30m, 2h or 7d."""

    name = "age"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        found = re.fullmatch(r"([0-9]{1,6})([smhd])", value)
        if found is None:
            self.fail(f"{value!r} is no length of time; write 90s, 30m, 2h or 7d.", param, ctx)
        return timedelta(seconds=int(found[1]) * _UNITS[found[2]])


keys = AppGroup("keys", help="The keys that seal SMTP passwords: see what they seal, rotate them.")


@keys.command("new", with_appcontext=False)
def print_new_key() -> None:
    """Print a new key, to be put first in the keyring. Changes nothing."""
    from ..vault import new_key

    click.echo(new_key())


@keys.command("status")
@click.option("--json", "as_json", is_flag=True, help="Answer with JSON.")
def keys_status(as_json: bool) -> None:
    """Count the rows encrypted with each key, and check that they open."""
    from . import key_rotation

    sys.exit(key_rotation.status(as_json, click.echo))


@keys.command("rotate")
@click.option("--batch", type=click.IntRange(1, 10_000), default=100, help="Rows in one transaction.")
@click.option("--leave-shut", is_flag=True, help="Leave rows that do not open as they are.")
def rotate(batch: int, leave_shut: bool) -> None:
    """Seal everything under the first key. May be stopped and run again at any time."""
    from . import key_rotation

    sys.exit(key_rotation.rotate(batch=batch, leave=leave_shut, now=utcnow(), echo=click.echo))


outbox = AppGroup("outbox", help="Emails in the queue: show, retry, cancel or release them.")


@outbox.command("status")
@click.option("--json", "as_json", is_flag=True, help="Answer with one JSON object.")
def outbox_status(as_json: bool) -> None:
    """Show queued messages, stopped queues, workers, and the attempts of the last hour."""
    from . import outbox_report

    sys.exit(outbox_report.status(as_json, now=utcnow(), echo=click.echo))


def _selection_options(*statuses: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add the options that select messages to a command."""
    options = (
        click.option("--account", help="The account's name in /join/<name>; @portal: the portal's own mail."),
        click.option("--status", "statuses", multiple=True, type=click.Choice(statuses)),
        click.option(
            "--id", "message_ids", multiple=True, type=click.IntRange(1), help="A message; repeatable."
        ),
        click.option(
            "--older-than", type=_Duration(), help="Owed (release: held) for longer than 90s, 30m, 2h, 7d."
        ),
        click.option(
            "--all", "everything", is_flag=True, help="All of them: no other option narrows it down."
        ),
        click.option("--dry-run", is_flag=True, help="Print what would be done, and change nothing."),
    )

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


@outbox.command()
@_selection_options("failed", "queued", "cancelled")
def retry(dry_run: bool, **filters: Any) -> None:
    """Try messages again at once: failed ones and those that wait for their next attempt."""
    from ..outbox import admin
    from . import outbox_report

    sys.exit(
        outbox_report.apply(
            admin.retry, _selection(**filters), dry_run=dry_run, now=utcnow(), echo=click.echo
        )
    )


@outbox.command()
@_selection_options("queued", "held")
def cancel(dry_run: bool, **filters: Any) -> None:
    """Cancel waiting and held messages: they never leave."""
    from ..outbox import admin
    from . import outbox_report

    sys.exit(
        outbox_report.apply(
            admin.cancel, _selection(**filters), dry_run=dry_run, now=utcnow(), echo=click.echo
        )
    )


@outbox.command()
@_selection_options("held")
def release(dry_run: bool, **filters: Any) -> None:
    """Let held and paused queues move again at once. With --id: the queues of those messages."""
    from . import outbox_report

    sys.exit(outbox_report.release(_selection(**filters), dry_run=dry_run, now=utcnow(), echo=click.echo))


def _selection(
    account: str | None,
    statuses: tuple[str, ...],
    message_ids: tuple[int, ...],
    older_than: timedelta | None,
    everything: bool,
) -> Any:
    """Build the selection from the options. Without a filter --all is required, so that a typo cannot cancel all mail."""
    from ..accounts import identifiers
    from ..operations.report import OWN_MAIL
    from ..outbox.admin import MessageSelection
    from ..outbox.models import Status
    from ..outbox.queue import SYSTEM

    if everything == bool(account or statuses or message_ids or older_than):
        raise click.UsageError("Select by --account, --status, --id or --older-than, or everything by --all.")
    account_id = SYSTEM if account == OWN_MAIL else identifiers.find_account_id(account) if account else None
    if account and account_id is None:
        raise click.UsageError("No account has this name. It is the last part of /join/<name>.")
    before = utcnow() - older_than if older_than else None
    return MessageSelection(account_id, tuple(Status(one) for one in statuses), message_ids, before)


owners = AppGroup(
    "owners",
    help="Operators, people without a programme, lost second factors, and names of erased people in the audit trail.",
)


@owners.command()
@click.argument("mailbox")
def promote(mailbox: str) -> None:
    """Make an owner an operator, who sees the page Operator."""
    _set_operator(mailbox, True)


@owners.command()
@click.argument("mailbox")
def demote(mailbox: str) -> None:
    """Make an operator an owner like any other."""
    _set_operator(mailbox, False)


@owners.command("give-programme")
@click.argument("mailbox")
@click.argument("programme")
def give_programme(mailbox: str, programme: str) -> None:
    """Create an account for a person who has a log-in, such as one who was removed from the last programme."""
    from ..accounts.registration import RegistrationRefused
    from ..accounts.team import further
    from .owner_creation import describe

    try:
        owner = further.give_programme(mailbox, programme, now=utcnow())
    except RegistrationRefused as refused:
        raise click.ClickException(str(refused)) from None
    if owner is None:
        raise click.ClickException(_NO_OWNER)
    click.echo(describe(owner))


@owners.command("forget-name")
@click.argument("mailbox")
def forget_name(mailbox: str) -> None:
    """Empty a person's name in the audit trail, where the person asked to be erased. What was done stays."""
    from ..accounts import profile

    count = profile.forget_in_audit_trail(mailbox)
    if count is None:
        raise click.ClickException(_NO_OWNER)
    click.echo(f"The name was emptied in {count} entries of the audit trail.")


@owners.command("forget-second-factor")
@click.argument("mailbox")
def forget_second_factor(mailbox: str) -> None:
    """Remove the second factor of a person who has lost it, and end the person's sessions."""
    from ..accounts.factors import demanding

    try:
        found = demanding.forget(mailbox, now=utcnow())
    except demanding.NoFactor:
        raise click.ClickException("This person has no second factor.") from None
    if found is None:
        raise click.ClickException(_NO_OWNER)
    click.echo(f"{found} logs in with the password alone until a new second factor is set up.")


def _set_operator(mailbox: str, operator: bool) -> None:
    from ..accounts import profile

    owner = profile.set_operator(mailbox, operator=operator)
    if owner is None:
        raise click.ClickException(_NO_OWNER)
    click.echo(f"{owner.mailbox} is {'an operator now' if operator else 'no operator any more'}.")


@click.command("reset-link")
@click.argument("mailbox")
@with_appcontext
def reset_link(mailbox: str) -> None:
    """Print a link under which an owner chooses a new password; it works once, within an hour."""
    from ..accounts import password_reset

    link = password_reset.create_reset_link(mailbox, now=utcnow())
    if link is None:
        raise click.ClickException(_NO_OWNER)
    click.echo(link)


_NO_OWNER = "No owner has this email address."
COMMANDS = (keys, outbox, owners, reset_link)
