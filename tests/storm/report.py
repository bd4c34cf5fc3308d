"""The printed result of a storm: two small tables and a list of violations."""

from __future__ import annotations

import statistics
from collections import Counter

from .guarantees import LAG_S, Guarantee
from .storm import Report

_MAX_SHOWN = 10  # violations of each guarantee


def print_report(title: str, report: Report) -> bool:
    """Print the report; return whether every guarantee was kept."""
    print(f"\n## {title}\n\n| result | count |\n|---|---:|")
    for name, count in stats(report).items():
        print(f"| {name} | {count} |")
    print(
        "\n| mail server | accounts | messages | median wait, s | 95 % within, s |\n|---|---:|---:|---:|---:|"
    )
    for line in rows_by_behaviour(report):
        print(line)
    print(f"\n{len(report.violations)} violations." if report.violations else "\nNo violation.")
    shown: Counter[Guarantee] = Counter()
    for violation in report.violations:
        shown[violation.guarantee] += 1
        if shown[violation.guarantee] <= _MAX_SHOWN:
            print(f"  {violation}")
    return not report.violations and not report.failed_terminations


def stats(report: Report) -> dict[str, object]:
    """Count the messages, ended workers, duplicates and violations of one storm."""
    record = report.record
    violations = Counter(violation.guarantee for violation in report.violations)
    statuses = Counter(row.status for row in record.rows)
    after_kills = [one for one in record.repeated if one.replied_at and record.worker_was_killed(one)]
    return {
        "messages enqueued": f"{len(record.enqueued):,}",
        "sent, failed": f"{statuses['sent']:,}, {statuses['failed']:,}",
        "workers ended": len(record.kills)
        or f"{report.terminated} by SIGTERM, {report.failed_terminations} of them with an error",
        **report.disasters,
        "lost": violations[Guarantee.LOST],
        "not settled at the end": violations[Guarantee.UNSETTLED],
        "falsely sent": violations[Guarantee.FALSELY_SENT],
        "falsely failed": violations[Guarantee.FALSELY_FAILED],
        "duplicates of messages without a 250": sum(not one.replied_at for one in record.repeated),
        "duplicates after a kill": len(after_kills),
        "of these, the 250 had been read": sum(record.reply_was_read(one) for one in after_kills),
        "of these, the acceptance had been recorded": violations[Guarantee.AVOIDABLE],
        "at most for one kill": max(Counter(one.worker for one in after_kills).values(), default=0),
        "at most for one connection": max(Counter(one.connection for one in after_kills).values(), default=0),
        **_of_lost_machines(report),
        **_of_failover(report),
        "duplicates without a kill": violations[Guarantee.NO_CAUSE],
        "duplicates without an ambiguous attempt": violations[Guarantee.UNMARKED],
        "duplicates with another Message-ID": violations[Guarantee.OTHER_MESSAGE_ID],
        "overtaken": violations[Guarantee.ORDER],
        "seconds": f"{report.seconds:.0f}",
    }


def _of_lost_machines(report: Report) -> dict[str, object]:
    """Count the duplicates of workers whose acceptance log was lost with their machine."""
    record = report.record
    if not record.lost_logs:
        return {}
    repeated = [one for one in record.repeated if one.replied_at and record.log_was_lost(one)]
    ages_ms = [
        1000 * (record.kills[one.worker.partition(".")[0]] - one.replied_at)
        for one in repeated
        if one.replied_at
    ]
    return {
        "of these, of lost machines": len(repeated),
        "of lost machines, accepted within 100 ms before": sum(age <= 1000 * LAG_S for age in ages_ms),
        "of lost machines, the longest before, ms": f"{max(ages_ms, default=0):.0f}",
        "connections of lost machines with duplicates": len({one.connection for one in repeated}),
    }


def _of_failover(report: Report) -> dict[str, object]:
    """Count what a failover to a server that lagged behind has undone."""
    record = report.record
    if record.undone is None:
        return {}
    keys = {row.key for row in record.rows}
    undone = [one for one in record.repeated if record.was_undone(one)]
    rows = {row.key: row for row in record.rows}
    unmarked = [one for one in undone if one.key in rows and not rows[one.key].ambiguous_attempts]
    renamed = [one for one in undone if one.message_id != record.by_key[one.key][-1].message_id]
    return {
        "last commit of the standby before the loss, ms": f"{1000 * (record.undone.lost_at - record.undone.since):.0f}",
        "enqueued after it and lost": sum(key not in keys for key in record.enqueued),
        "recorded after it, or in progress at the loss, and sent again": len(undone),
        "of these, without an ambiguous attempt": len(unmarked),
        "of these, with another Message-ID": len(renamed),
    }


def rows_by_behaviour(report: Report) -> list[str]:
    """Return one table row for each kind of mail server."""
    lines = []
    for behaviour in dict.fromkeys(report.behaviours.values()):
        accounts = [account for account, one in report.behaviours.items() if one == behaviour]
        waits = sorted(wait for account in accounts for wait in report.waits_s.get(account, ()))
        if waits:
            median, late = statistics.median(waits), waits[int(len(waits) * 0.95)]
            lines.append(f"| {behaviour} | {len(accounts)} | {len(waits):,} | {median:.1f} | {late:.1f} |")
    return lines
