"""Background jobs: the queue backends, the worker process, its heartbeat and the work it looks for."""
