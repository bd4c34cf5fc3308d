"""Store of received mail: an ``.eml`` file with the message as received, a ``.json`` file with its envelope."""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from .certificates import make_private_directory, rehearsal_folder

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from ..config import Config

MAX_MESSAGES = 500  # beyond it the oldest are deleted


@dataclass(frozen=True)
class StoredEnvelope:
    """Envelope and connection of a received message; ``tls`` is a version such as "TLSv1.3", empty without TLS."""

    id: str
    received_at: str  # ISO 8601, UTC
    sender: str
    recipients: tuple[str, ...]
    username: str
    tls: str
    port: int


def inbox_folder(config: Config) -> Path:
    """Return the folder of received mail."""
    return rehearsal_folder(config) / "inbox"


def new_id(now: datetime) -> str:
    """Return a queue id: 18 hexadecimal digits that sort by the time of receipt."""
    return f"{int(now.timestamp() * 1_000_000):014X}{secrets.token_hex(2).upper()}"


def save(directory: Path, envelope: StoredEnvelope, content: bytes) -> None:
    """Write one message and delete the oldest beyond MAX_MESSAGES. Raises OSError."""
    make_private_directory(directory)
    # The envelope is written first: readers list .eml files, so a listed message is complete.
    _write(directory / f"{envelope.id}.json", json.dumps(asdict(envelope), indent=1).encode("ascii"))
    _write(directory / f"{envelope.id}.eml", content)
    for path in newest_first(directory)[MAX_MESSAGES:]:
        delete(path)


def newest_first(directory: Path) -> list[Path]:
    """Return the ``.eml`` paths, newest first; empty if the folder does not exist."""
    try:
        paths = [path for path in directory.glob("*.eml") if not path.name.startswith(".")]
    except OSError:
        return []
    return sorted(paths, key=lambda path: path.name, reverse=True)


def delete(path: Path) -> bool:
    """Delete one message and its envelope; return False if it is not a file or does not exist."""
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
