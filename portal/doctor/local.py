"""What can be known on this machine: the checks of every start. The first error stops it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy.exc import SQLAlchemyError

from .. import demo
from ..db import db, readiness
from ..env import ConfigError
from ..state import current_config, get_state
from . import files
from .findings import DoctorFinding, error, ok, warning

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from flask import Flask

    from ..config import Config

DATABASE = "database"  # the code of the finding without which no other table is read
BOOTSTRAP = "python -m portal.bootstrap"
_MIN_DIFFERENT_CHARS = 8  # a random key of 32 hexadecimal digits has fewer in one of ten million


def check(app: Flask) -> Iterator[DoctorFinding]:
    """Yield a finding for each local fact; after an error of the database, nothing that needs it. Needs an app context."""
    config = current_config()
    yield check_base_url(config)
    yield check_keys(app, config)
    database = check_database()
    yield database
    if not database.is_error:
        yield check_keyring(app)
        yield check_demo(config)
    yield check_files(config)


def check_base_url(config: Config) -> DoctorFinding:
    """Assess SIGNET_BASE_URL; that it is https, or an address of this machine, was checked when it was read."""
    if config.is_local and not config.rehearsal:
        return warning(
            "base-url",
            f"SIGNET_BASE_URL is {config.base_url}, so the links in emails work on this machine only.",
            "Set it to the portal's public https:// address.",
        )
    return ok("base-url", f"Links in emails begin with {config.base_url}.")


def check_keys(app: Flask, config: Config) -> DoctorFinding:
    """Assess the secrets; their length and form were checked when they were read."""
    different = len(set(config.secret_key))
    if different < _MIN_DIFFERENT_CHARS or "changeme" in config.secret_key.lower().replace("-", ""):
        return error(
            "secrets",
            "SECRET_KEY can be guessed, because it is no random text.",
            'Make one by python3 -c "import secrets; print(secrets.token_urlsafe(48))"; all owners then log in again.',
        )
    if get_state(app).vault.seals_with_guessable_key:
        return error(
            "secrets",
            "The first key of SIGNET_KEYS can be guessed, because it is not random.",
            "Put a key of `flask keys new` before it, start again, and run `flask keys rotate`.",
        )
    return ok("secrets", "SECRET_KEY and SIGNET_KEYS are set.")


def check_files(config: Config) -> DoctorFinding:
    """Assess who may access the instance folder and Signet's files in it.

    In a rehearsal, other users' access is a warning: some file systems, such as a Windows folder, cannot prevent it.
    """
    public = files.find_public(config)
    if public is not None:
        report = warning if config.rehearsal else error
        return report(
            "files", f"Other users of this machine can access {public}.", _how_to_close(public, config)
        )
    fixed = files.find_not_writable(config)
    if fixed is not None:
        return error(
            "files",
            f"This user may not write to {fixed}.",
            "Run Signet and its commands as the user that owns the folder.",
        )
    shared = files.find_shared(config)
    if shared is not None:
        return warning(
            "files",
            f"The other members of its group can access {shared}.",
            "In a container whose volume has a group of its own, this is as it should be. Otherwise: "
            + _how_to_close(shared, config),
        )
    if not files.owns_folder(config):
        return warning(
            "files",
            f"{config.instance} belongs to another user, who cannot use the files that this user makes in it.",
            "Run Signet and its commands as the user that owns the folder.",
        )
    return ok("files", f"Only this user can access {config.instance}.")


def _how_to_close(public: Path, config: Config) -> str:
    if public == config.instance:
        return f"Run: chmod 700 {public}"
    return f"Run `{BOOTSTRAP}`, which makes Signet's files private, or: chmod go= {public}"


def check_database() -> DoctorFinding:
    """Check that the database answers and that every migration is applied."""
    try:
        is_current = readiness.is_current()
    except SQLAlchemyError as trouble:
        return error(
            DATABASE,
            f"The database cannot be opened: {type(trouble).__name__}.",
            "Look at DATABASE_URL; is the database running, and may this user connect?",
        )
    if not is_current:
        return error(
            DATABASE, "The database is not up to date.", f"Run `{BOOTSTRAP}` once, then start again."
        )
    return ok(DATABASE, f"The tables in {db.engine.dialect.name} are up to date.")


def check_keyring(app: Flask) -> DoctorFinding:
    """Check that the keyring opens the database."""
    try:
        readiness.check_keys(get_state(app).vault, app.instance_path)
    except ConfigError as trouble:
        return error("keyring", str(trouble))
    return ok("keyring", "The keys open what the database holds.")


def check_demo(config: Config) -> DoctorFinding:
    """Check that the demo owner's published password opens nothing outside a rehearsal."""
    if config.rehearsal or not demo.has_published_password():
        return ok(
            "demo", "The demo log-in does not work." if not config.rehearsal else "This is a rehearsal."
        )
    return error(
        "demo",
        f"{demo.MAILBOX}, the demo owner, has the password that `make run` prints, and this is no rehearsal.",
        f"Run `{BOOTSTRAP}`, which replaces that password, or use another SIGNET_INSTANCE or DATABASE_URL.",
    )
