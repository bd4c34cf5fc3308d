"""Several worker processes under one parent, which starts them, replaces those that die, and passes signals on."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable

END = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)  # SIGHUP: the terminal it ran in was closed
_BREATH = 1.0  # seconds before a process that died is replaced

_log = logging.getLogger(__name__)
Work = Callable[[int], int]  # the parent's id -> what the process leaves with


def run(count: int, work: Work) -> int:
    """Run ``work`` in so many processes until asked to end; a second signal ends all of them at once."""
    signal.pthread_sigmask(signal.SIG_BLOCK, (*END, signal.SIGCHLD))
    children = {_start(work) for _ in range(count)}
    while (signal.sigwait((*END, signal.SIGCHLD))) == signal.SIGCHLD:
        dead = _reap(children)
        if dead:
            _log.error("%s worker processes died and are replaced", len(dead))
            time.sleep(_BREATH)
            children |= {_start(work) for _ in dead}
    _tell(children)
    while children:
        if signal.sigwait((*END, signal.SIGCHLD)) != signal.SIGCHLD:
            _tell(children)  # the second ends a worker at once
            return 1
        _reap(children)
    return 0


def _start(work: Work) -> int:
    parent = os.getpid()
    child = os.fork()
    if child:
        return child
    os.setpgid(0, 0)  # Ctrl-C reaches the parent alone, which passes it on once
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGCHLD,))
    try:
        os._exit(work(parent))
    except BaseException:
        _log.exception("a worker process broke")
        os._exit(1)


def _reap(children: set[int]) -> set[int]:
    dead = set()
    for child in children:
        if os.waitpid(child, os.WNOHANG)[0]:
            dead.add(child)
    children -= dead
    return dead


def _tell(children: set[int]) -> None:
    for child in children:
        os.kill(child, signal.SIGTERM)
