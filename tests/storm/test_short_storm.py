"""A storm of seconds: real workers killed at any line, mail servers with tempers, and nothing lost or unexplained.

`make storm` is the long one.
"""

import os
from dataclasses import replace

import pytest

from tests.databases import URL
from tests.storm.report import figures
from tests.storm.storm import SHORT, rage

pytestmark = pytest.mark.thorough


@pytest.mark.both_databases
def test_a_storm_loses_nothing_and_every_twin_is_explained(tmp_path, database, request):
    plan, cluster = SHORT, None
    if database == "postgresql":
        cluster = request.getfixturevalue("cluster")
        plan = replace(SHORT, restart_after=2)
    report = rage(plan, tmp_path, os.environ.get(URL, ""), cluster)
    assert not report.breaches, "\n".join(map(str, report.breaches))
    assert len(report.storm.kills) >= 3, figures(report)
    assert {row.status for row in report.storm.rows} == {"sent", "failed"}
    assert report.waits.keys() == report.tempers.keys(), "even the mute server's mail left in the end"
