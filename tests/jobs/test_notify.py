"""Jobs are pushed at once; repeated pushes of one job are debounced."""

from __future__ import annotations

import time

from portal.jobs import notify
from portal.jobs.notify import Notifier
from portal.state import get_state


def _record_pushes(app):
    pushes: list[tuple[str, int, float]] = []
    get_state(app).part(Notifier).push = lambda job, id_: pushes.append((job, id_, time.monotonic()))
    return pushes


def test_different_jobs_are_pushed_at_once(app):
    pushes = _record_pushes(app)
    notify.push("drain", 1)
    notify.push("drain", 2)
    notify.push("check", 1)
    assert [(job, id_) for job, id_, _ in pushes] == [("drain", 1), ("drain", 2), ("check", 1)]


def test_a_repeated_job_is_pushed_a_few_times_and_once_after_the_last(app):
    pushes = _record_pushes(app)
    end, count, last = time.monotonic() + 0.2, 0, 0.0
    while last < end:
        last = time.monotonic()
        notify.push("drain", 1)
        count += 1
    while pushes[-1][2] < last and time.monotonic() < last + 120:
        time.sleep(0.01)
    assert pushes[-1][2] >= last, "the last push is never dropped"
    assert len(pushes) <= 7
    assert count > 50
