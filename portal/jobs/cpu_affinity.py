"""One processor for one process.

Python runs one thread of a process at a time. Where they take turns on several processors, each turn wakes another
one, which costs a portal under load a third of what it could do and a worker with several accounts a quarter
(docs/benchmarks.md).
"""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_kept: list[int] = []  # locked files: a lock ends with its process, however that ends


def keep_to_one(instance: Path, *, from_last: bool = False) -> int | None:
    """Keep this process, and the threads it starts from now on, to a processor that no other one has been given.

    The processes of one ``instance`` folder agree on that there; ``from_last`` begins with the last processor. Returns
    its number. None where all are given away, there is but one, or nothing can be agreed on: then the process runs
    wherever there is room.
    """
    if not hasattr(os, "sched_setaffinity"):
        return None
    allowed = sorted(os.sched_getaffinity(0), reverse=from_last)
    if len(allowed) < 2:
        return None
    number = next((one for one in allowed if _take(instance / "processors", one)), None)
    if number is None:
        return None
    try:
        os.sched_setaffinity(0, {number})
    except OSError:  # a sandbox may forbid it
        return None
    return number


def _take(folder: Path, number: int) -> bool:
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        file = os.open(folder / str(number), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:  # a folder that may only be read stops no portal whose tables are elsewhere
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(file)
        return False
    _kept.append(file)
    return True
