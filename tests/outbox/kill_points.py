"""Lines of a worker at which it ends itself with SIGKILL, once for each message: for the tests alone.

What happens between two words of a mail server, the server's script knows; what happens between two lines of the
worker, nobody outside does. So its process wraps the functions around such a line as it starts.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from portal.outbox.sending import deliver
from portal.outbox.store import claims
from portal.outbox.store.acceptance_log import Journal
from portal.outbox.store.claims import Claim

# Where it dies: (owner of the function, its name, whether before it or after it)
KILL_POINTS: dict[str, tuple[Any, str, bool]] = {
    "before the claim is committed": (claims, "intend", False),
    "before it dials": (deliver, "hand_in", True),
    "after the reply, before the journal": (Journal, "accepted", True),
    "after the journal, before the commit": (Journal, "accepted", False),
    "after the commit": (Journal, "settled", True),
}


def install(line: str, folder: Path, only: int = 0) -> None:
    """Let this process, and those it forks, die at a line. A file in the folder remembers who died already.

    ``only`` is the id of the one message it dies with.
    """
    owner, name, before = KILL_POINTS[line]
    original: Callable[..., Any] = getattr(owner, name)

    def deadly(*arguments: Any, **named: Any) -> Any:
        idents = [one.message.id for one in arguments if isinstance(one, Claim)]
        due = [ident for ident in idents if only in (0, ident)][:1]
        if before:
            _die_once(due, folder)
        result = original(*arguments, **named)
        if not before:
            _die_once(due, folder)
        return result

    setattr(owner, name, deadly)


def _die_once(due: list[int], folder: Path) -> None:
    for ident in due:
        mark = folder / f"died-{ident}"
        if not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
