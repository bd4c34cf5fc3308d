"""Keeps received mail: one ``.eml`` with the message as sent, and one ``.json`` with its envelope."""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from .certificates import folder as home
from .certificates import private_directory

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from ..config import Config

KEPT = 500  # messages; the oldest go first


@dataclass(frozen=True)
class Envelope:
    """What the server knew beside the message. ``tls`` is like "TLSv1.3"."""

    id: str
    received_at: str  # ISO 8601, UTC
    sender: str
    recipients: tuple[str, ...]
    username: str
    tls: str
    port: int


def folder(config: Config) -> Path:
    """Return the folder that holds the received mail."""
    return home(config) / "inbox"


def new_id(now: datetime) -> str:
    """Return a queue id: 18 hex digits which sort by the time of receipt."""
    return f"{int(now.timestamp() * 1_000_000):014X}{secrets.token_hex(2).upper()}"


def keep(directory: Path, envelope: Envelope, content: bytes) -> None:
    """Write one message and drop the oldest beyond KEPT. Raises OSError where that is impossible."""
    private_directory(directory)
    # The envelope first: a reader lists the .eml files, so whatever is listed is complete.
    _write(directory / f"{envelope.id}.json", json.dumps(asdict(envelope), indent=1).encode("ascii"))
    _write(directory / f"{envelope.id}.eml", content)
    for path in newest_first(directory)[KEPT:]:
        drop(path)


def newest_first(directory: Path) -> list[Path]:
    """Return the ``.eml`` paths, newest first; nothing if there is no folder yet."""
    try:
        paths = [path for path in directory.glob("*.eml") if not path.name.startswith(".")]
    except OSError:
        return []
    return sorted(paths, key=lambda path: path.name, reverse=True)


def drop(path: Path) -> bool:
    """Remove one message with its envelope; False where it was no file or is gone already."""
    try:
        path.unlink()
        path.with_suffix(".json").unlink(missing_ok=True)
    except OSError:
        return False
    return True


def _write(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.part")
    temporary.write_bytes(content)
    temporary.replace(path)
