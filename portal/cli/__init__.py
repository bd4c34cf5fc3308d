"""The ``flask`` commands. Each parses its options and calls a function of a room or of a module in this folder."""

from __future__ import annotations

import logging
import os
import sys
from itertools import pairwise
from typing import TYPE_CHECKING

import click
from flask import Flask, current_app
from flask.cli import AppGroup

from ..jobs.backend import QUEUES
from ..state import current_config
from . import accounts, backup, operator
from .no_traceback import report_database_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..config import Config

_GUNICORN_LOAD_ERROR = 4  # gunicorn stops; after any other status it restarts the worker endlessly
_BUILD = "signet-build"  # in app.extensions
_OPTIONS_WITH_VALUE = {"-A", "--app", "-e", "--env-file"}  # of flask itself


def install(app: Flask, build: Callable[[Config], Flask]) -> None:
    """Register the commands with the app. ``build`` returns the portal of a configuration, for ``flask doctor``."""
    app.extensions[_BUILD] = build
    for command in _COMMANDS:
        app.cli.add_command(command)


@click.command()
@click.option(
    "--threads", type=click.IntRange(1, 64), default=None, help="How many accounts are served at once."
)
@click.option("--processes", hidden=True)
@click.option(
    "--queue",
    "queues",
    multiple=True,
    type=click.Choice(QUEUES),
    help="What to work on, repeatable: mail, or checks and all the rest. Both by default.",
)
def worker(threads: int | None, processes: str | None, queues: tuple[str, ...]) -> None:
    """Send queued emails until stopped. A signal ends it after the messages in hand, a second one at once."""
    from ..jobs import worker

    if processes:
        raise click.UsageError(
            "--processes was removed: each command runs one worker process. Run several, for example "
            "`systemctl enable --now signet-worker@1 signet-worker@2` or `docker compose up --scale worker=2` "
            "(docs/deployment.md, PostgreSQL and several workers)."
        )
    _log_to_stderr()
    sys.exit(worker.run(_app(), threads, queues or QUEUES))


@click.command()
def rehearsal() -> None:
    """Run the rehearsal mail server until asked to stop."""
    from ..rehearsal import server

    _log_to_stderr()
    sys.exit(server.run(current_config()))


def _refuse_password(_context: click.Context, _option: click.Parameter, value: str | None) -> None:
    if value is not None:
        raise click.UsageError(
            "--password was removed, because other users of the machine could read it. Leave it out, and the command "
            "asks for the password; with --link it prints a link instead, under which the owner chooses one."
        )


@click.command("create-owner")
@click.option("--programme", prompt="Programme name")
@click.option("--name", prompt="Your name")
@click.option("--mailbox", prompt="Email address")
@click.option("--link", "by_link", is_flag=True, help="Ask for no password; print a link to choose one.")
@click.option("--operator", is_flag=True, help="This owner runs the portal, and sees the page Operator.")
@click.option("--password", hidden=True, is_eager=True, expose_value=False, callback=_refuse_password)
def create_owner(programme: str, name: str, mailbox: str, by_link: bool, operator: bool) -> None:
    """Create an account and its owner. Asks for the password, of 12 characters or more."""
    from . import owner_creation

    owner_creation.run(programme, name, mailbox, is_operator=operator, by_link=by_link)


@click.command("seed-demo")
def seed_demo() -> None:
    """Create the demo account of a rehearsal, if it is not there yet."""
    from .. import demo

    try:
        demo.seed()
    except demo.NoRehearsal as refused:
        raise click.ClickException(str(refused)) from None


@click.command()
@click.option("--offline", is_flag=True, help="Leave out what needs the network.")
@click.option("--json", "as_json", is_flag=True, help="Answer with one JSON object.")
def doctor(offline: bool, as_json: bool) -> None:
    """Check the whole installation, and print what to do. See docs/commands.md."""
    from .doctor_report import run

    sys.exit(
        run(os.environ, current_app.extensions[_BUILD], offline=offline, as_json=as_json, echo=click.echo)
    )


smtp = AppGroup("smtp", help="Explain replies of mail servers, and check an account's settings.")


@smtp.command(
    "explain", add_help_option=False, context_settings={"ignore_unknown_options": True}, with_appcontext=False
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def explain(arguments: tuple[str, ...]) -> None:
    """Explain a mail server's reply. Needs no database, keys or configuration."""
    from ..smtp.diagnosis import explain_cli

    sys.exit(explain_cli.main(arguments, "flask smtp explain"))


@smtp.command()
@click.option("--account", required=True, help="The account's name in its sign-up address, /join/<name>.")
@click.option("--version", type=click.IntRange(1, 999_999), help="A saved version; else the live one.")
@click.option("--token", is_flag=True, help="Log in with an OAuth access token, read from standard input.")
@click.option("--json", "as_json", is_flag=True, help="Answer with one JSON object.")
def check(account: str, version: int | None, token: bool, as_json: bool) -> None:
    """Try an account's settings up to the recipient, without sending. See docs/commands.md."""
    from .smtp_check import run

    sys.exit(run(account, version, as_json, click.echo, sys.stdin if token else None))


domain = AppGroup("domain", help="Check the DNS records of a sending domain.")


@domain.command("check")
@click.argument("name")
@click.option("--provider", default="", help="Who sends for it, by id or SMTP server; see docs/commands.md.")
@click.option("--selector", "selectors", multiple=True, help="A DKIM selector you know. May be repeated.")
@click.option("--json", "as_json", is_flag=True, help="Answer with one JSON object.")
def domain_check(name: str, provider: str, selectors: tuple[str, ...], as_json: bool) -> None:
    """Assess a sending domain and list the records to paste. See docs/commands.md."""
    from .domain_check import run

    sys.exit(run(name, provider, selectors, as_json, click.echo))


bounces = AppGroup("bounces", help="Read bounce mails and complaints.")


@bounces.command("read", with_appcontext=False)
@click.argument("files", nargs=-1, required=True, type=click.Path())
@click.option("--json", "as_json", is_flag=True, help="Answer with one line of JSON for each recipient.")
def bounces_read(files: tuple[str, ...], as_json: bool) -> None:
    """Print what bounce mails and complaints report: for which recipients, and why. Needs no database, keys or configuration."""
    from .bounces import run

    sys.exit(run(files, as_json, click.echo))


def minimal_app(
    arguments: Sequence[str], set_up: Callable[[Config], Flask], build: Callable[[Config], Flask]
) -> Flask | None:
    """Return an app with only the commands that need no configuration, if the command line names one of them, else None.

    Flask takes its commands from the app, so explaining a reply would otherwise need a configured portal, and ``doctor``
    a portal that starts. Only Flask's command line sets FLASK_RUN_FROM_CLI, never a WSGI server.
    """
    command = _command_of(arguments)
    alone = (
        command in ("doctor", "restore")  # a restore makes the database and the keys
        or (command == "smtp" and not _is_smtp_check(arguments))
        or (command == "bounces" and ("bounces", "read") in pairwise(arguments))
        or (command == "keys" and ("keys", "new") in pairwise(arguments))
    )
    if os.environ.get("FLASK_RUN_FROM_CLI") != "true" or not alone:
        return None
    app = Flask("portal")
    app.extensions[_BUILD] = build
    app.cli.add_command(smtp)
    app.cli.add_command(bounces)
    app.cli.add_command(operator.keys)
    app.cli.add_command(backup.restore)
    app.extensions[backup.SET_UP] = set_up
    app.cli.add_command(doctor)
    return app


def _command_of(arguments: Sequence[str]) -> str:
    """Return the command of a command line of ``flask``: its first word that belongs to no option before it."""
    words = iter(arguments[1:])
    for word in words:
        if word in _OPTIONS_WITH_VALUE:
            next(words, None)
        elif not word.startswith("-"):
            return word
    return ""


def report_start_failure(sentence: str, arguments: Sequence[str]) -> int:
    """Print why the portal cannot start and return the exit status. ``flask smtp check`` returns 2: not checked."""
    click.echo(sentence, err=True)
    return 2 if _is_smtp_check(arguments) else _GUNICORN_LOAD_ERROR


def _is_smtp_check(arguments: Sequence[str]) -> bool:
    return ("smtp", "check") in pairwise(arguments)


def _app() -> Flask:
    return current_app._get_current_object()  # type: ignore[attr-defined,no-any-return]


def _log_to_stderr() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    logging.getLogger("huey").setLevel(logging.WARNING)


_COMMANDS = (
    worker,
    rehearsal,
    create_owner,
    seed_demo,
    doctor,
    smtp,
    domain,
    bounces,
    accounts.accounts,
    backup.backup,
    backup.restore,
    *operator.COMMANDS,
)
for _command in _COMMANDS:
    report_database_errors(_command)
