"""Mailboxes of senders at the rehearsal: folders of played bounce mails, whose file names are the UIDs."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from .certificates import make_private_directory, rehearsal_folder

if TYPE_CHECKING:
    from pathlib import Path

    from ..config import Config

MAX_MAILS = 200  # of one mailbox; beyond it the oldest are deleted
_DIGITS = 10


def mailboxes_folder(config: Config) -> Path:
    """Return the folder of all mailboxes."""
    return rehearsal_folder(config) / "mailboxes"


def mailbox_folder(folder: Path, address: str) -> Path:
    """Return the folder of one mailbox. An address with a detail, such as ``bounces+x@``, has that of ``bounces@``."""
    local, _at, domain = address.strip().casefold().rpartition("@")
    key = f"{local.partition('+')[0]}@{domain}"
    return folder / hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()[:32]


def add(folder: Path, address: str, content: bytes) -> int:
    """Put a mail into a mailbox; return its UID. Raises OSError."""
    mailbox = mailbox_folder(folder, address)
    make_private_directory(folder)
    make_private_directory(mailbox)
    uid = max(uids(mailbox), default=0) + 1
    while True:
        try:
            with _path(mailbox, uid).open("xb") as file:
                file.write(content)
            break
        except FileExistsError:  # another mail was played at the same moment
            uid += 1
    for old in uids(mailbox)[:-MAX_MAILS]:
        _path(mailbox, old).unlink(missing_ok=True)
    return uid


def uids(mailbox: Path) -> list[int]:
    """Return the UIDs of a mailbox, in order; none if it does not exist."""
    try:
        names = [path.stem for path in mailbox.glob("*.eml")]
    except OSError:
        return []
    return sorted(int(name) for name in names if name.isascii() and name.isdigit())


def read(mailbox: Path, uid: int) -> bytes:
    """Return a mail with CRLF line ends, empty if there is none."""
    try:
        content = _path(mailbox, uid).read_bytes()
    except OSError:
        return b""
    return content.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def _path(mailbox: Path, uid: int) -> Path:
    return mailbox / f"{uid:0{_DIGITS}}.eml"
