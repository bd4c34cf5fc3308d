"""Deletion of sign-ups that were never confirmed."""

from __future__ import annotations

from datetime import timedelta

import time_machine

from portal.clock import utcnow
from portal.enrolment import cleanup
from tests.enrolment.support import sign_up


def test_an_unconfirmed_sign_up_is_deleted_after_31_days(owner, client):
    with time_machine.travel(utcnow() - timedelta(days=31), tick=False):
        sign_up(client)
    assert cleanup.find_work(utcnow()) == [("cleanup", 0)]
    assert cleanup.delete_unconfirmed(now=utcnow()) == 1
    assert cleanup.find_work(utcnow()) == []
