"""Run a chaos and print its result; exit with 1 when a guarantee was violated.

    python -m tests.chaos                      about three minutes
    python -m tests.chaos --short              the chaos that the tests run: seconds

5,000 affiliates sign up with 20 accounts. Meanwhile each account's mail server refuses the login, goes down and
answers with 451, in turns, and works again in between; the worker is killed 20 seconds after its start. At the end
every email was accepted once or failed for a reason, and each fault is one incident that opened after the fault began
and closed after it ended.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from collections import Counter
from pathlib import Path

from .chaos import LONG, SHORT, Report, run_chaos
from .guarantees import CAUSES, incidents_for

_MAX_SHOWN = 20  # violations


def print_report(report: Report) -> None:
    record, statuses = report.record, Counter(row.status for row in report.record.rows)
    of_faults = sum(len(incidents_for(period, report.incidents)) for period in report.periods)
    lifetimes = report.lifetimes_s
    stats = {
        "sign-ups": f"{len(record.enqueued):,}",
        "accepted, failed with a reason": f"{statuses['sent']:,}, {statuses['failed']:,}",
        "accepted twice": len(record.repeated),
        "workers killed": len(record.kills),
        "seconds from start to kill": f"{min(lifetimes):.1f} to {max(lifetimes):.1f}" if lifetimes else "–",
        "other incidents": len(report.incidents) - of_faults,
        "seconds": f"{report.seconds:.0f}",
    }
    print("\n| result | count |\n|---|---:|")
    for name, count in stats.items():
        print(f"| {name} | {count} |")
    print("\n| fault | count | incidents | detected after, s | closed after, s |\n|---|---:|---:|---:|---:|")
    for fault in CAUSES:
        print(_fault_row(report, fault))
    print(f"\n{len(report.violations)} violations." if report.violations else "\nNo violation.")
    for violation in report.violations[:_MAX_SHOWN]:
        print(f"  {violation}")


def _fault_row(report: Report, fault: str) -> str:
    pairs = [(one, incidents_for(one, report.incidents)) for one in report.periods if one.fault == fault]
    opened = sorted(found[0].opened_at - period.began_at for period, found in pairs if found)
    closed = sorted((found[0].closed_at or 0) - period.ended_at for period, found in pairs if found)
    spans = [f"{one[len(one) // 2]:.1f}, at most {one[-1]:.1f}" if one else "–" for one in (opened, closed)]
    return f"| {fault} | {len(pairs)} | {sum(len(found) for _, found in pairs)} | {spans[0]} | {spans[1]} |"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--short", action="store_true", help="90 sign-ups, 3 accounts")
    options = parser.parse_args()
    signal.signal(
        signal.SIGTERM, lambda *_: sys.exit(143)
    )  # runs the finally blocks, which end the processes
    with tempfile.TemporaryDirectory(prefix="signet-chaos-") as folder:
        report = run_chaos(SHORT if options.short else LONG, Path(folder))
    print_report(report)
    return 1 if report.violations else 0


if __name__ == "__main__":
    sys.exit(main())
