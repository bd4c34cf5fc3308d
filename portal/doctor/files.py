"""Access to the files of an instance: only the user that Signet runs as may read them.

Entry points set the umask, so that new files are private. Files of earlier versions are made private by
``python -m portal.bootstrap``. Only Signet's own files are changed: SIGNET_INSTANCE may name a folder with other content.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..config import Config

_FOR_OTHERS = 0o077  # the permission bits of the group and of all other users
_FOR_GROUP = 0o070
SQLITE_SUFFIXES = ("", "-wal", "-shm", "-journal")  # the database file and what SQLite keeps beside it
_SECRETS = ("secret_key", "keys", "metrics_token")
_FOLDERS = ("accepted", "rehearsal")


def use_private_umask() -> None:
    """Let this process create files as 0600 and folders as 0700."""
    os.umask(_FOR_OTHERS)


def make_private(config: Config) -> None:
    """Remove the access of other users to Signet's files, as far as this user may. The folder itself is left as it is."""
    for path in own_files(config):
        mode = _mode(path)
        if mode & _FOR_OTHERS:
            with suppress(OSError):
                path.chmod(mode & ~_FOR_OTHERS)


def find_public(config: Config) -> Path | None:
    """Return the instance folder, or the first of Signet's files in it, that other users may access; None if there is none.

    The access of a group that this process belongs to is none of theirs: see ``find_shared``.
    """
    return next((path for path in _with_folder(config) if _for_others(path)), None)


def find_shared(config: Config) -> Path | None:
    """Return the first of these paths that the other members of a group of this process may access.

    A volume of Kubernetes with ``fsGroup`` is mounted so (2770 and 0660, the folder being root's): the pod alone is in that
    group, and may not change the mode.
    """
    return next((path for path in _with_folder(config) if _mode(path) & _FOR_GROUP), None)


def _with_folder(config: Config) -> Iterator[Path]:
    yield config.instance
    yield from own_files(config)


def _for_others(path: Path) -> int:
    """Return the permission bits of a file that hold for users beside this one and its groups."""
    mode = _mode(path)
    if mode & _FOR_GROUP and path.lstat().st_gid in {os.getegid(), *os.getgroups()}:
        mode &= ~_FOR_GROUP
    return mode & _FOR_OTHERS


def find_not_writable(config: Config) -> Path | None:
    """Return the instance folder or a database file that this user may not write to; None if there is none."""
    paths = (config.instance, *_databases(config))
    return next((path for path in paths if path.exists() and not os.access(path, os.W_OK)), None)


def owns_folder(config: Config) -> bool:
    """Return whether the instance folder, if there is one, belongs to the user of this process."""
    try:
        return config.instance.stat().st_uid == os.geteuid()
    except OSError:
        return True


def own_files(config: Config) -> Iterator[Path]:
    """Yield the files and folders that Signet makes and keeps private. Some of them may not exist."""
    yield from (config.instance / name for name in (*_SECRETS, *_FOLDERS))
    yield from _databases(config)


def _databases(config: Config) -> Iterator[Path]:
    files = [config.instance / "jobs.sqlite", config.instance / "portal.sqlite"]
    if config.database_url.startswith("sqlite:///"):
        files.append(Path(config.database_url.removeprefix("sqlite:///")))
    yield from (Path(f"{file}{suffix}") for file in dict.fromkeys(files) for suffix in SQLITE_SUFFIXES)


def _mode(path: Path) -> int:
    """Return the permission bits of a file; 0 for a missing one, and for a link, whose target is not Signet's."""
    try:
        found = path.lstat()
    except OSError:
        return 0
    return 0 if stat.S_ISLNK(found.st_mode) else stat.S_IMODE(found.st_mode)
