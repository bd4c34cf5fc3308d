"""Which host names the portal answers to, what it notes of uncounted proxies, and that foreign pages cannot frame it."""

from __future__ import annotations

import logging

import pytest

from portal.web import forwarded
from tests.conftest import make_config

PUBLIC = {"SIGNET_BASE_URL": "https://signet.example.com", "SIGNET_REHEARSAL": "0"}


@pytest.fixture
def config(tmp_path, request):
    return make_config(tmp_path / "instance", env=getattr(request, "param", PUBLIC))


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("signet.example.com", 200),
        ("localhost", 400),
        ("127.0.0.1:8000", 400),
        ("[::1]", 400),
        ("other.example.com", 400),
        ("signet.example.com.evil.example", 400),
    ],
)
def test_a_public_portal_answers_to_its_own_name_only(client, host, status):
    assert client.get("/log-in", base_url=f"https://{host}").status_code == status


@pytest.mark.parametrize("config", [{}], indirect=True)
@pytest.mark.parametrize("host", ["localhost:8000", "127.0.0.1", "[::1]", "[::1]:8000"])
def test_a_portal_of_one_machine_answers_to_the_names_of_that_machine(client, host):
    assert client.get("/log-in", base_url=f"http://{host}").status_code == 200
    assert client.get("/log-in", base_url="http://other.example.com").status_code == 400
    for header in ("[::1].evil.example", "[::2]", "[::1]evil.example", "[::1"):
        assert client.get("/log-in", headers={"Host": header}).status_code == 400


@pytest.mark.parametrize("config", [{"SIGNET_BASE_URL": "http://[::1]:8000"}], indirect=True)
def test_a_portal_whose_address_is_ipv6_answers(client):
    assert client.get("/log-in", base_url="http://[::1]:8000").status_code == 200
    assert client.get("/healthz", headers={"Host": "10.0.0.7"}).status_code == 200


@pytest.mark.parametrize("host", ["10.0.0.7:8000", "web:8000", "localhost", "bad host"])
def test_probes_of_the_inner_network_reach_the_monitoring_endpoints(client, host):
    assert client.get("/healthz", headers={"Host": host}).status_code == 200
    assert client.get("/readyz", headers={"Host": host}).is_json
    assert client.get("/metrics", headers={"Host": host}).status_code == 404  # no token is set


def test_no_other_page_may_frame_the_portal(client):
    answer = client.get("/log-in", base_url="https://signet.example.com")
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded"])
def test_the_first_request_through_an_uncounted_proxy_is_logged(client, config, caplog, header):
    caplog.set_level(logging.WARNING)
    client.get("/healthz")
    assert forwarded.last_seen(config) is None
    for _ in range(3):
        client.get("/healthz", headers={header: "203.0.113.7, canary"})
    assert forwarded.last_seen(config) is not None
    assert len([one for one in caplog.records if "SIGNET_TRUSTED_PROXIES is 0" in one.getMessage()]) == 1
    assert "canary" not in caplog.text


@pytest.mark.parametrize("config", [PUBLIC | {"SIGNET_TRUSTED_PROXIES": "1"}], indirect=True)
def test_a_counted_proxy_is_not_noted(client, config):
    client.get("/healthz", headers={"X-Forwarded-For": "203.0.113.7"})
    assert forwarded.last_seen(config) is None
