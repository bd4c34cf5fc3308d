"""``flask backup`` and ``flask restore``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click
from flask import current_app

if TYPE_CHECKING:
    from ..backup.restoring import Restored

SET_UP = "signet-set-up"  # in app.extensions: the function that builds a portal and its tables
_VARIABLE = "SIGNET_BACKUP_PASSPHRASE"
_file = click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
_keys = click.option(
    "--keys",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The file of the sealed keys; FILE.keys by default.",
)
_passphrase_file = click.option(
    "--passphrase-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help=f"A file with the passphrase; else {_VARIABLE}, else it is asked.",
)


@click.command()
@_file
@_keys
@_passphrase_file
def backup(file: Path, keys: Path | None, passphrase_file: Path | None) -> None:
    """Write the database to FILE, and the keys to another file that only a passphrase opens.

    The portal and its workers may run. See docs/deployment.md.
    """
    from ..backup import BackupError, making

    keys = keys or _keys_beside(file)
    try:
        making.make(file, keys, _read_passphrase(passphrase_file, confirm=True))
    except BackupError as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"The database is in {file}, the sealed keys are in {keys}. Keep them in different places.")


@click.command()
@_file
@_keys
@_passphrase_file
def restore(file: Path, keys: Path | None, passphrase_file: Path | None) -> None:
    """Restore a backup into an empty instance. See docs/deployment.md."""
    from ..backup import BackupError, restoring
    from ..env import ConfigError
    from ..vault import KeyringError

    set_up = current_app.extensions.get(SET_UP)
    if set_up is None:  # the portal runs already, so there is nothing to restore
        raise click.ClickException("Run this as `flask --app wsgi restore`, in the folder of Signet.")
    try:
        places = restoring.Places(file, keys or _keys_beside(file), os.environ)
        done = restoring.restore(places, lambda: _read_passphrase(passphrase_file, confirm=False), set_up)
    except (BackupError, ConfigError, KeyringError) as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"The backup of {done.made_at:%Y-%m-%d %H:%M} UTC is restored in {done.instance}.")
    click.echo(_what_waits(done))


def _what_waits(done: Restored) -> str:
    if not done.waiting:
        return "No email waits."
    waits = "1 email waits" if done.waiting == 1 else f"{done.waiting} emails wait"
    again = f", of which {done.submitting} may have left already" if done.submitting else ""
    return (
        f"{waits}{again}. They leave when you start a worker. If the old machine went on sending after the backup, "
        "cancel what it has sent: flask outbox status, flask outbox cancel."
    )


def _keys_beside(file: Path) -> Path:
    return file.with_name(f"{file.name}.keys")


def _read_passphrase(file: Path | None, *, confirm: bool) -> str:
    if file is not None:
        try:
            return file.read_text(encoding="utf-8").strip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not UTF-8"
            raise click.ClickException(f"{file} cannot be read: {reason}.") from None
    given = os.environ.get(_VARIABLE)
    if given:
        return given
    prompted: str = click.prompt("Passphrase of the keys", hide_input=True, confirmation_prompt=confirm)
    return prompted
