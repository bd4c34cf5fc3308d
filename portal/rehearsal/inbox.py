"""Reads the folder of received mail, which may hold damaged or foreign files."""

from __future__ import annotations

import json
import os
import re
import stat
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from . import message_view, store
from .message_view import MessageView, printable

if TYPE_CHECKING:
    from pathlib import Path

PAGE_SIZE = 50  # messages on one page of the list
_LIST_READ_BYTES = 64 * 1024  # read of each message for the list
_PAGE_READ_BYTES = 6 * 1024 * 1024  # read of a message for its page; the server accepts less than that
_ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True)
class InboxMessage:
    """One received message. Fields that a damaged or missing envelope file lacks are empty, ``port`` is 0."""

    id: str
    received_at: datetime | None
    sender: str  # envelope sender
    recipients: tuple[str, ...]
    username: str
    tls: str
    port: int
    size: int  # bytes
    view: MessageView


@dataclass(frozen=True)
class InboxPage:
    """One page of messages, newest first. ``older`` is the id where the next page starts, None on the last."""

    messages: tuple[InboxMessage, ...]
    older: str | None
    total: int


def list_messages(directory: Path, before: str | None = None, size: int = PAGE_SIZE) -> InboxPage:
    """Return the messages older than the id ``before``, or the newest ones."""
    found = [path for path in store.newest_first(directory) if _ID.fullmatch(path.stem)]
    paths = [path for path in found if before is None or path.name < f"{before}.eml"]
    chosen = paths[:size]
    messages = tuple(one for path in chosen if (one := _load(path, _LIST_READ_BYTES)) is not None)
    return InboxPage(messages, chosen[-1].stem if len(paths) > size else None, len(found))


def get_message(directory: Path, message_id: str) -> InboxMessage | None:
    """Return one message with its body, None if there is none with this id."""
    valid = _ID.fullmatch(message_id) is not None
    return _load(directory / f"{message_id}.eml", _PAGE_READ_BYTES) if valid else None


def read_raw(directory: Path, message_id: str) -> bytes | None:
    """Return one message as received, None if there is none with this id."""
    valid = _ID.fullmatch(message_id) is not None
    return _read(directory / f"{message_id}.eml", _PAGE_READ_BYTES) if valid else None


def delete_all(directory: Path) -> int:
    """Delete every message; return the number of deleted messages."""
    return sum(store.delete(path) for path in store.newest_first(directory))


def _load(path: Path, limit: int) -> InboxMessage | None:
    """Return the message at ``path`` from its first ``limit`` bytes; for the list its headers only."""
    content = _read(path, limit)
    if content is None:
        return None
    envelope = _read_envelope(path.with_suffix(".json"))
    recipients = envelope.get("recipients")
    port = envelope.get("port")
    modified_at, size = _file_facts(path)
    parse = message_view.parse_message if limit == _PAGE_READ_BYTES else message_view.parse_headers
    return InboxMessage(
        id=path.stem,
        received_at=_aware_datetime(envelope.get("received_at")) or modified_at,
        sender=_text(envelope.get("sender")),
        recipients=tuple(_text(one) for one in recipients) if isinstance(recipients, list) else (),
        username=_text(envelope.get("username")),
        tls=_text(envelope.get("tls")),
        port=port if isinstance(port, int) else 0,
        size=size,
        view=parse(content),
    )


def _read(path: Path, limit: int) -> bytes | None:
    """Return up to ``limit`` bytes of a regular file; None for a folder, pipe or symbolic link."""
    try:
        # O_NONBLOCK: opening a pipe would otherwise block until another process opens it for writing.
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


def _read_envelope(path: Path) -> dict[str, Any]:
    try:
        envelope = json.loads(_read(path, _LIST_READ_BYTES) or b"{}")
    except (ValueError, RecursionError):
        return {}
    return envelope if isinstance(envelope, dict) else {}


def _file_facts(path: Path) -> tuple[datetime | None, int]:
    """Return the time of the last modification and the size in bytes."""
    try:
        status = path.stat(follow_symlinks=False)
        return datetime.fromtimestamp(status.st_mtime, UTC), status.st_size
    except (OSError, ValueError, OverflowError):  # deleted meanwhile, or a date out of range
        return None, 0


def _aware_datetime(value: object) -> datetime | None:
    try:
        parsed = datetime.fromisoformat(value) if isinstance(value, str) else None
        return parsed.astimezone(UTC) if parsed and parsed.tzinfo else None
    except (ValueError, OverflowError):
        return None


def _text(value: object) -> str:
    return printable(value)[:1000] if isinstance(value, str) else ""
