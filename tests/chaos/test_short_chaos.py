"""A short chaos: workers are killed, mail servers have one fault after the other, and every fault is one incident.

`make chaos` runs the long one.
"""

from dataclasses import replace

import pytest

from tests.storm import guarantees as outbox_guarantees

from .chaos import SHORT, run_chaos
from .guarantees import CLOSED_SESSION_CAUSES, find_violations
from .sink import FAULTS

pytestmark = pytest.mark.thorough


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    return run_chaos(SHORT, tmp_path_factory.mktemp("chaos"))


def test_every_email_is_settled_and_every_fault_is_one_incident(report):
    assert not report.violations, "\n".join(report.violations)
    assert len(report.periods) == len(FAULTS) * SHORT.accounts
    assert len(report.record.kills) >= 1
    assert {row.status for row in report.record.rows} == {"sent", "failed"}


def test_the_check_misses_what_is_removed_from_the_records_of_this_run(report):
    record = report.record
    (lost, *kept), sent = record.rows, [row for row in record.rows if row.status == "sent"]
    assert outbox_guarantees.Guarantee.LOST in guarantees_violated(replace(record, rows=kept)), lost.key
    received = [one for one in record.log.received if one.key != sent[-1].key]
    without_one = replace(record, log=replace(record.log, received=received))
    assert guarantees_violated(without_one) == {outbox_guarantees.Guarantee.FALSELY_SENT}
    for removed in report.incidents:
        others = [one for one in report.incidents if one is not removed]
        if removed.cause not in CLOSED_SESSION_CAUSES:
            assert find_violations(report.periods, others)


def guarantees_violated(record):
    return {one.guarantee for one in outbox_guarantees.find_violations(record)}
