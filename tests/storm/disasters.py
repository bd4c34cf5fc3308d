"""What happens in a storm beside the ends of single workers: a server crashes, a machine is lost."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.databases import Cluster

if TYPE_CHECKING:
    from .storm import StormRun


@dataclass
class Disaster:
    """Something that happens once, when a share of the messages is settled.

    ``act`` returns False if it cannot happen yet; then it is called again. ``name`` is what the report prints.
    """

    name: str
    at: float
    act: Callable[[StormRun], bool]
    has_happened: bool = False


def database_crash(cluster: Cluster, at: float) -> Disaster:
    """Stop the database without a checkpoint, so that it must recover, and start it again."""

    def act(_run: StormRun) -> bool:
        cluster.stop("QUIT")
        time.sleep(0.5)
        cluster.start()
        return True

    return Disaster("database crashes", at, act)


def machine_losses(count: int) -> list[Disaster]:
    """Lose one machine after the other, at equal shares of the messages; another one takes its place."""
    return [
        Disaster("machines lost for good", number / (count + 1), _lose_machine)
        for number in range(1, count + 1)
    ]


def _lose_machine(run: StormRun) -> bool:
    """Kill all workers of the newest machine at the same moment, and delete its instance folder."""
    machine = run.machines[-1]
    lost = [worker for worker in run.workers if worker.instance is machine]
    pids = run.active_pids()
    if not all(worker.process.pid in pids for worker in lost):
        return False  # a worker that has just started has nothing to lose
    at = time.time()
    for worker in lost:
        worker.process.kill()
    for worker in lost:
        worker.kill()
    shutil.rmtree(machine.folder)
    machine.close()
    run.kills |= {worker.name: at for worker in lost}
    if run.plan.record == "log":
        run.lost_logs |= {worker.name for worker in lost}
    run.machines[-1] = run.add_machine()
    for worker in lost:
        run.replace_worker(worker, run.machines[-1])
    return True
