"""What the rooms register with an app's job system: work sources, clean-ups and their part in a worker process.

``jobs`` imports no room; every room introduces itself here when the app is built.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from ..state import get_state

if TYPE_CHECKING:
    from flask import Flask
    from huey import Huey
    from huey.api import TaskWrapper

Job = tuple[str, int]  # name and the id it is about: ("drain", account id)
WorkSource = Callable[[datetime], list[Job]]  # returns the jobs that are due at this time
Cleanup = Callable[[datetime], object]  # removes what is out of date by then; commits itself


class WorkerPart:
    """A room's part in a worker process. The methods are called in this order and do nothing by default."""

    def start(self, app: Flask, threads: int) -> None:
        """Prepare the process, before its first job. ``threads`` is how many jobs of ``mail`` run at once."""

    def sweep(self) -> None:
        """Do periodic maintenance, within an app context, every ``Config.sweep`` seconds."""

    def request_stop(self) -> None:
        """Start nothing new from now on."""

    def finish(self) -> None:
        """Wait for the work in progress."""

    def close(self) -> None:
        """Release what the process holds, within an app context, after the last job."""


@dataclass
class JobRegistry:
    """The queues of an app, the tasks in them, and what the rooms registered."""

    queues: dict[str, Huey] = field(default_factory=dict)  # by name
    tasks: dict[str, TaskWrapper] = field(default_factory=dict)  # by job name
    queue_of_job: dict[str, str] = field(default_factory=dict)
    work_sources: list[WorkSource] = field(default_factory=list)
    patient_sources: list[WorkSource] = field(default_factory=list)  # asked at full sweeps only
    cleanups: list[Cleanup] = field(default_factory=list)
    worker_parts: list[WorkerPart] = field(default_factory=list)


def job_registry(app: Flask | None = None) -> JobRegistry:
    """Return the registry of ``app``, by default of the app in whose context this runs."""
    return get_state(app).part(JobRegistry)


def add_work_source(app: Flask, source: WorkSource, *, is_patient: bool = False) -> None:
    """Let the sweep of every worker push the jobs that ``source`` finds.

    ``is_patient``: its work is pushed when it is made, or is planned by minutes and more, so that it may wait for a full
    sweep (``Tuning.full_sweep_s``).
    """
    registry = job_registry(app)
    (registry.patient_sources if is_patient else registry.work_sources).append(source)


def add_cleanup(app: Flask, cleanup: Cleanup) -> None:
    """Run ``cleanup`` whenever the periodic ``rollup`` job has finished."""
    job_registry(app).cleanups.append(cleanup)


def add_worker_part(app: Flask, part: WorkerPart) -> None:
    """Let a room take part in the worker processes of this app."""
    job_registry(app).worker_parts.append(part)
