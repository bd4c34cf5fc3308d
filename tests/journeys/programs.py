"""Starts a portal's programs from the operator's commands, as forks of one process that has imported their code.

Importing takes some seconds of each start, and the journeys start more than a hundred programs. ``test_launch`` starts
them as an operator does.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(["tests.journeys.imported"])


class Program:
    """A running program, used as a ``subprocess.Popen``; its session is its own, as that of a service."""

    def __init__(self, words: list[str], folder: Path, env: Mapping[str, str], log: Path) -> None:
        self._process = _forks.Process(target=_run, args=(words, folder, dict(env), log))
        self._process.start()
        self.pid = self._process.pid or 0

    def send_signal(self, sig: signal.Signals) -> None:
        if self._process.exitcode is None:
            os.kill(self.pid, sig)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def wait(self, timeout: float) -> int:
        """Return the exit status. Raises subprocess.TimeoutExpired."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("a program of the portal", timeout)
        return self._process.exitcode


def _run(words: list[str], folder: Path, env: dict[str, str], log: Path) -> None:
    """Run a Python program in this new process: ``-m MODULE ...``, or the path of a script and its arguments."""
    os.setsid()
    output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    if words[0] == "-m":
        sys.argv = words[1:]
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = words
        runpy.run_path(words[0], run_name="__main__")
