"""Connection leases: limits, clock steps, and how a queue ramps up after a failure."""

import time
from dataclasses import replace
from datetime import timedelta

import pytest
import time_machine

from portal.clock import utcnow
from portal.outbox.models import Status
from portal.outbox.sending.drain import Drain, drain_queue
from portal.outbox.store import leases, recovery
from portal.smtp.providers import load_catalogue
from portal.state import get_state
from portal.tuning import Tuning
from tests.outbox.support import (
    answering,
    attempts,
    count_leases,
    enqueue_message,
    expire_leases,
    honest,
    message,
    new_account,
    queue,
    route_to,
    start_drain,
    statuses,
)
from tests.smtp.badserver import BadServer


def start_drains(account, count):
    """Start drains; return how many of them acquired a connection lease."""
    return sum(Drain(account).start() for _ in range(count))


def test_the_connections_of_an_account_are_limited(app, server, account):
    for number in range(40):
        enqueue_message(account, f"m{number}")
    assert start_drains(account, 6) == count_leases(account) == Tuning().connections_per_account


def test_a_provider_with_a_limit_of_one_connection_gets_one(app, server, routes, account):
    provider = load_catalogue().by_host("smtp.office365.com")
    assert provider.connections == 1
    routes.by_account[account] = lambda: replace(route_to(server.port), provider=provider)
    for number in range(10):
        enqueue_message(account, f"m{number}")
    assert start_drains(account, 3) == 1


def test_the_connections_of_the_portal_are_limited(app, server, routes, account):
    get_state(app).config = replace(get_state(app).config, connections=2)
    others = [new_account(f"Other{number}") for number in range(3)]
    for id_ in others:
        routes.send_to(id_, server)
        enqueue_message(id_, f"m{id_}")
    assert sum(start_drains(id_, 1) for id_ in others) == 2


def test_an_expired_lease_is_free_for_another_drain(app, server, account):
    enqueue_message(account, "m")
    start_drain(account)
    expire_leases(account)
    drain_queue(account)
    assert (count_leases(account), statuses(account)) == (0, [Status.SENT])


# -- clocks


@pytest.mark.clocks_disagree
@pytest.mark.parametrize("hours", [-1, 1])
def test_a_worker_whose_clock_is_an_hour_off_respects_leases_and_sends(app, server, account, hours):
    enqueue_message(account, "m")
    start_drain(account)
    with time_machine.travel(utcnow() + timedelta(hours=hours)):
        assert drain_queue(account) == 0, "the database's clock decides when the lease ends"
        other = enqueue_message(account, "other")
        assert drain_queue(account) == 1
    assert message(other).status is Status.SENT
    assert len(server.messages) == 1


@pytest.mark.clocks_disagree
@pytest.mark.parametrize("hours", [-1, 1])
def test_a_message_of_a_portal_whose_clock_is_an_hour_off_is_due_at_once(app, server, account, hours):
    with time_machine.travel(utcnow() + timedelta(hours=hours)):
        id_ = enqueue_message(account, "m")
    drain_queue(account)
    assert message(id_).status is Status.SENT


def test_no_message_waits_after_the_database_s_clock_was_set_back(app, server, account):
    recovery._last_seen.clear()
    with time_machine.travel(utcnow() + timedelta(hours=1), tick=True):
        recovery.sweep()
        stuck = enqueue_message(account, "stuck")
        start_drain(account)
        fresh = enqueue_message(account, "fresh")
    recovery.sweep()
    drain_queue(account)
    assert message(fresh).status is Status.SENT
    assert message(stuck).status is Status.SENDING, "a running worker may still renew the lease"
    get_state(app).discard(leases._Clock)  # as after the duration of a lease
    drain_queue(account)
    assert message(stuck).status is Status.SENT, (
        "a lease that ends so far ahead is from before the clock step"
    )


def test_a_lease_that_ended_while_the_database_was_away_is_left_to_its_worker_for_a_while(
    app, server, account
):
    id_ = enqueue_message(account, "m")
    drain = start_drain(account)
    expire_leases(account)
    clock = get_state(app).part(leases._Clock)
    clock.read_at -= timedelta(days=2).total_seconds()  # as if the database had been away since then
    assert start_drains(account, 2) == 0, "its worker could not renew it"
    clock.read_at -= 60.0  # a second, shorter time
    assert start_drains(account, 1) == 0
    assert drain.run_claimed() == 1
    assert message(id_).status is Status.SENT
    assert len(attempts(id_)) == len(server.messages) == 1


def test_a_lease_that_was_not_renewed_after_the_database_was_back_ends(app, server, account):
    id_ = enqueue_message(account, "m")
    start_drain(account)
    expire_leases(account)
    clock = get_state(app).part(leases._Clock)
    clock.read_at -= timedelta(days=2).total_seconds()
    assert start_drains(account, 1) == 0
    clock.outages = [
        (away_s, time.monotonic()) for away_s, _ in clock.outages
    ]  # as after the duration of a lease
    drain_queue(account)
    assert message(id_).status is Status.SENT


# -- ramping up


def test_after_a_pause_one_message_is_sent_and_its_acceptance_ramps_the_queue_up(app, serve, routes, account):
    server: BadServer = serve(answering(GREETING=b"421 4.3.2 Too busy\r\n"))
    routes.send_to(account, server)
    with time_machine.travel("2026-05-04 10:00:00+00:00", tick=False) as clock:
        for number in range(40):
            enqueue_message(account, f"m{number}")
        drain_queue(account)
        assert (queue(account).ramp_limit, queue(account).healthy) == (0, True)
        clock.shift(timedelta(minutes=3))
        server.script = honest()
        probe = start_drain(account)
        assert len(probe.claims) == 1
        assert start_drains(account, 3) == 0
        limits = []
        while probe.current is not None:
            probe.send_current()
            limits.append(queue(account).ramp_limit)
    assert limits[0] == 1
    assert list(dict.fromkeys(limits)) == [1, 2, 4, None]
    assert set(statuses(account)) == {Status.SENT}
