"""Sets up an instance: creates its folder, secrets and tables, and checks its keys against its database."""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError

from . import demo
from .affiliates import erased
from .clock import utcnow
from .config import ConfigError
from .db import readiness
from .doctor import files, local
from .env import create_private_file
from .jobs import backend
from .state import get_state
from .vault import KeyringError, new_key

if TYPE_CHECKING:
    from flask import Flask


def make_secrets(instance: Path) -> list[Path]:
    """Create the instance folder and its secret files where they are missing; return the files created.

    Raises ConfigError if this user may not.
    """
    created = []
    try:
        instance.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name, value in (("secret_key", secrets.token_urlsafe(48)), ("keys", new_key())):
            path = instance / name
            if not path.exists() and create_private_file(path, value + "\n"):
                created.append(path)
    except OSError as error:
        raise ConfigError(
            f"The folder {instance} cannot be used: {error.strerror}. SIGNET_INSTANCE names it; make it for the user "
            f"that Signet runs as, with `install -d -o signet -g signet -m 700 {instance}`."
        ) from None
    return created


def migrate(app: Flask) -> None:
    """Migrate the tables, make the files private, and check the keys against the tables. Raises ConfigError."""
    from .db.migrate import upgrade  # it imports Alembic, which a running portal does not use

    with app.app_context():
        try:
            if not _is_current():
                upgrade()
            backend.make_tables(app)
        except DBAPIError as error:
            if not _is_refusal(error):
                raise
            raise ConfigError(
                f"The tables cannot be made: {str(error.orig).partition(chr(10))[0]}. Look at DATABASE_URL; its user must be "
                "the owner of the tables and may create some."
            ) from None
        files.make_private(get_state(app).config)
        check_keys(app)


def _is_refusal(error: DBAPIError) -> bool:
    """Return whether the database refused or went away, so that the tables and the migrations are not at fault."""
    return isinstance(error, OperationalError) or type(error.orig).__name__ == "InsufficientPrivilege"


def _is_current() -> bool:
    """Return whether the tables are up to date. Raises ConfigError if the database cannot be opened."""
    try:
        return readiness.is_current()
    except SQLAlchemyError as error:
        raise ConfigError(
            f"The database cannot be opened: {type(error).__name__}. Look at DATABASE_URL."
        ) from None


def require_ready(app: Flask) -> None:
    """Check what every start requires: secrets, files, tables, keys, no demo log-in. Raises ConfigError."""
    with app.app_context():
        for finding in local.check(app):
            if finding.is_error:
                raise ConfigError(finding.text)


def check_keys(app: Flask) -> None:
    """Check that the keyring of ``app`` decrypts its database. Needs an app context. Raises ConfigError."""
    readiness.check_keys(get_state(app).vault, app.instance_path)


def set_up(instance: Path) -> Flask:
    """Create the missing secrets, migrate the tables, check the rest and return the app.

    Raises ConfigError or KeyringError.
    """
    from . import create_app

    make_secrets(instance)
    app = create_app()
    migrate(app)
    close_demo(app)
    require_ready(app)
    with app.app_context():
        erased.ensure_key()
    return app


def close_demo(app: Flask) -> None:
    """Replace the demo owner's published password, unless this is a rehearsal; print how to set another one."""
    with app.app_context():
        if not get_state(app).config.rehearsal and demo.replace_published_password(utcnow()):
            sys.stdout.write(
                f"{demo.MAILBOX} had the demo account's published password, which was replaced. "
                f"For another one run: flask reset-link {demo.MAILBOX}\n"
            )


def first_owner_link(app: Flask) -> str | None:
    """Return a one-time link with which the first owner registers; None once there is an owner."""
    from .accounts import invitations

    with app.app_context():
        return invitations.invite_first_owner(link=invitations.link_to, now=utcnow())


def _main() -> None:
    from .about import ROOT

    files.use_private_umask()
    instance = Path(os.environ.get("SIGNET_INSTANCE") or ROOT / "instance")
    try:
        app = set_up(instance)
    except (ConfigError, KeyringError) as error:
        sys.exit(f"Signet cannot be set up: {error}")
    sys.stdout.write(f"Signet is set up in {instance}.\n")
    link = first_owner_link(app)
    if link:
        sys.stdout.write(
            "There is no owner yet. Open this link within 7 days to register the first one, who becomes the "
            f"operator:\n{link}\nOr run: flask create-owner --operator\n"
        )


if __name__ == "__main__":
    _main()
