"""Pages that violated no rule, by their digests: kept in a file, which the processes of all runs share."""

from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path

_BYTES = 32
_MOST = 4 * 1024 * 1024  # of a file; a larger one, with the pages of many versions, is begun anew
_known: set[bytes] = set()
_file: list[Path] = []  # the file of this run, if it has one
_read = [0]  # bytes of the file


def use_file(folder: Path) -> None:
    """Read and add to a file in a folder."""
    _file[:], _read[0] = [folder / "passed"], 0
    if _file[0].exists() and _file[0].stat().st_size > _MOST:
        _file[0].unlink()


def digest_of(rules: bytes, form: str) -> bytes:
    """Return the digest of a page under these rules: under others, the page is checked again."""
    return sha256(rules + form.encode("utf-8", "surrogatepass")).digest()


def has_passed(digest: bytes) -> bool:
    """Return whether a process has checked this page."""
    if digest not in _known:
        _read_more()
    return digest in _known


def add(digest: bytes) -> None:
    """Note a page that was checked."""
    _known.add(digest)
    if _file:
        added = os.open(_file[0], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(added, digest)  # at once, so that digests of two processes do not mix
        os.close(added)


def _read_more() -> None:
    if not _file or not _file[0].exists():
        return
    with _file[0].open("rb") as file:
        file.seek(_read[0])
        more = file.read()
    whole = len(more) - len(more) % _BYTES
    _known.update(more[start : start + _BYTES] for start in range(0, whole, _BYTES))
    _read[0] += whole
