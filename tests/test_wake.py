"""Wishes: passed on at once, and a crowd of the same ones no more than a few times."""

from __future__ import annotations

import time

from portal.jobs import notify


def _wishes(app):
    heard: list[tuple[str, int, float]] = []
    app.extensions["signet.wake"] = lambda job, ident: heard.append((job, ident, time.monotonic()))
    return heard


def test_a_wish_is_passed_on_at_once_and_so_is_another_one(app):
    heard = _wishes(app)
    notify.now("drain", 1)
    notify.now("drain", 2)
    notify.now("check", 1)
    assert [(job, ident) for job, ident, _ in heard] == [("drain", 1), ("drain", 2), ("check", 1)]


def test_the_same_wish_again_and_again_is_passed_on_a_few_times_and_after_the_last(app):
    heard = _wishes(app)
    end, count, last = time.monotonic() + 0.2, 0, 0.0
    while last < end:
        last = time.monotonic()
        notify.now("drain", 1)
        count += 1
    while heard[-1][2] < last and time.monotonic() < last + 5:
        time.sleep(0.01)
    assert heard[-1][2] >= last, "what came last is not forgotten"
    assert len(heard) <= 7
    assert count > 50
