"""The journal of acceptances: what a server took, written down in a local file before it is in the table.

A worker that dies between the server's last word and its own commit would send the message again. One line,
appended the moment the word is read, outlives the process (not a power cut: it is not forced to the disk), and
whoever runs a worker on this machine next settles by it. Each process has a file of its own and keeps it
locked while it lives. It holds numbers, tokens and the server's reply; no bodies, no addresses, no secrets.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from flask import current_app

from ..config import current_config
from ..db import db, moment
from ..smtp.envelope import Acceptance
from ..smtp.failure import Stage
from . import claims
from .models import DeliveryAttempt, OutboxMessage, Outcome, Status

_log = logging.getLogger(__name__)
_FOLDER = "accepted"
_LONG_ENOUGH = 256 * 1024  # octets after which a file with nothing open is emptied


class Journal:
    """The file of this process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._pid = 0
        self._path = Path()
        self._file = -1
        self._size = 0
        self._open: dict[int, str] = {}  # attempt -> its line, until it is settled
        self._abandoned: set[int] = set()  # attempts whose drain broke off before it could settle them

    def accepted(self, claim: claims.Claim, acceptance: Acceptance) -> None:
        """Write down that the server has the message. A disk that is full is told and costs nothing else."""
        line = json.dumps(_entry(claim, acceptance)) + "\n"
        with self._lock:
            self._open[claim.attempt_id] = line
            try:
                self._size += os.write(self._mine(), line.encode())
            except OSError as trouble:
                _log.error("the journal of acceptances cannot be written: %s", trouble)

    def settled(self, claim: claims.Claim) -> None:
        """The table knows; empty the file when it has grown and nothing in it is open."""
        with self._lock:
            self._open.pop(claim.attempt_id, None)
            if self._size > _LONG_ENOUGH and not self._open and self._pid == os.getpid():
                os.ftruncate(self._file, 0)
                self._size = 0

    def abandon(self, claim: claims.Claim) -> None:
        """Leave a message to the pulse, in case it was accepted: its drain has broken off."""
        with self._lock:
            self._abandoned.add(claim.attempt_id)

    def abandoned(self) -> list[dict[str, Any]]:
        """Return what was accepted and could not be settled, because the database was away."""
        with self._lock:
            self._abandoned &= self._open.keys()
            return [json.loads(self._open[attempt]) for attempt in self._abandoned]

    def forget(self, attempt: int) -> None:
        with self._lock:
            self._open.pop(attempt, None)

    def close(self) -> None:
        """End the file: it is taken away when the table knows all of it."""
        with self._lock:
            if self._pid == os.getpid() and self._file >= 0:
                if not self._open:
                    self._path.unlink(missing_ok=True)
                os.close(self._file)
            self._file, self._pid = -1, 0

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
    found: Journal | None = current_app.extensions.get("signet.journal")
    if found is None:
        found = Journal(current_config().instance / _FOLDER)
        current_app.extensions["signet.journal"] = found
    return found


def settle_the_dead() -> int:
    """Settle what processes wrote down that are gone; return how many messages that were. Commits."""
    count = 0
    for path in _files():
        with _taken(path) as entries:
            if entries is not None:
                count += _settle_all(entries)
                path.unlink(missing_ok=True)
    return count


def settle_our_own() -> None:
    """Settle what this process could not when the database was away. Commits."""
    mine = of_this_process()
    for entry in mine.abandoned():
        if _settle(entry, moment()):
            _log.info(
                "message %s was accepted while the database was away; now it is recorded", entry["message"]
            )
        db.session.commit()
        mine.forget(entry["attempt"])


def _files() -> list[Path]:
    folder = of_this_process().folder
    try:
        return [path for path in folder.iterdir() if path.suffix == ".journal"]
    except FileNotFoundError:
        return []


@contextmanager
def _taken(path: Path) -> Iterator[list[dict[str, Any]] | None]:
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


def _read(said: bytes) -> Iterator[dict[str, Any]]:
    for line in said.splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue  # half a line: its process died in the middle of it, or the disk was full
        if isinstance(entry, dict) and {"message", "token", "attempt"} <= entry.keys():
            yield entry


def _settle_all(entries: list[dict[str, Any]]) -> int:
    now, count = moment(), 0
    for entry in entries:
        count += _settle(entry, now)
    db.session.commit()
    if count:
        _log.info("%s messages that a dead worker had handed in were recorded as accepted", count)
    return count


def _settle(entry: dict[str, Any], now: datetime) -> bool:
    """Record one acceptance, if the message is still being sent under the very claim that was written down."""
    attempt = db.session.get(DeliveryAttempt, entry["attempt"], populate_existing=True)
    row = db.session.get(OutboxMessage, entry["message"], populate_existing=True, with_for_update=True)
    if attempt is None or row is None or attempt.message_id != row.id:
        return False
    if row.status is not Status.SENDING or attempt.outcome is not Outcome.STARTED:
        return False
    values = {
        "status": Status.SENT,
        "settled_at": now,
        "attempts": row.attempts + 1,
        "lease_token": None,
        "lease_until": None,
    }
    if row.private:
        values |= {"text": "", "html": ""}
    if not claims.settle_rows(row.id, entry["token"], values):
        return False
    claims.complete(attempt.id, {**entry["reply"], "outcome": Outcome.ACCEPTED, "ended_at": now})
    db.session.expire_all()
    return True


def _entry(claim: claims.Claim, acceptance: Acceptance) -> dict[str, Any]:
    return {
        "message": claim.message.id,
        "token": claim.token,
        "attempt": claim.attempt_id,
        "reply": reply_of(acceptance),
    }


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
