"""Sets up an instance: creates its folder, secrets and tables, and checks its keys against its database."""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from flask_migrate import upgrade
from sqlalchemy.exc import SQLAlchemyError

from .config import ConfigError
from .db import readiness
from .env import create_private_file
from .jobs import backend
from .state import get_state
from .vault import KeyringError, new_key

if TYPE_CHECKING:
    from flask import Flask


def make_secrets(instance: Path) -> list[Path]:
    """Create the instance folder and its secret files where they are missing; return the files created."""
    instance.mkdir(mode=0o700, parents=True, exist_ok=True)
    created = []
    for name, value in (("secret_key", secrets.token_urlsafe(48)), ("keys", new_key())):
        path = instance / name
        if create_private_file(path, value + "\n"):
            created.append(path)
    return created


def migrate(app: Flask) -> None:
    """Migrate the tables and check the keys against them. Raises ConfigError."""
    with app.app_context():
        if not _is_current():
            upgrade(directory=str(readiness.MIGRATIONS))
        backend.make_tables(app)
        check_keys(app)


def _is_current() -> bool:
    """Return whether the tables are up to date. Raises ConfigError if the database cannot be opened."""
    try:
        return readiness.is_current()
    except SQLAlchemyError as error:
        raise ConfigError(
            f"The database cannot be opened: {type(error).__name__}. Look at DATABASE_URL."
        ) from None


def require_ready(app: Flask) -> None:
    """Check that the tables are up to date and that the keys decrypt them. Raises ConfigError."""
    with app.app_context():
        if not _is_current():
            raise ConfigError(
                "The database is not up to date. Run `python -m portal.bootstrap` once, then start again."
            )
        check_keys(app)


def check_keys(app: Flask) -> None:
    """Check that the keyring of ``app`` decrypts its database. Needs an app context. Raises ConfigError."""
    readiness.check_keys(get_state(app).vault, app.instance_path)


def set_up(instance: Path) -> Flask:
    """Create the missing secrets, migrate the tables and return the app. Raises ConfigError or KeyringError."""
    from . import create_app

    make_secrets(instance)
    app = create_app()
    migrate(app)
    return app


def first_owner_link(app: Flask) -> str | None:
    """Return a one-time link with which the first owner registers; None once there is an owner."""
    from .accounts import invitations
    from .clock import utcnow

    with app.app_context():
        return invitations.invite_first_owner(link=invitations.link_to, now=utcnow())


def _main() -> None:
    from .about import ROOT

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
