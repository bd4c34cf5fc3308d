"""Reads the folder of received mail, whatever lies in it."""

from __future__ import annotations

import json
import os
import re
import stat
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from . import message_view, store
from .message_view import Letter, plain

if TYPE_CHECKING:
    from pathlib import Path

PAGE = 50  # messages on one page of the list
_HEAD_BYTES = 64 * 1024  # of a message, read for the list
_MOST_BYTES = 6 * 1024 * 1024  # of a message, read for its page; the server takes less than that
_ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True)
class Entry:
    """One received message. What a broken or missing envelope does not tell is empty, ``port`` then 0."""

    id: str
    received_at: datetime | None
    sender: str  # the envelope sender
    recipients: tuple[str, ...]
    username: str
    tls: str
    port: int
    size: int  # bytes
    letter: Letter


@dataclass(frozen=True)
class Page:
    """Some entries, newest first. ``older`` is the id to go on from, None on the last page."""

    entries: tuple[Entry, ...]
    older: str | None
    total: int


def listing(directory: Path, before: str | None = None, size: int = PAGE) -> Page:
    """Return the messages older than the id ``before``; the newest without one."""
    found = [path for path in store.newest_first(directory) if _ID.fullmatch(path.stem)]
    paths = [path for path in found if before is None or path.name < f"{before}.eml"]
    chosen = paths[:size]
    entries = tuple(entry for path in chosen if (entry := _entry(path, _HEAD_BYTES)) is not None)
    return Page(entries, chosen[-1].stem if len(paths) > size else None, len(found))


def message(directory: Path, ident: str) -> Entry | None:
    """Return one message with its body; None where there is none of that id."""
    return _entry(directory / f"{ident}.eml", _MOST_BYTES) if _ID.fullmatch(ident) else None


def raw(directory: Path, ident: str) -> bytes | None:
    """Return one message as it was received; None where there is none of that id."""
    return _read(directory / f"{ident}.eml", _MOST_BYTES) if _ID.fullmatch(ident) else None


def clear(directory: Path) -> int:
    """Remove every message and return how many there were."""
    return sum(store.drop(path) for path in store.newest_first(directory))


def _entry(path: Path, limit: int) -> Entry | None:
    content = _read(path, limit)
    if content is None:
        return None
    known = _envelope(path.with_suffix(".json"))
    recipients = known.get("recipients")
    port = known.get("port")
    moment, size = _facts(path)
    return Entry(
        id=path.stem,
        received_at=_moment(known.get("received_at")) or moment,
        sender=_text(known.get("sender")),
        recipients=tuple(_text(one) for one in recipients) if isinstance(recipients, list) else (),
        username=_text(known.get("username")),
        tls=_text(known.get("tls")),
        port=port if isinstance(port, int) else 0,
        size=size,
        letter=message_view.whole(content) if limit == _MOST_BYTES else message_view.head(content),
    )


def _read(path: Path, limit: int) -> bytes | None:
    """Read up to ``limit`` bytes of a regular file; None for anything else (a folder, a pipe, a link)."""
    try:
        # NONBLOCK, since opening a pipe would otherwise wait for somebody to write into it.
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except (OSError, ValueError):
        return None
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            return None
        with open(handle, "rb", closefd=False) as file:
            return file.read(limit)
    finally:
        os.close(handle)


def _envelope(path: Path) -> dict[str, Any]:
    try:
        known = json.loads(_read(path, _HEAD_BYTES) or b"{}")
    except (ValueError, RecursionError):
        return {}
    return known if isinstance(known, dict) else {}


def _facts(path: Path) -> tuple[datetime | None, int]:
    try:
        about = path.stat(follow_symlinks=False)
        return datetime.fromtimestamp(about.st_mtime, UTC), about.st_size
    except (OSError, ValueError, OverflowError):  # removed meanwhile, or dated beyond the calendar
        return None, 0


def _moment(value: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
        return moment.astimezone(UTC) if moment and moment.tzinfo else None
    except (ValueError, OverflowError):
        return None


def _text(value: object) -> str:
    return plain(value)[:1000] if isinstance(value, str) else ""
