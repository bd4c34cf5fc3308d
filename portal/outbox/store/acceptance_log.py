"""The acceptance log: a local append-only file of submitted and accepted messages, written ahead of the table.

A worker that crashes between the server's reply and its own commit would send the message again. One line, appended as
soon as the reply is read, survives the process (not a power cut: the file is not synced), and the next worker on this
machine settles the message by it. Each process has its own file and holds a lock on it while it runs. The file contains
ids, tokens, the server and its reply; no bodies, recipients or secrets.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import secrets
import threading
import time
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...state import current_config, get_state
from .attempts import acceptance_columns

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from ...smtp.protocol.envelope import Acceptance
    from .types import Claim

_log = logging.getLogger(__name__)
_FOLDER = "accepted"
_MARK = "mark"
_SUFFIX = ".journal"  # unchanged since the first version, so that an upgrade still recovers older files

Entry = dict[str, Any]  # one line: "message" and "token" of the claim, and "begun" or "reply"


class AcceptanceLog:
    """The log file of this process. Thread-safe."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self.folder = folder
        self._max_bytes = max_bytes  # after which open entries move to a new file
        self._lock = threading.Lock()
        self._pid = 0
        self._path = Path()
        self._file = -1
        self._size = 0
        self._open: dict[tuple[int, str], list[str]] = {}  # (message id, token) -> lines, until it is settled

    @cached_property
    def folder_name(self) -> str:
        """A name of this folder in 7 characters: other folders of this machine, and a copy of this one, have others.

        A new folder in the place of a lost one can have its inode, so a file in it is part of the name.
        """
        self.folder.mkdir(mode=0o700, exist_ok=True)
        found, mark = self.folder.stat(), _read_mark(self.folder)
        return hashlib.sha256(f"{found.st_dev}:{found.st_ino}:{mark}".encode()).hexdigest()[:7]

    def log_start(self, claim: Claim) -> bool:
        """Log that a message is about to be submitted. False if the write failed: the table must record the start."""
        return self._append((claim, _start_of(claim)))

    def log_accepted(self, claim: Claim, acceptance: Acceptance, following: Claim | None = None) -> bool:
        """Log that the server accepted a message, and that ``following`` is about to be submitted.

        False, after a log line, if the write failed; the table must then record the start of ``following``.
        """
        entries = [(claim, {"reply": acceptance_columns(acceptance)})]
        if following is not None:
            entries.append((following, _start_of(following)))
        return self._append(*entries)

    def _append(self, *entries: tuple[Claim, Entry]) -> bool:
        lines = {}
        for claim, entry in entries:
            line = {"message": claim.message.id, "token": claim.token, **entry}
            lines[claim.message.id, claim.token] = json.dumps(line) + "\n"
        data = "".join(lines.values()).encode()
        with self._lock:
            for key, text in lines.items():
                self._open.setdefault(key, []).append(text)
            try:
                written = os.write(self._own_file(), data)
            except OSError as error:
                _log.error("cannot write the acceptance log: %s", error)
                return False
            self._size += written
        if written < len(data):
            _log.error("cannot write the acceptance log: only part of a line was written")
        return written == len(data)

    def discard(self, *claims: Claim) -> None:
        """Drop the entries of claims that are settled in the table, and rotate the file if it is large."""
        with self._lock:
            for one in claims:
                self._open.pop((one.message.id, one.token), None)
            if self._size > self._max_bytes and self._pid == os.getpid():
                self._rotate()

    def discard_token(self, token: str) -> None:
        """Drop the entries of all claims under a token, which are settled in the table."""
        with self._lock:
            for key in [one for one in self._open if one[1] == token]:
                del self._open[key]

    def open_entries(self, token: str) -> list[Entry]:
        """Return the entries under a token that are not settled."""
        with self._lock:
            lines = [line for (_, own), lines in self._open.items() if own == token for line in lines]
        return [json.loads(line) for line in lines]

    def close(self) -> None:
        """Close the file, and delete it if no entry is open."""
        with self._lock:
            if self._pid == os.getpid() and self._file >= 0:
                if not self._open:
                    self._path.unlink(missing_ok=True)
                os.close(self._file)
            self._file, self._pid = -1, 0

    def _rotate(self) -> None:
        """Replace the file by one with the open entries only; if the disk is full, keep the old one."""
        path, file, self._pid = self._path, self._file, 0
        try:
            lines = "".join(line for lines in self._open.values() for line in lines).encode()
            self._size = os.write(self._own_file(), lines)
        except OSError:
            if self._file != file:
                self._path.unlink(missing_ok=True)
                os.close(self._file)
            self._path, self._file, self._pid, self._size = path, file, os.getpid(), 0
            return
        path.unlink(missing_ok=True)
        os.close(file)

    def _own_file(self) -> int:
        """Return the descriptor of this process's file; a forked process opens its own."""
        if self._pid != os.getpid():
            self.folder.mkdir(mode=0o700, exist_ok=True)
            self._file, self._path = _create(self.folder)
            self._pid, self._size = os.getpid(), 0
        return self._file


def _create(folder: Path) -> tuple[int, Path]:
    """Create a log file and lock it; return its descriptor and path.

    Before it is locked, another process may take it for that of an ended one and delete it: then there is another try.
    """
    while True:
        # The process id alone is not unique: in a container every worker has the same one.
        path = folder / f"{os.getpid()}-{secrets.token_hex(6)}{_SUFFIX}"
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file).st_nlink > 0:
            return file, path
        os.close(file)


def _read_mark(folder: Path) -> str:
    """Return the random text of a folder, which the first process that asks for it writes."""
    path = folder / _MARK
    with suppress(FileExistsError), path.open("x", encoding="ascii") as file:
        file.write(secrets.token_hex(16))
    for _ in range(100):  # another process may be writing it; one that crashed at that has left it empty
        if found := path.read_text(encoding="ascii"):
            return found
        time.sleep(0.01)
    return ""


def current_log() -> AcceptanceLog:
    """Return the acceptance log of this process."""
    return get_state().part(AcceptanceLog, _new_log)


def _new_log() -> AcceptanceLog:
    config = current_config()
    return AcceptanceLog(config.instance / _FOLDER, config.tuning.acceptance_log_max_bytes)


def entries_for(tokens: Collection[str]) -> list[Entry]:
    """Return what any process of this machine, running or ended, has logged under these tokens."""
    return [entry for entry in all_entries() if entry["token"] in tokens]


def all_entries() -> list[Entry]:
    """Return everything that is in the files of this machine; entries of settled claims are among it."""
    while True:
        try:
            return [entry for path in _files() for entry in _parse(path.read_bytes())]
        except FileNotFoundError:
            continue  # a file was rotated during the read: read again


def import_entries(instance: Path, entries: Iterable[Entry]) -> None:
    """Write entries into a file of their own, as of an ended process; the next worker applies and deletes it."""
    folder = instance / _FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / f"imported-{secrets.token_hex(6)}{_SUFFIX}"
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(file, "w", encoding="ascii") as stream:
        stream.writelines(json.dumps(entry) + "\n" for entry in entries)


def orphaned_entries() -> Iterator[list[Entry]]:
    """Yield the entries of ended processes, one file at a time; each file is deleted after its entries were used."""
    for path in _files():
        with _claimed(path) as entries:
            if entries is not None:
                yield entries
                path.unlink(missing_ok=True)


def _files() -> list[Path]:
    folder = current_log().folder
    try:
        return [path for path in folder.iterdir() if path.suffix == _SUFFIX]
    except FileNotFoundError:
        return []


@contextmanager
def _claimed(path: Path) -> Iterator[list[Entry] | None]:
    """Yield the entries of an ended process's file, locked against other processes; None while the process runs."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        yield None
        return
    try:
        yield list(_parse(path.read_bytes())) if _is_orphaned(file) else None
    finally:
        os.close(file)


def _is_orphaned(file: int) -> bool:
    """Lock a file; False if its process is running, or if another process has applied and deleted the file."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return os.fstat(file).st_nlink > 0


def _parse(data: bytes) -> Iterator[Entry]:
    for line in data.splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue  # an incomplete line: the process crashed while writing it, or the disk was full
        is_entry = isinstance(entry, dict) and {"message", "token"} <= entry.keys()
        if is_entry and {"begun", "reply"} & entry.keys():
            yield entry


def _start_of(claim: Claim) -> Entry:
    at = claim.started_at.isoformat() if claim.started_at else None
    return {"begun": {**claim.route, "now": at}}
