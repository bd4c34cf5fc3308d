"""A short storm: workers are killed at any point, mail servers are faulty, and no message is lost.

`make storm` runs the long one.
"""

import os
from dataclasses import replace

import pytest

from tests.databases import URL
from tests.storm.disasters import database_crash, machine_losses
from tests.storm.report import stats
from tests.storm.storm import SHORT, late_plan, run_storm

pytestmark = pytest.mark.thorough


@pytest.mark.both_databases
def test_a_storm_loses_no_message_and_every_duplicate_has_a_cause(tmp_path, database, request):
    disasters = []
    if database == "postgresql":
        disasters = [database_crash(request.getfixturevalue("cluster"), at=0.1)]
    report = run_storm(SHORT, tmp_path, os.environ.get(URL, ""), disasters)
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


@pytest.mark.only_postgresql
@pytest.mark.parametrize("record", ["each", "log"])
def test_a_lost_machine_repeats_no_more_than_promised(tmp_path, database, record):
    plan = replace(SHORT, record=record, machines=2, min_stops=0, max_stops=2)
    report = run_storm(plan, tmp_path, os.environ.get(URL, ""), machine_losses(1))
    assert not report.violations, "\n".join(map(str, report.violations))
    assert report.disasters["machines lost for good"] == 1
    assert {row.status for row in report.record.rows} == {"sent", "failed"}
