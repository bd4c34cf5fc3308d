"""Commands, one line each, calling a deed."""

from __future__ import annotations

import logging
import sys

import click
from flask import Flask, current_app

from .clock import utcnow


def install(app: Flask) -> None:
    """Give the app its commands."""
    for command in (worker, rehearsal, create_owner, seed_demo):
        app.cli.add_command(command)


@click.command()
@click.option(
    "--threads", type=click.IntRange(1, 64), default=None, help="How many accounts are served at once."
)
def worker(threads: int | None) -> None:
    """Deliver until asked to stop."""
    from . import workers

    _log_to_stderr()
    sys.exit(workers.run(_app(), threads))


@click.command()
def rehearsal() -> None:
    """Run the rehearsal mail server until asked to stop."""
    from .rehearsal import server

    _log_to_stderr()
    sys.exit(server.run(_app().extensions["signet.config"]))


@click.command("create-owner")
@click.option("--programme", prompt="Programme name")
@click.option("--name", prompt="Your name")
@click.option("--mailbox", prompt="Email address")
@click.password_option(help="12 characters or more.")
def create_owner(programme: str, name: str, mailbox: str, password: str) -> None:
    """Create an account and its owner."""
    from .accounts.registration import RegistrationRefused
    from .accounts.registration import create_owner as create

    try:
        owner = create(programme, name, mailbox, password, now=utcnow())
    except RegistrationRefused as refused:
        raise click.ClickException(str(refused)) from None
    click.echo(f"{owner.mailbox} owns {owner.account.name}; its sign-up page is /join/{owner.account.slug}")


@click.command("seed-demo")
def seed_demo() -> None:
    """Create the demo account, if it is not there yet."""
    from . import demo

    demo.seed()


def _app() -> Flask:
    return current_app._get_current_object()  # type: ignore[attr-defined]


def _log_to_stderr() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    logging.getLogger("huey").setLevel(logging.WARNING)
