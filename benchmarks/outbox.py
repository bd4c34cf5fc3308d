"""Benchmarks of the outbox, compared with similar products. Each measurement prints a table.

    python -m benchmarks.outbox drain      one worker on SQLite, django-post_office and nodemailer
    python -m benchmarks.outbox postgresql one worker on PostgreSQL, recording each or by the log, django-post_office and Postfix
    python -m benchmarks.outbox road       four connections at a round trip of 20 ms, and nodemailer's pool of five
    python -m benchmarks.outbox scaling    1, 2 and 4 workers on PostgreSQL, servers far away
    python -m benchmarks.outbox two-workers  one and two workers on PostgreSQL for 16 accounts with a connection each
    python -m benchmarks.outbox claims     a sweep and a claim among 1,000 and 1,000,000 messages, with their plans
    python -m benchmarks.outbox signups    sign-ups while a queue drains, compared with a minimal view that commits a row
    python -m benchmarks.outbox visits     what visits through short links cost a sign-up
    python -m benchmarks.outbox requests   sign-ups, events and visits on PostgreSQL, and a view that commits a row there
    python -m benchmarks.outbox memory     memory of one worker that drains 100,000 messages
    python -m benchmarks.outbox pickup     time from the commit of a message to its acceptance
    python -m benchmarks.outbox references  what the reference of a message costs, by which an event of a provider names it
    python -m benchmarks.outbox idle       statements and processor time of a worker without work, on PostgreSQL
    python -m benchmarks.outbox all

Everything runs on this machine in temporary folders: the portal's processes, the mail server, PostgreSQL. The other
products are installed into temporary folders with pip and npm, and omitted where that is not possible.
"""

from __future__ import annotations

import argparse
import inspect
import signal
import sys

from benchmarks import claims, drain, idle, postgresql, references, signups, visits

MEASUREMENTS = {
    "drain": drain.compare_drains,
    "postgresql": drain.compare_drains_on_postgresql,
    "road": drain.compare_with_delay,
    "scaling": drain.measure_scaling,
    "two-workers": drain.measure_two_workers,
    "claims": claims.compare_claims,
    "signups": signups.compare_signups,
    "visits": visits.compare_visits,
    "requests": postgresql.compare_requests,
    "memory": drain.measure_memory,
    "pickup": drain.measure_pickup,
    "references": references.compare_references,
    "idle": idle.measure_idle,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("measurement", choices=(*MEASUREMENTS, "all"))
    parser.add_argument(
        "--count",
        type=int,
        help="number of messages instead of the default (signups, visits, requests, idle: seconds)",
    )
    options = parser.parse_args()
    signal.signal(
        signal.SIGTERM, lambda *_: sys.exit(143)
    )  # runs the finally blocks, which end the processes
    for name, measure in MEASUREMENTS.items():
        if options.measurement not in (name, "all"):
            continue
        (parameter,) = inspect.signature(measure).parameters
        measure(**({parameter: options.count} if options.count else {}))


if __name__ == "__main__":
    main()
