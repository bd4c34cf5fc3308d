"""Processes of one portal share the processors out; whoever dies gives its one back, and whoever finds none goes on."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from portal.about import ROOT

HERE = sorted(os.sched_getaffinity(0))[:2]  # as if the machine had no more
KEEP = """
import os, sys
from pathlib import Path
from portal.jobs.cpu_affinity import keep_to_one
os.sched_setaffinity(0, set(map(int, sys.argv[3:])))
if sys.argv[2] == "forbidden":  # as systemd's SystemCallFilter=~@resources has it
    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")
    os.sched_setaffinity = refuse
number = keep_to_one(Path(sys.argv[1]), from_last=sys.argv[2] == "last")
print(number, *sorted(os.sched_getaffinity(0)), flush=True)
sys.stdin.read()
"""
CHOICE = pytest.mark.skipif(
    len(HERE) < 2, reason="this machine has one processor: there is nothing to choose"
)


class Kept:
    """A process that was asked to keep to one processor; ``number`` is which, ``allowed`` where it may run."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        number, *allowed = process.stdout.readline().split()
        self.number, self.allowed = None if number == "None" else int(number), [int(one) for one in allowed]


@contextmanager
def kept(instance: Path, begin: str = "first") -> Iterator[Kept]:
    command = [sys.executable, "-c", KEEP, str(instance), begin, *map(str, HERE)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as process:
        try:
            yield Kept(process)
        finally:
            process.kill()


@CHOICE
def test_a_portal_takes_the_first_and_a_worker_the_last(tmp_path):
    with kept(tmp_path) as portal, kept(tmp_path, "last") as worker:
        assert (portal.number, portal.allowed) == (HERE[0], HERE[:1])
        assert (worker.number, worker.allowed) == (HERE[-1], HERE[-1:])


@CHOICE
def test_a_processor_is_given_to_one_process_and_back_when_that_is_killed(tmp_path):
    with kept(tmp_path) as first, kept(tmp_path) as second:
        assert (first.number, second.number) == (HERE[0], HERE[1])
        first.process.kill()
        first.process.wait(10)
        with kept(tmp_path) as third:
            assert third.number == HERE[0]


@CHOICE
def test_whoever_finds_none_free_runs_on_all(tmp_path):
    with ExitStack() as stack:
        given = [stack.enter_context(kept(tmp_path)).number for _ in HERE]
        assert given == HERE
        late = stack.enter_context(kept(tmp_path))
        assert (late.number, late.allowed) == (None, HERE)


def test_other_portals_on_this_machine_are_not_asked(tmp_path):
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    with kept(tmp_path / "one") as one, kept(tmp_path / "other") as other:
        assert one.number == other.number
        assert one.allowed == other.allowed


def test_a_sandbox_that_forbids_it_stops_nobody(tmp_path):
    with kept(tmp_path, begin="forbidden") as one:
        assert (one.number, one.allowed) == (None, HERE)


def test_a_folder_that_is_not_there_stops_nobody(tmp_path):
    with kept(tmp_path / "nowhere") as one:
        assert (one.number, one.allowed) == (None, HERE)
