"""Settings of gunicorn, which reads this file from its working folder. Options on its command line take precedence."""

from __future__ import annotations

import gc
from typing import Any

threads = 8


def post_worker_init(worker: Any) -> None:
    """Prepare a process that has loaded the portal to serve requests."""
    from portal.jobs.worker import pin_to_cpu

    # Modules and templates live as long as the process, so the garbage collector need not examine them.
    gc.collect()
    gc.freeze()
    gc.set_threshold(5_000, 20, 20)
    pin_to_cpu(worker.wsgi.extensions["signet"].config.cpu)
