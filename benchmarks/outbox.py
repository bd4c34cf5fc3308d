"""What the outbox does in a second, beside its peers. Each measurement prints a small table.

    python -m benchmarks.outbox drain      one worker on SQLite, django-post_office and nodemailer
    python -m benchmarks.outbox road       four connections over 20 ms there and back, and nodemailer's pool of five
    python -m benchmarks.outbox scaling    1, 2 and 4 workers on PostgreSQL
    python -m benchmarks.outbox claims     a sweep and a claim among 1,000 and 1,000,000 messages, with their plans
    python -m benchmarks.outbox signups    sign-ups while mail leaves, beside a bare view that commits a row
    python -m benchmarks.outbox memory     one worker that drains 100,000 messages
    python -m benchmarks.outbox pickup     from the commit to the acceptance
    python -m benchmarks.outbox all

Everything runs on this machine in folders of its own: the portal's processes, the mail server, PostgreSQL. The peers
are installed into temporary folders with pip and npm, and left out where that is not possible.
"""

from __future__ import annotations

import argparse
import inspect
import signal
import sys

from benchmarks import draining, reading, signing_up

MEASUREMENTS = {
    "drain": draining.drain,
    "road": draining.road,
    "scaling": draining.scaling,
    "claims": reading.claims,
    "signups": signing_up.signups,
    "memory": draining.memory,
    "pickup": draining.pick_up,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("measurement", choices=(*MEASUREMENTS, "all"))
    parser.add_argument("--count", type=int, help="messages, where fewer or more than usual are wanted")
    chosen = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # by way of every block that ends its processes
    for name, measure in MEASUREMENTS.items():
        if chosen.measurement not in (name, "all"):
            continue
        (first,) = inspect.signature(measure).parameters
        measure(**({first: chosen.count} if chosen.count else {}))


if __name__ == "__main__":
    main()
