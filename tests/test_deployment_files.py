"""The files that an operator copies: the Makefile's first target, the units of systemd, and compose.yaml."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from portal.config import Config
from portal.settings.advanced import REPLY_SECONDS
from portal.smtp.server import Limits
from portal.vault import new_key

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
UNITS = sorted((DOCS / "systemd").glob("*.service"))
SIGNET = ("web", "worker")


# -- make run


@pytest.fixture
def old_python(tmp_path):
    """A program that runs Python and calls itself 3.10."""
    program = tmp_path / "python3"
    program.write_text(
        f"#!/bin/sh\nexec {sys.executable} -c 'import sys; sys.version_info = (3, 10, 12); exec(sys.argv[1])' \"$2\"\n"
    )
    program.chmod(0o755)
    return program


def make_run(tmp_path, python):
    command = ["make", "run", f"PYTHON={python}", f"VENV={tmp_path / 'venv'}"]
    env = {"PATH": os.environ["PATH"], "LANG": "C"}
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=600)


@pytest.mark.skipif(shutil.which("make") is None, reason="make was not found")
@pytest.mark.parametrize("has_venv", [False, True])
def test_an_old_python_is_named_instead_of_an_error_of_pip(tmp_path, old_python, has_venv):
    if has_venv:  # made earlier, by that Python
        (tmp_path / "venv" / "bin").mkdir(parents=True)
        shutil.copy(old_python, tmp_path / "venv" / "bin" / "python")
    done = make_run(tmp_path, sys.executable if has_venv else old_python)
    assert done.returncode == 2
    assert "Signet needs Python 3.11 or newer" in done.stderr
    assert "is Python 3.10" in done.stderr
    assert "make run PYTHON=" in done.stderr
    assert "pip" not in done.stderr


@pytest.mark.skipif(shutil.which("make") is None, reason="make was not found")
def test_a_missing_python_is_named(tmp_path):
    done = make_run(tmp_path, "/nonexistent/python3")
    assert done.returncode == 2
    assert "/nonexistent/python3 is no Python" in done.stderr


# -- systemd


def directives(unit):
    """Return the lines of a unit as (name, value)."""
    return re.findall(r"(?m)^(\w+)=(.*)$", unit.read_text())


def test_there_is_a_unit_for_each_process():
    assert [unit.name for unit in UNITS] == ["signet-portal.service", "signet-worker@.service"]


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_gives_its_process_no_more_than_it_needs(unit):
    found = directives(unit)
    for wanted in (
        ("User", "signet"),
        ("UMask", "0077"),
        ("StateDirectoryMode", "0700"),
        ("NoNewPrivileges", "yes"),
        ("ProtectSystem", "strict"),
        ("ProtectHome", "yes"),
        ("PrivateTmp", "yes"),
        ("CapabilityBoundingSet", ""),
    ):
        assert wanted in found


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze was not found")
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_reads_a_unit_and_assesses_it_as_safe(unit, tmp_path):
    name = unit.name.replace("@.", "@1.")
    text = re.sub(
        r"(?m)^(ExecStart=)\S+", r"\1/bin/true", unit.read_text()
    )  # the program is not installed here
    (tmp_path / name).write_text(text)
    command = ["systemd-analyze", "security", "--offline=yes", "--threshold=25", str(tmp_path / name)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Unknown" not in done.stderr


# -- Docker Compose


@pytest.fixture(scope="module")
def services():
    return yaml.safe_load((DOCS / "compose.yaml").read_text())["services"]


def test_containers_are_read_only_and_gain_no_privileges(services):
    for name, service in services.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert not service.get("privileged"), name


# Files and addresses that the containers have of themselves, and what is for tests or for one process.
NOT_IN_COMPOSE = {
    "SECRET_KEY",
    "SIGNET_KEYS",
    "REDIS_URL",
    "SIGNET_SMTP_CA_FILE",
    "SIGNET_CPU",
    "SIGNET_SWEEP_SECONDS",
    "SIGNET_RETRY_PACE",
    "SIGNET_SIGN_UP_SECONDS",
    "SIGNET_BACKUP_PASSPHRASE",
    "SIGNET_REHEARSAL",
    "SIGNET_REHEARSAL_PLAYS",
    "SIGNET_MICROSOFT_LOGIN_URL",
    "SIGNET_GOOGLE_TOKEN_URL",
    "SIGNET_GOOGLE_AUTHORIZE_URL",
}


def test_the_documented_variables_reach_the_portal_and_the_worker(services):
    table = (ROOT / "README.md").read_text().partition("| Variable |")[2].partition("\n\n")[0]
    named = {
        name
        for row in table.splitlines()
        if row.startswith("| `")
        for name in re.findall(r"`([A-Z_]{6,})`", row.split(" | ")[0])
    }
    for name in ("web", "worker"):
        assert named - set(services[name]["environment"]) == NOT_IN_COMPOSE, name


def test_variables_that_compose_leaves_empty_have_their_defaults(services, tmp_path):
    empty = {name: "" for name, value in services["web"]["environment"].items() if str(value).endswith(":-}")}
    secrets = {"SECRET_KEY": "0123456789abcdef" * 4, "SIGNET_KEYS": new_key()}
    assert Config.from_env(empty | secrets, tmp_path) == Config.from_env(secrets, tmp_path)


def test_what_runs_all_the_time_runs_without_root(services):
    for name in SIGNET:
        assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", services[name]["user"]), name
        assert "cap_add" not in services[name], name
    assert services["postgres"]["user"] == "postgres"
    as_root = [name for name, service in services.items() if service.get("user", "root") == "root"]
    assert as_root == ["setup", "nginx"], "setup ends; nginx's main process reads the certificate"


def test_the_user_of_the_portal_owns_its_volume(services):
    user = services["web"]["user"]
    setup = services["setup"]["command"]
    assert f"chown -R {user} /var/lib/signet && chmod 700 /var/lib/signet" in setup
    assert "--reuid={} --regid={}".format(*user.split(":")) in setup


def test_a_worker_has_the_time_for_the_longest_reply_before_it_is_killed(services):
    needed = timedelta(seconds=REPLY_SECONDS[1] + Limits().deadline)
    (unit,) = [unit for unit in UNITS if "worker" in unit.name]
    assert timedelta(seconds=int(dict(directives(unit))["TimeoutStopSec"])) > needed
    minutes = re.fullmatch(r"(\d+)m", services["worker"]["stop_grace_period"])[1]
    assert timedelta(minutes=int(minutes)) > needed
