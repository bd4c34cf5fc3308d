"""The check finds a violation of each guarantee in falsified records; otherwise its results would prove nothing."""

from dataclasses import replace

import pytest

from .guarantees import CAUSES, FaultPeriod, Guarantee, IncidentRecord, find_violations

DOWN = FaultPeriod(1, "down", 100.0, 110.0)
INCIDENT = IncidentRecord(1, CAUSES["down"], 101.0, 112.0)
LATER = FaultPeriod(1, "busy", 130.0, 140.0)


def violated(incidents, periods=(DOWN,)):
    return [violation.guarantee for violation in find_violations(periods, incidents)]


def test_one_incident_for_each_fault_is_no_violation():
    busy = IncidentRecord(1, CAUSES["busy"], 130.5, 141.0)
    assert find_violations([DOWN, LATER], [INCIDENT, busy]) == []


def test_a_session_that_was_closed_by_the_fault_may_cause_its_own_incident():
    assert violated([INCIDENT, IncidentRecord(1, "connection-lost", 100.2, 112.0)]) == []


@pytest.mark.parametrize(
    ("incidents", "guarantee"),
    [
        ([], Guarantee.MISSED),
        ([INCIDENT, replace(INCIDENT, opened_at=103.0)], Guarantee.REPEATED),
        ([replace(INCIDENT, opened_at=99.9)], Guarantee.OPENED_EARLY),
        ([replace(INCIDENT, closed_at=109.0)], Guarantee.CLOSED_EARLY),
        ([replace(INCIDENT, closed_at=None)], Guarantee.STILL_OPEN),
        ([INCIDENT, replace(INCIDENT, account=2)], Guarantee.UNEXPLAINED),
        ([INCIDENT, replace(INCIDENT, cause=CAUSES["busy"])], Guarantee.UNEXPLAINED),
        ([INCIDENT, IncidentRecord(1, "connection-lost", 50.0, 60.0)], Guarantee.UNEXPLAINED),
        ([INCIDENT, IncidentRecord(1, "no-such-recipient", 101.0, 102.0)], Guarantee.UNEXPLAINED),
    ],
)
def test_falsified_records_are_violations(incidents, guarantee):
    assert violated(incidents) == [guarantee]


def test_an_incident_of_another_account_does_not_count():
    assert violated([replace(INCIDENT, account=2)]) == [Guarantee.MISSED, Guarantee.UNEXPLAINED]
