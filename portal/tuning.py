"""Tuning constants of outbox, jobs and database: delays, batch sizes and limits that trade speed against load.

One frozen value, reachable as ``Config.tuning``. The defaults are right for every installation that was measured;
operators have environment variables for what depends on the installation (see config.py). Tests replace single fields.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Tuning:
    """The unit is in the name: ``_s`` seconds, ``_bytes``; ``_fraction`` and ``_factor`` are ratios; else a count."""

    # A drain: one connection of one account.
    idle_s: float = 2.0  # an idle connection is kept so long: the next message then needs no handshake
    idle_poll_s: float = (
        0.25  # of an idle connection, between two polls for messages whose job was not pushed
    )
    settle_lag_s: float = (
        0.1  # how far the table may lag behind the acceptance log: one commit for many messages
    )
    settle_early_fraction: float = 0.7  # of it: then the table follows while a server reads
    rate_limit_wait_s: float = (
        1.0  # a rate limit that ends within this time is waited for with the connection open
    )
    rate_limit_burst_fraction: float = (
        0.1  # of a limit may be sent at once; the rest is spread over its period
    )
    lease_renew_fraction: float = (
        0.1  # of a lease, after which it is renewed; a stalled drain verifies it after twice
    )
    outage_min_fraction: float = (
        0.3  # of a lease; a shorter time without the database leaves workers time to renew theirs
    )
    connection_turn_s: float = 5.0  # then a long queue yields its connection if other accounts wait for one
    connection_max_messages: int = (
        100  # providers count messages per connection and cut it, mostly at a hundred
    )
    connection_max_age_s: float = 300.0  # after this, a connection is replaced between two messages

    # Batches of claims.
    batch_first: int = 4  # small, as nothing is known about the server yet
    batch_max: int = 200  # bounds the memory of a drain and what a crash leaves claimed
    batch_growth_factor: int = 8  # at most, from one batch to the next
    batch_target_s: float = 1.0  # with a slow server smaller batches leave messages for other connections
    batch_busy_factor: float = (
        2.0  # times as long where this process is the bottleneck: a claim costs its time, too
    )
    claim_window_factor: int = (
        2  # times the limit is examined first: many messages to one recipient stay cheap
    )

    # Several connections of one account, and several accounts in one process.
    connections_per_account: int = 4  # where the provider's limit is unknown
    second_connection_min_s: float = (
        0.001  # a message faster than this gains nothing from a second connection
    )
    busy_cpu_fraction: float = 0.6  # of one processor: from here on a further connection gains little
    saturated_cpu_fraction: float = (
        0.85  # of one processor: a further connection only takes time from the others
    )
    help_interval_s: float = 1.0  # between two requests of a drain for a further connection
    help_after_s: float = 0.2  # without a result: a second connection of the account may help
    stalled_after_s: float = (
        1.0  # without a result: the thread leaves the drain alone and serves other accounts
    )
    connections_per_thread: int = 16  # of one worker process, at most
    unhealthy_connections_fraction: float = 0.5  # of them at most, for servers that did not answer last time
    idle_in_use_fraction: float = 0.5  # of them in use: up to this, drains may keep idle connections
    ramp_max_connections: int = (
        4  # after a failure a queue ramps up 0 (one message), 1, 2, 4, then without a limit
    )

    # Retries. All delays are multiplied by Config.retry_pace.
    retry_delays_s: tuple[float, ...] = (
        60,
        300,
        900,
        1800,
        3600,
        7200,
        14400,
    )  # before attempt 2, 3 ...; last repeats
    retry_jitter_fraction: float = 0.2  # either way, so that messages of one outage do not retry at once
    retry_ambiguous_min_s: float = 900  # if the server may already hold the message
    retry_give_up_after_s: float = 48 * 3600  # after the first counted attempt
    internal_error_tries: int = 3  # then a message that makes the portal fail is set aside
    pause_max_s: float = 1800  # of a queue whose server is in trouble; its pauses grow like retry delays
    probe_delays_s: tuple[float, ...] = (
        60,
        120,
        300,
        900,
        1800,
        3600,
    )  # until a held queue sends one message
    other_server_wait_s: float = (
        1800  # until a possibly delivered message is tried through its first server again
    )

    # Throttling, after a server refused the sending speed.
    throttle_recovery_s: float = 600  # the speed doubles in each such time
    throttle_min_per_minute: float = 1.0
    throttle_default_per_minute: float = (
        60.0  # if too few messages were sent to measure the speed that was too much
    )
    throttle_repeat_s: float = (
        10.0  # another complaint within this time is about messages sent before the first
    )

    # Login probes of live settings and webhooks to owners.
    login_probe_every_s: float = 24 * 3600
    login_probe_jitter_fraction: float = 0.1  # either way, so that not all accounts probe at once
    # After the 1st, 2nd, ... failure in a row. Refused logins are repeated rarely because providers lock users.
    login_probe_refused_delays_s: tuple[float, ...] = (120, 600, 1800, 3600, 10800, 21600)
    login_probe_unreachable_delays_s: tuple[float, ...] = (60, 120, 300, 600, 900)
    webhook_retry_delays_s: tuple[float, ...] = (
        30,
        120,
        600,
        1800,
        3600,
        7200,
        14400,
    )  # the last one repeats

    # Jobs and worker processes.
    job_push_interval_s: float = 0.1  # between two pushes of the same job
    # Threads of a worker process for what waits for owners' servers; of each kind one account uses at most one.
    check_threads: int = 16  # for checks of settings
    probe_threads: int = 8  # for login probes and checks of domains
    webhook_threads: int = 8
    bounce_threads: int = 2  # for what providers report; it only uses the database
    slow_threads_fraction: float = 0.5  # of them are used at most by accounts whose last job was slow
    slow_job_s: float = 5.0  # longer than a server needs that answers
    alert_threads: int = 1  # for alerts and the monitor, which only use the database
    housekeeping_threads: int = 1  # for clean-up, rollup, weekly summaries and bulk actions
    worker_missing_after_s: float = 60.0  # without a heartbeat: the pages warn that no worker runs
    heartbeat_keep_s: float = 24 * 3600  # then the heartbeat of a crashed worker is removed
    full_sweep_s: float = 30.0  # between two sweeps that also look for work which can wait so long
    full_sweep_max_rounds: int = 6  # sweeps up to the next full one, where sweeps are shorter than usual
    queue_poll_s: float = 0.05  # of a job queue in a file, which cannot notify
    background_poll_s: float = 0.25  # of the queues in a file for whose jobs no page waits
    queue_look_s: float = 30.0  # between two looks into a queue in PostgreSQL that announced nothing
    queue_retry_min_s: float = (
        0.5  # after trouble with a job queue that notifies; the delay grows up to the next
    )
    queue_retry_max_s: float = 5.0

    # Writing to SQLite.
    write_poll_s: tuple[float, float] = (0.0002, 0.0006)  # at random, between two attempts to begin writing
    write_queue_wait_s: float = (
        0.25  # at the head of the write queue, before others may pass a frozen process
    )

    # Visits through affiliates' links.
    visit_flush_s: float = 1.0  # counts of visits wait so long in memory; a crash loses them
    visit_retry_s: float = 5.0  # counts that the database refused are written after so long
    short_link_cache_s: float = 2.0  # another process's change of a shop address takes effect after so long

    # Clocks, database and files.
    clock_step_s: float = 20.0  # a smaller step of the database's clock goes unnoticed
    pause_implausible_s: float = 2400  # a pause further ahead was computed before the clock was set back
    probe_implausible_s: float = 4200  # a probe further ahead, likewise
    database_retry_s: float = 0.5  # between two attempts while the database is away, locked or full
    acceptance_log_max_bytes: int = 256 * 1024  # then open entries move to a new file
