"""Chaos of seconds: real workers, real servers that break in turns, and incidents that match.

`make chaos` is the long one.
"""

from dataclasses import replace

import pytest

from tests.storm.verdict import Promise
from tests.storm.verdict import judge as judge_emails

from .chaos import SHORT, reign
from .sink import FAULTS
from .verdict import judge

pytestmark = pytest.mark.thorough


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    return reign(SHORT, tmp_path_factory.mktemp("chaos"))


def test_every_email_is_accounted_for_and_every_fault_is_one_incident(report):
    assert not report.breaches, "\n".join(report.breaches)
    assert len(report.phases) == len(FAULTS) * SHORT.accounts
    assert len(report.storm.kills) >= 1
    assert {row.status for row in report.storm.rows} == {"sent", "failed"}


def test_what_is_taken_out_of_this_very_record_is_missed(report):
    (lost, *kept), sent = report.storm.rows, [row for row in report.storm.rows if row.status == "sent"]
    assert Promise.LOST in {one.promise for one in judge_emails(replace(report.storm, rows=kept))}, lost.key
    unheard = replace(
        report.storm.log, taken=[one for one in report.storm.log.taken if one.key != sent[-1].key]
    )
    found = {one.promise for one in judge_emails(replace(report.storm, log=unheard))}
    assert found == {Promise.FALSELY_SENT}
    for place in range(len(report.told)):
        less = [one for number, one in enumerate(report.told) if number != place]
        if report.told[place].cause != "connection-lost":
            assert judge(report.phases, less)
