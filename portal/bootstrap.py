"""Getting an instance ready: its folder and secrets, its tables, and whether its keys still fit."""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from flask_migrate import upgrade
from sqlalchemy import LargeBinary
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Mapped, mapped_column

from . import tasks
from .config import ConfigError
from .db import Base, db, insert, reading
from .smtp.protocol.reply import plain_text
from .vault import KeyringError, SealBroken, Vault, key_id, new_key

if TYPE_CHECKING:
    from flask import Flask

CHECK: dict[str, str | int] = {"kind": "key-check"}  # what the sealed word is bound to
_MIGRATIONS = Path(__file__).parent / "migrations"


class KeyCheck(Base):
    """One sealed word, by which a start-up sees that the keyring still opens what is in this database."""

    __tablename__ = "key_check"
    id: Mapped[int] = mapped_column(primary_key=True)
    sealed: Mapped[bytes] = mapped_column(LargeBinary)


def make_secrets(instance: Path) -> list[Path]:
    """Make the folder and the secret files that are missing; return those made. Never overwrites one."""
    instance.mkdir(mode=0o700, parents=True, exist_ok=True)
    made = []
    for name, value in (("secret_key", secrets.token_urlsafe(48)), ("keys", new_key())):
        path = instance / name
        if _write_once(path, value + "\n"):
            made.append(path)
    return made


def _write_once(path: Path, text: str) -> bool:
    """Make a private file with this text unless there is one, whoever else does so at the same time."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with os.fdopen(
        os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii"
    ) as file:
        file.write(text)
    try:
        os.link(draft, path)  # all of it or nothing, and never over another one
    except FileExistsError:
        return False
    finally:
        draft.unlink()
    return True


def migrate(app: Flask) -> None:
    """Bring the tables up to date, and note by which key this database is sealed."""
    with app.app_context():
        if not is_current():
            upgrade(directory=str(_MIGRATIONS))
        tasks.make_tables(app)
        check_keys(app)


def require_ready(app: Flask) -> None:
    """Refuse to serve from a database that is not up to date or not ours. Raises ConfigError."""
    with app.app_context():
        try:
            current = is_current()
        except SQLAlchemyError as error:
            raise ConfigError(
                f"The database cannot be opened: {type(error).__name__}. Look at DATABASE_URL."
            ) from None
        if not current:
            raise ConfigError(
                "The database is not up to date. Run `python -m portal.bootstrap` once, then start again."
            )
        check_keys(app)


def is_current() -> bool:
    """Whether every migration has been applied."""
    with reading(), db.engine.connect() as connection:
        at = MigrationContext.configure(connection).get_current_heads()
    return set(at) == set(ScriptDirectory(str(_MIGRATIONS)).get_heads())


def check_keys(app: Flask) -> None:
    """See that the keyring opens what this database holds; seal the proof at first. Raises ConfigError."""
    vault: Vault = app.extensions["signet.vault"]
    row = db.session.get(KeyCheck, 1)
    if row is None:
        # Of two portals set up at once, the first one's proof stays, and this one's key has to open it.
        proof = insert(KeyCheck).values(id=1, sealed=vault.seal("signet", CHECK))
        db.session.execute(proof.on_conflict_do_nothing())
        db.session.commit()
        row = db.session.get_one(KeyCheck, 1)
    try:
        vault.open(row.sealed, CHECK)
    except SealBroken:
        raise ConfigError(
            "The keyring does not fit this database: saved passwords could not be opened. "
            f"{_missing(vault, row.sealed)}"
            f"Put the right key back into SIGNET_KEYS or {app.instance_path}/keys."
        ) from None
    finally:
        db.session.rollback()


def _missing(vault: Vault, sealed: bytes) -> str:
    """Name the key by its id, if it can be read; an id is no secret."""
    try:
        ident = plain_text(key_id(sealed))
    except SealBroken:
        return ""
    if ident in vault.key_ids:
        return f"The key called {ident} in the keyring is not the one that sealed them. "
    return f"They are sealed under key {ident}, which is not in the keyring. "


def prepare(instance: Path) -> Flask:
    """Make what is missing and bring the tables up to date. Raises ConfigError or KeyringError."""
    from . import create_app

    make_secrets(instance)
    app = create_app()
    migrate(app)
    return app


def _main() -> None:
    from .about import ROOT

    instance = Path(os.environ.get("SIGNET_INSTANCE") or ROOT / "instance")
    try:
        prepare(instance)
    except (ConfigError, KeyringError) as error:
        sys.exit(f"Signet cannot be set up: {error}")
    sys.stdout.write(f"Signet is set up in {instance}.\n")


if __name__ == "__main__":
    _main()
