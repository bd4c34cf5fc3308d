"""Wishes: passed on at once, and a crowd of the same ones no more than a few times."""

from __future__ import annotations

import time

from portal.jobs import notify
from portal.jobs.notify import Notifier
from portal.state import get_state


def _wishes(app):
    heard: list[tuple[str, int, float]] = []
    get_state(app).part(Notifier).push = lambda job, ident: heard.append((job, ident, time.monotonic()))
    return heard


def test_a_wish_is_passed_on_at_once_and_so_is_another_one(app):
    heard = _wishes(app)
    notify.push("drain", 1)
    notify.push("drain", 2)
    notify.push("check", 1)
    assert [(job, ident) for job, ident, _ in heard] == [("drain", 1), ("drain", 2), ("check", 1)]


def test_the_same_wish_again_and_again_is_passed_on_a_few_times_and_after_the_last(app):
    heard = _wishes(app)
    end, count, last = time.monotonic() + 0.2, 0, 0.0
    while last < end:
        last = time.monotonic()
        notify.push("drain", 1)
        count += 1
    while heard[-1][2] < last and time.monotonic() < last + 5:
        time.sleep(0.01)
    assert heard[-1][2] >= last, "what came last is not forgotten"
    assert len(heard) <= 7
    assert count > 50
