"""Deleting sign-ups that were never confirmed."""

from __future__ import annotations

from datetime import timedelta

import time_machine

from portal.clock import utcnow
from portal.enrolment import cleanup
from tests.enrolment.support import sign_up


def test_nobody_who_never_confirmed_is_kept_for_ever(owner, client):
    with time_machine.travel(utcnow() - timedelta(days=31), tick=False):
        sign_up(client)
    assert cleanup.find_work(utcnow()) == [("cleanup", 0)]
    assert cleanup.delete_unconfirmed(now=utcnow()) == 1
    assert cleanup.find_work(utcnow()) == []
