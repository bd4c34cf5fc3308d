"""SIGNET_RETRY_PACE shortens every delay before a retry by the same factor, so that a storm takes minutes."""

from datetime import UTC, datetime, timedelta

from portal import create_app
from portal.accounts.registration import create_owner
from portal.outbox import retry
from portal.outbox.queue import get_queue, hold
from tests.conftest import PASSWORD, make_config

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)


def test_the_pace_shortens_every_delay_before_a_retry(app, config):
    quick = create_app(make_config(config.instance, env={"SIGNET_RETRY_PACE": "0.01"}))
    with quick.app_context():
        assert timedelta(seconds=0.48) <= retry.delay(1) <= timedelta(seconds=0.72)
        assert timedelta(seconds=7.2) <= retry.delay(1, at_least_s=900) <= timedelta(seconds=10.8)
        account = create_owner("Brightleaf", "Ada", "ada@brightleaf.example", PASSWORD, now=NOW).account_id
        hold(account, {"code": "auth-refused"}, now=NOW)
        assert get_queue(account).next_probe_at == NOW + timedelta(seconds=0.6)
