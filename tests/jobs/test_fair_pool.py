"""The threads for jobs that wait for owners' servers: no account delays another, and a stop waits for what runs."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from portal.jobs.fair_pool import FairPool, FairPoolLimits, FairPools
from tests.outbox.support import PATIENCE_S, wait_for

NEVER_SLOW, ALWAYS_SLOW = 3600.0, -1.0


class Jobs:
    """Jobs that record their start and end, and wait in between until they are released."""

    def __init__(self, pool: FairPool) -> None:
        self.pool = pool
        self.started: list[str] = []
        self.ended: list[str] = []
        self._released: dict[str, threading.Event] = {}

    def submit(self, account_id: int, name: str, *, blocks: bool = True) -> None:
        released = self._released.setdefault(name, threading.Event())
        if not blocks:
            released.set()

        def work() -> None:
            self.started.append(name)
            assert released.wait(PATIENCE_S)
            self.ended.append(name)

        self.pool.submit(account_id, (name, account_id), work)

    def release(self, *names: str) -> None:
        for name in names or list(self._released):
            self._released[name].set()


@pytest.fixture
def make() -> Iterator[type[Jobs]]:
    made: list[Jobs] = []

    def jobs(threads: int, slow_s: float) -> Jobs:
        made.append(Jobs(FairPool("test", FairPoolLimits(threads, max(1, threads // 2), slow_s))))
        return made[-1]

    yield jobs  # type: ignore[misc]
    for one in made:
        one.pool.request_stop()
        one.release()
        one.pool.finish()


def test_one_job_of_an_account_runs_at_a_time_and_others_pass_it(make):
    jobs = make(4, NEVER_SLOW)
    jobs.submit(1, "first")
    jobs.submit(1, "second")
    jobs.submit(2, "other", blocks=False)
    wait_for(lambda: jobs.ended == ["other"])
    assert "second" not in jobs.started
    jobs.release("first", "second")
    wait_for(lambda: jobs.ended == ["other", "first", "second"])


def test_accounts_whose_last_job_was_slow_leave_half_of_the_threads_to_others(make):
    jobs = make(4, ALWAYS_SLOW)
    for account in range(1, 7):
        jobs.submit(account, f"earlier {account}", blocks=False)
    wait_for(lambda: len(jobs.ended) == 6)
    wait_for(lambda: not jobs.pool._started)
    for account in range(1, 7):
        jobs.submit(account, f"silent {account}")
    for account in (8, 9):
        jobs.submit(account, f"new {account}", blocks=False)
    wait_for(lambda: {"new 8", "new 9"} <= set(jobs.ended))
    assert [name for name in jobs.started if name.startswith("silent")] == ["silent 1", "silent 2"]
    jobs.release()
    wait_for(lambda: len(jobs.ended) == 14)


def test_an_account_whose_server_answers_again_is_no_longer_slow(make):
    jobs = make(2, ALWAYS_SLOW)
    jobs.submit(1, "slow", blocks=False)
    wait_for(lambda: jobs.pool._slow == {1})
    jobs.pool._limits = FairPoolLimits(2, 1, NEVER_SLOW)
    jobs.submit(1, "quick", blocks=False)
    wait_for(lambda: jobs.pool._slow == set())


def test_a_waiting_job_is_not_added_again_but_one_that_runs_is_run_once_more(make):
    jobs = make(2, NEVER_SLOW)
    jobs.submit(1, "job")
    wait_for(lambda: jobs.started == ["job"])
    for _ in range(3):
        jobs.submit(1, "job")
    jobs.release()
    wait_for(lambda: not jobs.pool._waiting and not jobs.pool._started)
    assert jobs.ended == ["job", "job"]


def test_a_failed_job_is_logged_and_frees_its_thread(make, caplog):
    jobs = make(1, NEVER_SLOW)

    def fail() -> None:
        raise RuntimeError("on purpose")

    jobs.pool.submit(1, ("check", 1), fail)
    jobs.submit(1, "next", blocks=False)
    wait_for(lambda: jobs.ended == ["next"])
    assert "job check 1 failed" in caplog.text


def test_a_stop_waits_for_what_runs_and_starts_nothing_more(make):
    jobs = make(1, NEVER_SLOW)
    jobs.submit(1, "running")
    jobs.submit(2, "waiting")
    wait_for(lambda: jobs.started == ["running"])
    jobs.pool.request_stop()
    jobs.submit(3, "late")
    jobs.release()
    jobs.pool.finish()
    assert jobs.ended == ["running"]


def test_the_jobs_of_one_account_leave_places_to_others(make):
    jobs = make(1, NEVER_SLOW)
    jobs.submit(1, "running")
    for number in range(2000):
        jobs.submit(1, f"many {number}", blocks=False)
    jobs.submit(2, "other", blocks=False)
    assert ("other", 2) in jobs.pool._waiting
    assert len(jobs.pool._waiting) <= 100
    jobs.release()
    wait_for(lambda: "other" in jobs.ended)


def test_a_job_that_arrives_after_the_stop_starts_no_new_pool(app):
    pools = FairPools()
    pools.start(app, 1)
    pools.request_stop()
    ran = []
    pools.named(app, "checks").submit(1, ("check", 1), lambda: ran.append(1))
    pools.finish()
    pools.named(app, "checks").submit(1, ("check", 1), lambda: ran.append(1))
    pools.finish()
    assert ran == []
    pools.start(app, 1)
    pools.named(app, "checks").submit(1, ("check", 1), lambda: ran.append(1))
    pools.finish()
    assert ran == [1]
