"""The files of a backup: nothing of the keys in the clear, nothing overwritten, and one sentence for each mistake."""

from __future__ import annotations

import base64
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from flask import Flask

from portal import bootstrap, create_app
from portal.backup import BackupError, restoring, sealed_keys
from portal.backup.sealed_keys import Keys, seal, unseal
from portal.config import Config
from portal.env import ConfigError
from portal.vault import new_key
from tests.backup.conftest import PASSPHRASE, Files

KEYS = Keys("a secret key", "k1:the keyring")


@pytest.fixture
def _cheap_scrypt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Derive keys at hardly any cost, for tests of everything but the cost."""
    real = sealed_keys.Scrypt
    monkeypatch.setattr(sealed_keys, "Scrypt", lambda **values: real(**{**values, "n": 2}))


def test_the_keys_open_with_their_passphrase_only() -> None:
    sealed = seal(KEYS, PASSPHRASE)
    assert unseal(sealed, PASSPHRASE) == KEYS
    assert unseal(sealed, PASSPHRASE.replace("Ü", "U\u0308")) == KEYS, "the same letter of two code points"
    with pytest.raises(BackupError, match="not the one of this file"):
        unseal(sealed, PASSPHRASE + "x")
    assert seal(KEYS, PASSPHRASE) != sealed, "salt and nonce are new each time"
    for secret in (KEYS.secret_key, KEYS.keyring, PASSPHRASE):
        assert secret.encode() not in sealed
        assert base64.b64encode(secret.encode()) not in sealed
    assert KEYS.keyring not in repr(KEYS)


@pytest.mark.usefixtures("_cheap_scrypt")
def test_a_changed_file_of_keys_is_refused() -> None:
    sealed = json.loads(seal(KEYS, PASSPHRASE))
    body = bytearray(base64.b64decode(sealed["sealed"]))
    body[3] ^= 1
    for changed in (
        {**sealed, "sealed": base64.b64encode(body).decode()},
        {**sealed, "salt": sealed["nonce"]},
        {**sealed, "format": "signet-keys-2"},
        {**sealed, "nonce": 7},
        [],
        {},
    ):
        with pytest.raises(BackupError):
            unseal(json.dumps(changed).encode(), PASSPHRASE)
    for data in (b"", b"not JSON", b"[" * 100_000):
        with pytest.raises(BackupError):
            unseal(data, PASSPHRASE)


def test_a_short_passphrase_is_refused(
    app: Flask, account: int, files: Files, back_up: Callable[[], Result]
) -> None:
    files.passphrase.write_text("too short")
    result = back_up()
    assert result.exit_code == 1
    assert "12 characters or more" in result.output
    assert not files.database.exists()
    assert not files.keys.exists()


@pytest.mark.usefixtures("_cheap_scrypt")
def test_the_passphrase_is_asked_or_read_from_the_environment(
    app: Flask, account: int, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = app.test_cli_runner()
    asked = runner.invoke(args=["backup", str(files.database)], input=f"{PASSPHRASE}\n{PASSPHRASE}\n")
    assert asked.exit_code == 0, asked.output
    assert PASSPHRASE not in asked.output
    assert unseal(files.keys.read_bytes(), PASSPHRASE).keyring == app.extensions["signet"].config.keyring
    monkeypatch.setenv("SIGNET_BACKUP_PASSPHRASE", PASSPHRASE + " of the environment")
    apart = files.keys.with_name("apart")
    assert runner.invoke(args=["backup", str(files.database), "--keys", str(apart)]).exit_code == 0
    assert unseal(apart.read_bytes(), PASSPHRASE + " of the environment")


@pytest.mark.usefixtures("_cheap_scrypt")
def test_the_backup_holds_no_key_and_a_failed_one_leaves_the_older_files(
    app: Flask, config: Config, account: int, files: Files, back_up: Callable[[], Result]
) -> None:
    assert back_up().exit_code == 0
    data = files.database.read_bytes()
    for secret in (config.secret_key, config.keyring, config.keyring.partition(":")[2]):
        assert secret.encode() not in data
        assert base64.b64decode(config.keyring.partition(":")[2]) not in data
    before = files.database.read_bytes(), files.keys.read_bytes()
    files.passphrase.write_text("short")
    assert back_up().exit_code == 1
    assert (files.database.read_bytes(), files.keys.read_bytes()) == before
    assert {path.name for path in files.database.parent.iterdir() if path.name.startswith(".")} == set()
    missing = app.test_cli_runner().invoke(
        args=["backup", str(files.database.parent / "missing" / "file")],
        env={"SIGNET_BACKUP_PASSPHRASE": PASSPHRASE},
    )
    assert missing.exit_code == 1
    assert "cannot be written" in missing.output


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"SIGNET_INSTANCE": str(tmp_path / "fresh"), "SIGNET_BASE_URL": "http://127.0.0.1"}


def set_up(config: Config) -> Flask:
    found = create_app(config)
    bootstrap.migrate(found)
    return found


def restore(files: Files, environ: dict[str, str], passphrase: str = PASSPHRASE) -> restoring.Restored:
    return restoring.restore(
        restoring.Places(files.database, files.keys, environ), lambda: passphrase, set_up
    )


@pytest.mark.usefixtures("_cheap_scrypt")
def test_a_restore_that_is_refused_writes_nothing(
    app: Flask,
    account: int,
    files: Files,
    back_up: Callable[[], Result],
    environ: dict[str, str],
    tmp_path: Path,
) -> None:
    assert back_up().exit_code == 0
    fresh = tmp_path / "fresh"
    with pytest.raises(BackupError, match="passphrase"):
        restore(files, environ, "another passphrase")
    with pytest.raises(BackupError, match="do not fit this backup"):
        restore(files, {**environ, "SIGNET_KEYS": new_key()})
    with pytest.raises(BackupError, match="other kind of database"):
        restore(files, {**environ, "DATABASE_URL": "postgresql://signet@127.0.0.1:1/signet"})
    with pytest.raises(ConfigError, match="SIGNET_BASE_URL"):
        restore(files, {**environ, "SIGNET_BASE_URL": "no address"})
    keys = files.keys.read_bytes()
    files.keys.unlink()
    with pytest.raises(BackupError, match="cannot be read"):
        restore(files, environ)
    files.keys.write_bytes(keys)
    assert not fresh.exists()
    fresh.mkdir()
    (fresh / "portal.sqlite").write_bytes(b"another portal")
    with pytest.raises(BackupError, match="never replaces"):
        restore(files, environ)
    assert [path.name for path in fresh.iterdir()] == ["portal.sqlite"]
    (fresh / "portal.sqlite").rename(fresh / "portal.sqlite-wal")
    with pytest.raises(BackupError, match="sqlite-wal exists"):
        restore(files, environ)
    assert [path.name for path in fresh.iterdir()] == ["portal.sqlite-wal"]


@pytest.mark.usefixtures("_cheap_scrypt")
def test_a_damaged_or_newer_backup_is_refused(
    app: Flask,
    account: int,
    files: Files,
    back_up: Callable[[], Result],
    environ: dict[str, str],
    tmp_path: Path,
) -> None:
    assert back_up().exit_code == 0
    whole = files.database.read_bytes()
    with tarfile.open(files.database) as tar:
        at = tar.getmember("database").offset_data + 40
    flipped = bytearray(whole)
    flipped[at] ^= 1
    for data in (b"", b"not a backup", whole[: len(whole) // 2], bytes(flipped)):
        files.database.write_bytes(data)
        with pytest.raises(BackupError, match="damaged"):
            restore(files, environ)
    files.database.write_bytes(whole.replace(b'"migration": "00', b'"migration": "ff'))
    with pytest.raises(BackupError, match="newer"):
        restore(files, environ)
    assert not (tmp_path / "fresh" / "portal.sqlite").exists()
    files.database.write_bytes(whole)
    done = restore(files, {**environ, "SIGNET_KEYS": app.extensions["signet"].config.keyring})
    assert done.waiting == 0
    fresh = tmp_path / "fresh"
    assert not (fresh / "keys").exists(), "the keyring came from the environment"
    assert (fresh / "secret_key").read_text().strip() == app.extensions["signet"].config.secret_key
