"""The file of a backup: a tar archive of a manifest, the database and the acceptances that it does not contain yet.

``database`` is a SQLite file or a dump of pg_dump (custom format), so both can be read without Signet, too. The file
holds addresses and the content of emails, but no key.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tarfile
import tempfile
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from . import BackupError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_MANIFEST, _DATABASE, _ACCEPTED = "manifest.json", "database", "accepted.jsonl"
_FORMAT = 1
_MAX_SMALL_BYTES = 256 * 1024 * 1024  # of the manifest and the acceptances, which are read into memory
_COPY_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Manifest:
    """What a backup holds."""

    version: str  # of Signet
    made_at: str  # ISO 8601, in UTC
    database: str  # "sqlite" or "postgresql"
    migration: str  # the newest one applied
    key_check: str  # the sealed word that only the right keyring opens, in hexadecimal
    sha256: str  # of the database member


@contextmanager
def private_draft(target: Path) -> Iterator[Path]:
    """Yield the path of a new private file beside ``target``; the file is removed at the end, if it is still there.

    Raises BackupError if the folder cannot be written to.
    """
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.absolute().parent)
    except OSError as error:
        raise BackupError(f"{target} cannot be written: {error.strerror}.") from None
    os.close(descriptor)
    draft = Path(name)
    try:
        yield draft
    finally:
        draft.unlink(missing_ok=True)


def publish(draft: Path, target: Path) -> None:
    """Put a finished file in the place of ``target`` at once, so that an interrupted backup leaves the older one."""
    with draft.open("rb") as file:
        os.fsync(file.fileno())
    draft.replace(target)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write(target: Path, manifest: Manifest, database: Path, accepted: Sequence[dict[str, Any]]) -> None:
    """Write the archive to ``target``."""
    lines = "".join(json.dumps(entry) + "\n" for entry in accepted)
    with tarfile.open(target, "w") as tar:
        _add(tar, _MANIFEST, json.dumps({"format": _FORMAT, **asdict(manifest)}, indent=1).encode())
        _add(tar, _ACCEPTED, lines.encode())
        member = tarfile.TarInfo(_DATABASE)
        member.size, member.mode = database.stat().st_size, 0o600
        with database.open("rb") as file:
            tar.addfile(member, file)


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(data), 0o600
    tar.addfile(member, io.BytesIO(data))


class Archive:
    """An archive opened for reading. Every method raises BackupError if the file is damaged."""

    def __init__(self, path: Path, tar: tarfile.TarFile) -> None:
        self._path, self._tar = path, tar
        self.manifest = self._read_manifest()

    def _read_manifest(self) -> Manifest:
        try:
            values = json.loads(self._read(_MANIFEST))
            if values.pop("format") != _FORMAT:
                raise BackupError(f"{self._path} was made by a newer version of Signet.")
            return Manifest(**values)
        except (ValueError, KeyError, TypeError, AttributeError):
            raise self._damaged() from None

    def accepted(self) -> list[dict[str, Any]]:
        """Return the acceptances that the database does not contain."""
        try:
            return [json.loads(line) for line in self._read(_ACCEPTED).splitlines()]
        except ValueError:
            raise self._damaged() from None

    def extract_database(self, target: Path) -> None:
        """Write the database to a file and compare it with the manifest."""
        try:
            with self._open(_DATABASE) as source, target.open("wb") as file:
                shutil.copyfileobj(source, file, _COPY_BYTES)
        except tarfile.TarError:
            raise self._damaged() from None
        except OSError as error:
            raise BackupError(f"{target.parent} cannot be written: {error.strerror}.") from None
        if sha256_of(target) != self.manifest.sha256:
            raise self._damaged()

    def _open(self, name: str) -> IO[bytes]:
        try:
            found = self._tar.extractfile(name)
        except (KeyError, tarfile.TarError):
            found = None
        if found is None:
            raise self._damaged()
        return found

    def _read(self, name: str) -> bytes:
        with self._open(name) as file:
            data = file.read(_MAX_SMALL_BYTES + 1)
        if len(data) > _MAX_SMALL_BYTES:
            raise self._damaged()
        return data

    def _damaged(self) -> BackupError:
        return BackupError(f"{self._path} is damaged, or is not a backup of Signet.")


@contextmanager
def opened(path: Path) -> Iterator[Archive]:
    """Open a backup. Raises BackupError if it is none."""
    try:
        tar = tarfile.open(path, "r:")  # noqa: SIM115 - closed below
    except OSError as error:
        raise BackupError(f"{path} cannot be read: {error.strerror}.") from None
    except tarfile.TarError:
        raise BackupError(f"{path} is damaged, or is not a backup of Signet.") from None
    with tar:
        yield Archive(path, tar)
