"""A verdict that never finds fault proves nothing: doctored records of each breach have to be named."""

from dataclasses import replace

import pytest

from .verdict import CAUSES, Phase, Promise, Told, judge

DOWN = Phase(1, "down", 100.0, 110.0)
TOLD = Told(1, CAUSES["down"], 101.0, 112.0)
LATER = Phase(1, "busy", 130.0, 140.0)


def broken(told, phases=(DOWN,)):
    return [breach.promise for breach in judge(phases, told)]


def test_an_incident_for_each_fault_breaks_nothing():
    busy = Told(1, CAUSES["busy"], 130.5, 141.0)
    assert judge([DOWN, LATER], [TOLD, busy]) == []


def test_a_conversation_that_was_cut_off_may_be_an_incident_of_its_own():
    assert broken([TOLD, Told(1, "connection-lost", 100.2, 112.0)]) == []


@pytest.mark.parametrize(
    ("told", "promise"),
    [
        ([], Promise.MISSED),
        ([TOLD, replace(TOLD, opened=103.0)], Promise.TWICE),
        ([replace(TOLD, opened=99.9)], Promise.TOO_SOON),
        ([replace(TOLD, closed=109.0)], Promise.CLOSED_EARLY),
        ([replace(TOLD, closed=None)], Promise.STILL_OPEN),
        ([TOLD, replace(TOLD, account=2)], Promise.UNEXPLAINED),
        ([TOLD, replace(TOLD, cause=CAUSES["busy"])], Promise.UNEXPLAINED),
        ([TOLD, Told(1, "connection-lost", 50.0, 60.0)], Promise.UNEXPLAINED),
        ([TOLD, Told(1, "no-such-recipient", 101.0, 102.0)], Promise.UNEXPLAINED),
    ],
)
def test_doctored_records_are_named(told, promise):
    assert broken(told) == [promise]


def test_an_incident_of_somebody_else_does_not_count():
    assert broken([replace(TOLD, account=2)]) == [Promise.MISSED, Promise.UNEXPLAINED]
