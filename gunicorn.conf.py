"""How gunicorn serves the portal. It finds this file by itself; what its command line says goes before."""

from __future__ import annotations

import gc
from typing import Any

threads = 8


def post_worker_init(worker: Any) -> None:
    """Prepare a process that has loaded the portal for as many requests as it can serve."""
    from portal.jobs.cpu_affinity import keep_to_one

    # What the portal is made of stays for as long as the process: it need not be looked through for garbage.
    gc.collect()
    gc.freeze()
    gc.set_threshold(5_000, 20, 20)
    config = worker.wsgi.extensions["signet"].config
    if config.one_processor:
        keep_to_one(config.instance)
