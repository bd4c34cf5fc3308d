"""security.txt has the fields that RFC 9116 requires, from the configuration."""

from __future__ import annotations

import pytest
import time_machine

from portal import create_app
from portal.env import ConfigError
from tests.conftest import make_config

PATH = "/.well-known/security.txt"


def test_without_a_contact_the_page_does_not_exist(client):
    assert client.get(PATH).status_code == 404


@time_machine.travel("2026-03-02 09:01:00+00:00", tick=False)
def test_the_page_names_contacts_policy_and_a_day_within_a_year(tmp_path):
    env = {
        "SIGNET_SECURITY_CONTACT": "security@signet.example https://signet.example/report",
        "SIGNET_SECURITY_POLICY": "https://signet.example/policy",
    }
    app = create_app(make_config(tmp_path / "instance", env=env))
    answer = app.test_client().get(PATH)
    assert answer.status_code == 200
    assert answer.content_type == "text/plain; charset=utf-8"
    assert answer.get_data(as_text=True).splitlines() == [
        "Contact: mailto:security@signet.example",
        "Contact: https://signet.example/report",
        "Expires: 2026-08-29T00:00:00Z",
        "Canonical: http://127.0.0.1/.well-known/security.txt",
        "Policy: https://signet.example/policy",
    ]


@pytest.mark.parametrize(
    "env",
    [
        {"SIGNET_SECURITY_CONTACT": "http://signet.example/report"},
        {"SIGNET_SECURITY_CONTACT": "security"},
        {"SIGNET_SECURITY_CONTACT": "https://[::1"},
        {"SIGNET_SECURITY_CONTACT": "security@signet.example", "SIGNET_SECURITY_POLICY": "policy"},
        {"SIGNET_SECURITY_POLICY": "https://signet.example/policy"},
    ],
)
def test_an_invalid_value_stops_the_start_and_is_named(tmp_path, env):
    with pytest.raises(ConfigError, match="SIGNET_SECURITY"):
        make_config(tmp_path / "instance", env=env)
