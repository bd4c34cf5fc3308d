"""``flask doctor`` prints one line for each check, graded, with what to do, also where the portal cannot start."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from datetime import timedelta

import pytest
import time_machine

from portal import bootstrap, create_app
from portal.about import ROOT
from portal.cli import doctor_report
from portal.clock import utcnow
from portal.config import Config
from portal.db import close_connections
from portal.jobs import heartbeat
from portal.rehearsal import server as rehearsal_server
from portal.rehearsal.listeners import ListenerKind
from tests.journeys.running import free_port

OFFLINE = {"public-address", "platform-sender", "port-587"}


@pytest.fixture(scope="module")
def instance(tmp_path_factory):
    """The folder of an instance that is set up, with one worker."""
    folder = tmp_path_factory.mktemp("doctor") / "instance"
    bootstrap.make_secrets(folder)
    app = create_app(Config.from_env({"SIGNET_REHEARSAL": "1"}, folder))
    bootstrap.migrate(app)
    with app.app_context():
        heartbeat.record_heartbeat(utcnow(), started_at=utcnow())
        close_connections()
    return folder


@pytest.fixture
def env(instance):
    return {"SIGNET_INSTANCE": str(instance), "SIGNET_REHEARSAL": "1"}


def examine(env, *, offline=True):
    """Run the command with --json; return its exit status and the findings by code."""
    lines = []
    status = doctor_report.run(env, create_app, offline=offline, as_json=True, echo=lines.append)
    report = json.loads("".join(lines))
    found = {one["code"]: one for one in report["findings"]}
    assert sum(report["counts"].values()) == len(report["findings"]) == len(found)
    assert status == (1 if report["counts"]["error"] else 0)
    for one in found.values():
        assert one["sentence"].endswith((".", ")")), one
        assert one["grade"] in {"ok", "not_tried"} or one["action"] or one["code"] == "configuration", one
    return status, found


def grades(found, *codes):
    return [found[code]["grade"] for code in codes]


def test_a_healthy_installation_has_no_error(env):
    status, found = examine(env)
    assert status == 0
    healthy = (
        "configuration",
        "base-url",
        "secrets",
        "files",
        "database",
        "keyring",
        "demo",
        "worker",
        "proxies",
    )
    assert grades(found, *healthy) == ["ok"] * len(healthy)
    assert found["database-clock"]["grade"] == "ok"
    assert found["time-service"]["grade"] in {"ok", "warning", "not_tried"}
    assert {code for code in found if found[code]["grade"] == "not_tried"} - {"time-service"} == OFFLINE


def test_each_check_is_a_line(env):
    lines = []
    doctor_report.run(env, create_app, offline=True, as_json=False, echo=lines.append)
    _, found = examine(env)
    assert len(lines) == len(found) + 1
    assert all("\n" not in line for line in lines[:-1])
    assert lines[-1].startswith("\n0 errors")


def test_a_single_error_is_counted_in_the_singular(env):
    lines = []
    wrong = env | {"SIGNET_AUDIT_DAYS": "4000"}
    assert doctor_report.run(wrong, create_app, offline=True, as_json=False, echo=lines.append) == 1
    assert lines[-1] == "\n1 error, 0 warnings, 1 not tried."


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"SIGNET_BASE_URL": "http://signet.example.com"}, "SIGNET_BASE_URL"),
        ({"SIGNET_INSTANCE": "/nonexistent/signet"}, "SECRET_KEY"),
        ({"SIGNET_KEYS": "a:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}, "bytes; it must have 32"),
        (
            {"MAIL_SERVER": "smtp.example.com", "MAIL_DEFAULT_SENDER": "a@b.example", "MAIL_PORT": "25"},
            "MAIL_PLAINTEXT",
        ),
    ],
)
def test_an_invalid_configuration_is_reported_instead_of_stopping_the_command(env, variables, named):
    status, found = examine(env | variables)
    assert status == 1
    assert named in found["configuration"]["sentence"]
    assert found.keys() == {"configuration", "rest"}


def test_a_database_that_does_not_answer_is_an_error_and_the_rest_is_not_tried(env):
    url = f"postgresql://signet:canary@127.0.0.1:{free_port()}/signet"
    status, found = examine(env | {"DATABASE_URL": url})
    assert status == 1
    assert "DATABASE_URL" in found["database"]["action"]
    assert grades(found, "services", *OFFLINE) == ["not_tried"] * 4
    assert "canary" not in json.dumps(found)


def test_a_missing_worker_and_an_uncounted_proxy_are_reported(env, instance):
    seen = instance / "forwarded_seen"
    seen.touch()
    status, found = examine(env)
    assert status == 0
    assert found["proxies"]["grade"] == "warning"
    assert "SIGNET_TRUSTED_PROXIES" in found["proxies"]["action"]
    with time_machine.travel(utcnow() + timedelta(days=2)):
        status, found = examine(env)
    assert status == 1
    assert found["worker"]["grade"] == "error"
    assert "flask worker" in found["worker"]["action"]
    assert found["proxies"]["grade"] == "ok", "it is two days old"
    seen.unlink()


def test_links_that_lead_to_this_machine_are_a_warning(env):
    assert examine(env | {"SIGNET_REHEARSAL": "0"})[1]["base-url"]["grade"] == "warning"


# -- what needs the network, here of this machine


@pytest.fixture
def online(env, instance):
    """The environment of a portal whose network is this machine: a rehearsal server that plays a provider."""
    ports = {f"SIGNET_REHEARSAL_{kind.name}_PORT": str(free_port()) for kind in ListenerKind}
    played = (
        env
        | ports
        | {
            "SIGNET_REHEARSAL_PLAYS": "smtp.mailgun.org",
            "SIGNET_BASE_URL": f"http://127.0.0.1:{free_port()}",
            "MAIL_SERVER": "localhost",
            "MAIL_PORT": ports["SIGNET_REHEARSAL_STARTTLS_PORT"],
            "MAIL_USE_TLS": "1",
            "MAIL_USERNAME": "platform@signet.example",
            "MAIL_PASSWORD": "rehearsal",
            "MAIL_DEFAULT_SENDER": "affiliates@signet.example",
        }
    )
    config = Config.from_env(played, instance)
    handle = rehearsal_server.start(config)
    yield played
    handle.stop()


def test_the_platform_sender_is_tried_up_to_its_recipient(online):
    _, found = examine(online, offline=False)
    assert grades(found, "platform-sender", "port-587") == ["ok", "ok"]
    stages = [one["stage"] for one in found["platform-sender"]["stages"]]
    assert stages[:2] == ["resolve", "connect"]
    assert stages[-1] == "rcpt"


def test_a_wrong_password_of_the_platform_sender_is_an_error_with_a_fix(online):
    status, found = examine(online | {"MAIL_PASSWORD": "canary canary"}, offline=False)
    assert status == 1
    assert found["platform-sender"]["grade"] == "error"
    assert "stage auth (passed: resolve, connect" in found["platform-sender"]["sentence"]
    assert found["platform-sender"]["diagnosis"]["kind"] == "credentials"
    assert "canary" not in json.dumps(found)


def test_a_portal_without_a_sender_is_warned(online):
    without = {name: value for name, value in online.items() if not name.startswith("MAIL_")}
    found = examine(without, offline=False)[1]
    assert found["platform-sender"]["grade"] == "warning"
    assert "password resets" in found["platform-sender"]["sentence"]


def test_a_closed_port_587_is_a_warning(online):
    found = examine(online | {"SIGNET_REHEARSAL_STARTTLS_PORT": str(free_port())}, offline=False)[1]
    assert found["port-587"]["grade"] == "warning"
    assert "hosting company" in found["port-587"]["action"]


def test_a_public_address_is_requested_as_a_visitor_does(online):
    found = examine(online, offline=False)[1]
    assert found["public-address"]["grade"] == "warning", "no portal runs there"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        base = f"http://127.0.0.1:{listener.getsockname()[1]}"
        program = f"""
import socket
listener = socket.socket(fileno={listener.fileno()})
connection, _ = listener.accept()
assert connection.recv(9000).startswith(b"GET /healthz ")
connection.sendall(b"HTTP/1.1 502 Bad Gateway\\r\\nContent-Length: 0\\r\\n\\r\\n")
"""
        answering = subprocess.Popen([sys.executable, "-c", program], pass_fds=[listener.fileno()])
        found = examine(online | {"SIGNET_BASE_URL": base}, offline=False)[1]
        assert answering.wait(600) == 0
    assert found["public-address"]["grade"] == "error"
    assert "answers 502" in found["public-address"]["sentence"]


def test_the_command_runs_where_no_portal_can_start(tmp_path):
    env = {"PATH": os.environ["PATH"], "SIGNET_INSTANCE": str(tmp_path / "none")}
    command = [sys.executable, "-m", "flask", "--app", "wsgi", "doctor", "--offline"]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=600)
    assert done.returncode == 1
    assert "ERROR      configuration     No SECRET_KEY." in done.stdout
    assert not done.stderr
    assert not (tmp_path / "none").exists()
