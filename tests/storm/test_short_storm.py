"""A short storm: workers are killed at any point, mail servers are faulty, and no message is lost.

`make storm` runs the long one.
"""

import os
from dataclasses import replace

import pytest

from tests.databases import URL
from tests.storm.report import stats
from tests.storm.storm import SHORT, late_plan, run_storm

pytestmark = pytest.mark.thorough


@pytest.mark.both_databases
def test_a_storm_loses_no_message_and_every_duplicate_has_a_cause(tmp_path, database, request):
    plan, cluster = SHORT, None
    if database == "postgresql":
        cluster = request.getfixturevalue("cluster")
        plan = replace(SHORT, crash_after_s=2)
    report = run_storm(plan, tmp_path, os.environ.get(URL, ""), cluster)
    assert not report.violations, "\n".join(map(str, report.violations))
    assert len(report.record.kills) >= SHORT.min_stops, stats(report)
    assert {row.status for row in report.record.rows} == {"sent", "failed"}
    assert report.waits_s.keys() == report.behaviours.keys(), "the silent server got its messages as well"


def test_a_lease_is_renewed_while_a_late_answer_is_awaited(tmp_path):
    """The answers take three times as long as a lease lasts; one that expired would have the message sent again."""
    plan = late_plan(18)
    report = run_storm(plan, tmp_path)
    assert not report.violations, "\n".join(map(str, report.violations))
    assert {row.status for row in report.record.rows} == {"sent"}
    interrupted = [row for row in report.record.rows if row.ambiguous_attempts]
    assert len(interrupted) <= plan.max_stops * 4  # of the connections of workers that were killed
    assert report.waits_s.keys() == report.behaviours.keys()
