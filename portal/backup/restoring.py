"""Restore a backup on a machine that has neither the database nor the keys."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import func, select, text
from sqlalchemy.engine import make_url

from ..about import ROOT, VERSION
from ..config import Config
from ..db import db, read_only, urls
from ..db.readiness import KEY_CHECK_BINDING, MIGRATIONS
from ..doctor.files import SQLITE_SUFFIXES
from ..env import ConfigError, Reader, create_private_file
from ..outbox.models import OPEN, OutboxMessage, Status
from ..outbox.store import acceptance_log
from ..vault import DecryptionError, Vault
from . import BackupError, archive, postgresql_tools, sealed_keys

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from flask import Flask

_SECRETS = {"SECRET_KEY": "secret_key", "SIGNET_KEYS": "keys"}  # variable -> file in the instance folder


@dataclass(frozen=True)
class Places:
    """Where a restore reads: the backup, the sealed keys, and the environment that names instance and database."""

    source: Path
    keys: Path
    env: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True)
class Restored:
    """What a restored instance holds."""

    instance: Path
    made_at: datetime
    waiting: int  # messages that leave when a worker starts
    submitting: int  # of them: were being submitted when the backup was made, so they may arrive twice


def restore(places: Places, passphrase: Callable[[], str], set_up: Callable[[Config], Flask]) -> Restored:
    """Restore a backup into the instance and the database that the environment names; both must be empty.

    The keys come from the environment or the instance folder if they are there already, else from the sealed file, for
    which ``passphrase`` is called. Everything is checked before anything is written. ``set_up`` builds the portal and
    brings its tables up to date. Raises BackupError, ConfigError or KeyringError.
    """
    env = places.env
    instance = Path(env.get("SIGNET_INSTANCE") or ROOT / "instance")
    with archive.opened(places.source) as backup:
        _check_version(backup.manifest)
        secrets, missing = _find_secrets(places, instance, passphrase)
        _check_keys(backup.manifest, secrets)
        config = Config.from_env({**env, **{name: secrets[name] for name in missing}}, instance)
        _check_database(backup.manifest, config)
        accepted = backup.accepted()
        instance.mkdir(mode=0o700, parents=True, exist_ok=True)
        _put_database(backup, config)
        acceptance_log.import_entries(instance, accepted)
        for name in missing:
            create_private_file(instance / _SECRETS[name], secrets[name] + "\n")
        return _count(set_up(config), backup.manifest)


def _check_version(manifest: archive.Manifest) -> None:
    try:
        ScriptDirectory(str(MIGRATIONS)).get_revision(manifest.migration)
    except CommandError:
        raise BackupError(
            f"This backup was made by Signet {manifest.version}, which is newer than {VERSION}. Install that version."
        ) from None


def _find_secrets(
    places: Places, instance: Path, passphrase: Callable[[], str]
) -> tuple[dict[str, str], list[str]]:
    """Return the two secrets by variable, and which of them have to be written into the instance folder."""
    read, found = Reader(places.env, instance), {}
    for name, file_name in _SECRETS.items():
        try:
            found[name] = read.secret(name, file_name, at_least=1)
        except ConfigError:
            continue  # neither in the environment nor in the folder
    missing = [name for name in _SECRETS if name not in found]
    if missing:
        try:
            data = places.keys.read_bytes()
        except OSError as error:
            raise BackupError(f"{places.keys} cannot be read: {error.strerror}.") from None
        sealed = sealed_keys.unseal(data, passphrase())
        from_file = {"SECRET_KEY": sealed.secret_key, "SIGNET_KEYS": sealed.keyring}
        found |= {name: from_file[name] for name in missing}
    return found, missing


def _check_keys(manifest: archive.Manifest, secrets: Mapping[str, str]) -> None:
    """Check that the keyring is the one of this backup, before anything is written."""
    try:
        Vault(secrets["SIGNET_KEYS"], secrets["SECRET_KEY"]).open(
            bytes.fromhex(manifest.key_check), KEY_CHECK_BINDING
        )
    except (DecryptionError, ValueError):
        raise BackupError(
            "The keys do not fit this backup: saved passwords could not be decrypted. Use the file of keys that was "
            "made with it, and unset SIGNET_KEYS or remove the file keys of the instance if they are others."
        ) from None


def _check_database(manifest: archive.Manifest, config: Config) -> None:
    """Check that the configured database is of the backup's kind and empty."""
    is_postgresql = urls.is_postgresql(config.database_url)
    if is_postgresql != (manifest.database == "postgresql"):
        remedy = (
            "Set DATABASE_URL to an empty PostgreSQL database" if not is_postgresql else "Unset DATABASE_URL"
        )
        raise BackupError(f"The backup is of the other kind of database. {remedy} and try again.")
    if not is_postgresql:
        # SQLite would apply a log that an older database left beside its file to the restored one.
        files = [Path(f"{_sqlite_file(config)}{suffix}") for suffix in SQLITE_SUFFIXES]
        found = next((file for file in files if file.exists()), None)
        if found is not None:
            raise BackupError(f"{found} exists. Move it away; a backup never replaces a database.")
        return
    try:
        with urls.connect(config.database_url) as connection:
            tables = "SELECT count(*) FROM pg_catalog.pg_tables WHERE schemaname = current_schema()"
            (count,) = connection.execute(tables).fetchone()
    except psycopg.Error as error:
        raise ConfigError(
            f"The database cannot be opened: {type(error).__name__}. Look at DATABASE_URL."
        ) from None
    if count:
        raise BackupError(
            "The database that DATABASE_URL names is not empty; a backup never replaces a database."
        )


def _sqlite_file(config: Config) -> Path:
    return Path(make_url(config.database_url).database or "")


def _put_database(backup: archive.Archive, config: Config) -> None:
    target = config.instance / "restored" if urls.is_postgresql(config.database_url) else _sqlite_file(config)
    with archive.private_draft(target) as draft:
        backup.extract_database(draft)
        if urls.is_postgresql(config.database_url):
            postgresql_tools.restore(config.database_url, draft)
        else:
            archive.publish(draft, target)


def _count(app: Flask, manifest: archive.Manifest) -> Restored:
    with app.app_context(), read_only():
        count = select(func.count()).select_from(OutboxMessage)
        waiting = db.session.scalar(count.where(text(OPEN))) or 0
        submitting = db.session.scalar(count.where(OutboxMessage.status == Status.SENDING)) or 0
        db.session.remove()
    return Restored(Path(app.instance_path), datetime.fromisoformat(manifest.made_at), waiting, submitting)
