"""Let chaos reign and print what came of it; leaves with 1 when a promise was broken.

    python -m tests.chaos                      about three minutes
    python -m tests.chaos --short              the one the tests run: seconds

5,000 affiliates sign up with 20 accounts, while each account's mail server refuses the log-in, goes down and is
too busy, in turns, and works again in between; the worker is killed 20 seconds after it came to work. In the end every email was
accepted once or says why not, and each fault is one incident that opened after it began and ended after it ended.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from collections import Counter
from pathlib import Path

from .chaos import LONG, SHORT, Report, reign
from .verdict import CAUSES, of_phase

_SHOWN = 20  # breaches


def told(report: Report) -> None:
    storm, statuses = report.storm, Counter(row.status for row in report.storm.rows)
    figures = {
        "sign-ups": f"{len(storm.owed):,}",
        "accepted, failed with a reason": f"{statuses['sent']:,}, {statuses['failed']:,}",
        "accepted twice": len(storm.repeated),
        "workers killed": len(storm.kills),
        "seconds each was at work": f"{min(report.lives):.1f} to {max(report.lives):.1f}"
        if report.lives
        else "–",
        "other incidents": len(report.told) - sum(len(of_phase(one, report.told)) for one in report.phases),
        "seconds": f"{report.seconds:.0f}",
    }
    print("\n| what | count |\n|---|---:|")
    for what, count in figures.items():
        print(f"| {what} | {count} |")
    print("\n| fault | played | incidents | noticed after, s | ended after, s |\n|---|---:|---:|---:|---:|")
    for fault in CAUSES:
        print(_line(report, fault))
    print(f"\n{len(report.breaches)} promises broken." if report.breaches else "\nEvery promise kept.")
    for breach in report.breaches[:_SHOWN]:
        print(f"  {breach}")


def _line(report: Report, fault: str) -> str:
    pairs = [(one, of_phase(one, report.told)) for one in report.phases if one.fault == fault]
    opened = sorted(found[0].opened - one.began for one, found in pairs if found)
    closed = sorted((found[0].closed or 0) - one.ended for one, found in pairs if found)
    spans = [f"{one[len(one) // 2]:.1f}, at most {one[-1]:.1f}" if one else "–" for one in (opened, closed)]
    return f"| {fault} | {len(pairs)} | {sum(len(found) for _, found in pairs)} | {spans[0]} | {spans[1]} |"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--short", action="store_true", help="90 sign-ups, 3 accounts")
    chosen = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # by way of every block that ends its processes
    with tempfile.TemporaryDirectory(prefix="signet-chaos-") as folder:
        report = reign(SHORT if chosen.short else LONG, Path(folder))
    told(report)
    return 1 if report.breaches else 0


if __name__ == "__main__":
    sys.exit(main())
