"""The journal: what a server was given and what it took, written down in a local file before it is in the table.

A worker that dies between the server's last word and its own commit would send the message again. One line,
appended the moment the word is read, outlives the process (not a power cut: it is not forced to the disk), and
whoever runs a worker on this machine next settles by it. Each process has a file of its own and keeps it
locked while it lives. It holds numbers, tokens, the server and its reply; no bodies, no recipients, no secrets.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import secrets
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...smtp.failure import Stage
from ...state import get_state

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from ...smtp.protocol.envelope import Acceptance
    from .types import Claim

_log = logging.getLogger(__name__)
_FOLDER = "accepted"
_LONG_ENOUGH = 256 * 1024  # octets after which another file is begun

Entry = dict[str, Any]  # one line: "message" and "token" of the claim, and "begun" or "reply"


class Journal:
    """The file of this process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._pid = 0
        self._path = Path()
        self._file = -1
        self._size = 0
        self._open: dict[tuple[int, str], list[str]] = {}  # claim -> its lines, until it is settled

    def begun(self, claim: Claim) -> bool:
        """Write down that a message is about to be handed in. False: it could not be, and must not begin so."""
        return self._note((claim, _beginning_of(claim)))

    def accepted(self, claim: Claim, acceptance: Acceptance, following: Claim | None = None) -> bool:
        """Write down that the server has the message, and that ``following`` is about to be handed in.

        False when the disk does not take it, which is told; ``following`` must not begin so.
        """
        words = [(claim, {"reply": reply_of(acceptance)})]
        if following is not None:
            words.append((following, _beginning_of(following)))
        return self._note(*words)

    def _note(self, *words: tuple[Claim, Entry]) -> bool:
        lines = {
            (claim.message.id, claim.token): json.dumps(
                {"message": claim.message.id, "token": claim.token, **entry}
            )
            + "\n"
            for claim, entry in words
        }
        data = "".join(lines.values()).encode()
        with self._lock:
            for key, line in lines.items():
                self._open.setdefault(key, []).append(line)
            try:
                written = os.write(self._mine(), data)
            except OSError as trouble:
                _log.error("the journal of acceptances cannot be written: %s", trouble)
                return False
            self._size += written
        if written < len(data):
            _log.error("the journal of acceptances cannot be written: the disk took a part of a line")
        return written == len(data)

    def settled(self, *claims: Claim) -> None:
        """The table knows; what it does not know yet goes to another file when this one has grown."""
        with self._lock:
            for one in claims:
                self._open.pop((one.message.id, one.token), None)
            if self._size > _LONG_ENOUGH and self._pid == os.getpid():
                self._begin_another()

    def open_of(self, token: str) -> list[Entry]:
        """Return what was written down under a token and is not settled."""
        with self._lock:
            lines = [line for (_, own), lines in self._open.items() if own == token for line in lines]
        return [json.loads(line) for line in lines]

    def forget(self, token: str) -> None:
        """The table knows all that was written down under a token."""
        with self._lock:
            for claim in [one for one in self._open if one[1] == token]:
                del self._open[claim]

    def close(self) -> None:
        """End the file: it is taken away when the table knows all of it."""
        with self._lock:
            if self._pid == os.getpid() and self._file >= 0:
                if not self._open:
                    self._path.unlink(missing_ok=True)
                os.close(self._file)
            self._file, self._pid = -1, 0

    def _begin_another(self) -> None:
        """Leave the grown file for one that holds what is open alone; with a full disk, go on as before."""
        path, file, self._pid = self._path, self._file, 0
        try:
            lines = "".join(line for lines in self._open.values() for line in lines).encode()
            self._size = os.write(self._mine(), lines)
        except OSError:
            if self._file != file:
                self._path.unlink(missing_ok=True)
                os.close(self._file)
            self._path, self._file, self._pid, self._size = path, file, os.getpid(), 0
            return
        path.unlink(missing_ok=True)
        os.close(file)

    def _mine(self) -> int:
        """Open the file of this very process; one made by fork has its own."""
        if self._pid != os.getpid():
            self.folder.mkdir(mode=0o700, exist_ok=True)
            # The number alone would name a dead process' file, too: in a container it is the same every time.
            self._path = self.folder / f"{os.getpid()}-{secrets.token_hex(6)}.journal"
            self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._file, fcntl.LOCK_EX)
            self._pid, self._size = os.getpid(), 0
        return self._file


def of_this_process() -> Journal:
    """Return the journal of this process."""
    state = get_state()
    return state.part(Journal, lambda: Journal(state.config.instance / _FOLDER))


def about(tokens: Collection[str]) -> list[Entry]:
    """Return what any process of this machine wrote down under these tokens, be it alive or not."""
    while True:
        try:
            lines = [entry for path in _files() for entry in _read(path.read_bytes())]
        except FileNotFoundError:
            continue  # another was begun at this very moment: look again
        return [entry for entry in lines if entry["token"] in tokens]


def of_the_dead() -> Iterator[list[Entry]]:
    """Yield what processes wrote down that are gone, a file at a time; each is taken away after it was used."""
    for path in _files():
        with _taken(path) as entries:
            if entries is not None:
                yield entries
                path.unlink(missing_ok=True)


def _files() -> list[Path]:
    folder = of_this_process().folder
    try:
        return [path for path in folder.iterdir() if path.suffix == ".journal"]
    except FileNotFoundError:
        return []


@contextmanager
def _taken(path: Path) -> Iterator[list[Entry] | None]:
    """Yield the lines of a file whose process is gone, locked against others who look; None while it lives."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        yield None
        return
    try:
        yield list(_read(path.read_bytes())) if _is_left(file) else None
    finally:
        os.close(file)


def _is_left(file: int) -> bool:
    """Whether the process of a file is gone, and nobody else has settled it; it is locked then."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return os.fstat(file).st_nlink > 0


def _read(said: bytes) -> Iterator[Entry]:
    for line in said.splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue  # half a line: its process died in the middle of it, or the disk was full
        if (
            isinstance(entry, dict)
            and {"message", "token"} <= entry.keys()
            and {"begun", "reply"} & entry.keys()
        ):
            yield entry


def _beginning_of(claim: Claim) -> Entry:
    at = claim.begun_at.isoformat() if claim.begun_at else None
    return {"begun": {**claim.route, "now": at}}


def reply_of(acceptance: Acceptance) -> dict[str, Any]:
    """Return what is kept of a server's acceptance, by the attempt's columns."""
    reply = acceptance.reply
    return {
        "stage": Stage.DATA.value,
        "reply_code": reply.code,
        "enhanced_code": (reply.enhanced or "")[:12],
        "reply_text": reply.text[:500],
        "queue_id": (acceptance.queue_id or "")[:120],
    }
