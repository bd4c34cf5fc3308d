"""What a storm came to, as two small tables and a list of what was broken."""

from __future__ import annotations

import statistics
from collections import Counter

from .storm import Report
from .verdict import Promise

_SHOWN = 20  # breaches


def told(title: str, report: Report) -> bool:
    """Print the report; return whether every promise was kept."""
    print(f"\n## {title}\n\n| what | count |\n|---|---:|")
    for what, count in figures(report).items():
        print(f"| {what} | {count} |")
    print(
        "\n| mail server | accounts | messages | median wait, s | 95 % within, s |\n|---|---:|---:|---:|---:|"
    )
    for line in by_temper(report):
        print(line)
    print(f"\n{len(report.breaches)} promises broken." if report.breaches else "\nEvery promise kept.")
    for breach in report.breaches[:_SHOWN]:
        print(f"  {breach}")
    return not report.breaches and not report.impolite


def figures(report: Report) -> dict[str, object]:
    """The figures of one storm by what they count."""
    storm = report.storm
    broken = Counter(breach.promise for breach in report.breaches)
    statuses = Counter(row.status for row in storm.rows)
    after_kills = [one for one in storm.repeated if one.replied and storm.was_killed(one)]
    return {
        "messages owed": f"{len(storm.owed):,}",
        "sent, failed": f"{statuses['sent']:,}, {statuses['failed']:,}",
        "workers ended": len(storm.kills) or f"{report.polite} politely, {report.impolite} of them badly",
        "database crashes": report.restarts,
        "lost": broken[Promise.LOST],
        "not settled at the end": broken[Promise.STUCK],
        "falsely sent": broken[Promise.FALSELY_SENT],
        "falsely failed": broken[Promise.FALSELY_FAILED],
        "twins whose first was never confirmed": sum(not one.replied for one in storm.repeated),
        "twins after a kill": len(after_kills),
        "of these, the 250 had been read": sum(storm.was_read(one) for one in after_kills),
        "of these, with time to take it down": broken[Promise.AVOIDABLE],
        "most for one kill": max(Counter(one.worker for one in after_kills).values(), default=0),
        "most for one connection": max(Counter(one.connection for one in after_kills).values(), default=0),
        "twins although nobody was killed": broken[Promise.NO_CAUSE],
        "unflagged twins": broken[Promise.UNFLAGGED],
        "twins with another Message-ID": broken[Promise.OTHER_MESSAGE_ID],
        "overtaken": broken[Promise.ORDER],
        "seconds": f"{report.seconds:.0f}",
    }


def by_temper(report: Report) -> list[str]:
    """One line for each kind of mail server."""
    lines = []
    for temper in dict.fromkeys(report.tempers.values()):
        accounts = [account for account, one in report.tempers.items() if one == temper]
        waits = sorted(wait for account in accounts for wait in report.waits.get(account, ()))
        if waits:
            median, late = statistics.median(waits), waits[int(len(waits) * 0.95)]
            lines.append(f"| {temper} | {len(accounts)} | {len(waits):,} | {median:.1f} | {late:.1f} |")
    return lines
