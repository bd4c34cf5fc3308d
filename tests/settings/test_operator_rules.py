"""What the operator allows: one list of private targets with their ports and authorities, and the greeting time."""

from __future__ import annotations

import pytest

from portal.config import ConfigError
from portal.settings.models import VersionState
from tests.conftest import make_config
from tests.settings.conftest import LIMITS, save, text_of, versions, work
from tests.smtp import badserver


@pytest.fixture
def config(tmp_path, servers, tuning):
    """The first server is listed once, with its port and its own authority; no other variable names them."""
    ports = [servers.one.port, servers.two.port]
    listed = " ".join(f"127.0.0.0/8:{port}:ca={badserver.ca_file()} [::1]:{port}" for port in ports)
    env = {
        "SIGNET_SMTP_PRIVATE": listed,
        "MAIL_PORT": str(servers.two.port),
        "MAIL_USE_TLS": "0",
        "MAIL_USE_SSL": "1",
    }
    return make_config(tmp_path / "instance", env=env, lease=600.0, limits=LIMITS, tuning=tuning)


def test_a_private_target_brings_its_port_and_its_authority(owner, form):
    assert save(owner, form).status_code == 303
    work()
    assert versions()[0].state is VersionState.LIVE


def test_a_refused_port_names_who_can_allow_it(owner, form):
    answer = save(owner, form, host="smtp.example.com", port="26")
    assert answer.status_code == 422
    assert "Port 26 is not allowed here." in text_of(answer)
    assert "ask the operator of this portal to allow it" in text_of(answer)


def test_a_port_of_a_provider_s_card_needs_no_allowance(owner, form, monkeypatch):
    known = {"host": "smtp.mailgun.org", "username": "postmaster@brightleaf.example", "security": "starttls"}
    assert save(owner, form, **known, provider="mailgun", port="2525").status_code == 303


def test_the_greeting_time_is_read_in_seconds(tmp_path):
    assert make_config(tmp_path / "a").limits.greeting == 30
    assert make_config(tmp_path / "b", env={"SIGNET_SMTP_GREETING": "300"}).limits.greeting == 300
    with pytest.raises(ConfigError, match="SIGNET_SMTP_GREETING"):
        make_config(tmp_path / "c", env={"SIGNET_SMTP_GREETING": "0"})
