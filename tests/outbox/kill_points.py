"""Points in the worker's code at which it kills itself with SIGKILL, once for each message; used by tests only.

The script of a mail server can kill a worker between two replies. A point between two statements of the worker is not
visible from outside, so the worker process wraps the functions around such a point as it starts.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from portal.outbox.sending import deliver
from portal.outbox.store import sql
from portal.outbox.store.types import Claim

# Point -> (name of the function, whether the worker is killed before or after it)
KILL_POINTS: dict[str, tuple[str, bool]] = {
    "before the claim is committed": ("record_start", False),
    "before it connects": ("submit", True),
    "after the reply, before the log": ("log_accepted", True),
    "after the log, before the commit": ("log_accepted", False),
    "after the commit": ("discard_log", True),
}


def install(point: str, folder: Path, only: int = 0) -> None:
    """Kill this process, and those that it forks, at a point. A file in the folder marks each kill.

    ``only`` is the id of the message at which the process is killed; 0 means every message.
    """
    name, before = KILL_POINTS[point]
    names = [name, "settle_and_start"] if name == "record_start" else [name]  # both record a start
    for owner in [deliver] if name == "submit" else (sql._LOG_STORE, sql._TABLE_STORE):
        for one in names:
            _wrap(owner, one, lambda ids: _kill_once(ids, folder), only=only, before=before)


def _wrap(owner: Any, name: str, kill: Callable[[list[int]], None], *, only: int, before: bool) -> None:
    original: Callable[..., Any] = getattr(owner, name)

    def wrapper(*arguments: Any, **named: Any) -> Any:
        # The second claim of log_accepted only starts; discard_log gets all claims that were settled together, and
        # settle_and_start the one that starts after the one that is settled.
        claims = {"discard_log": arguments, "settle_and_start": arguments[1:2]}.get(name, arguments[:1])
        ids = [one.message.id for one in claims if isinstance(one, Claim)]
        chosen = [id_ for id_ in ids if only in (0, id_)][:1]
        if before:
            kill(chosen)
        result = original(*arguments, **named)
        if not before:
            kill(chosen)
        return result

    setattr(owner, name, wrapper)


def _kill_once(message_ids: list[int], folder: Path) -> None:
    for id_ in message_ids:
        mark = folder / f"killed-{id_}"
        if not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
