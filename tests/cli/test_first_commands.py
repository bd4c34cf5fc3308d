"""The first commands of an operator end with one sentence, never with a traceback, whatever is wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from portal.vault import new_key
from tests.journeys.running import free_port

ROOT = Path(__file__).parents[2]
BOOTSTRAP = ["-m", "portal.bootstrap"]
FLASK = ["-m", "flask", "--app", "wsgi"]
CREATE = [
    *FLASK,
    "create-owner",
    "--programme",
    "Dovetail",
    "--name",
    "Cy",
    "--mailbox",
    "cy@dovetail.example",
]
BASE = "SIGNET_BASE_URL"
_OTHER_USER = 65534  # exists on every Linux, and owns nothing
PUBLIC = "https://signet.example.com"


def run(arguments, env, *, typed="", user=None):
    """Run Python with these arguments and nothing but this environment."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"]} | env,
        input=typed,
        capture_output=True,
        text=True,
        timeout=600,
        user=user,
        start_new_session=True,  # without a terminal, a password is read from the standard input
    )


def refusal(arguments, env, **more):
    """Return what a failing command wrote to standard error."""
    done = run(arguments, env, **more)
    assert done.returncode != 0, done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    return done.stderr


@pytest.fixture(scope="module")
def ready(tmp_path_factory):
    """The environment of an instance that was set up by the command."""
    env = {"SIGNET_INSTANCE": str(tmp_path_factory.mktemp("first") / "instance"), BASE: PUBLIC}
    done = run(BOOTSTRAP, env)
    assert done.returncode == 0, done.stderr
    return env


def test_files_that_the_commands_make_are_private(ready):
    files = list(Path(ready["SIGNET_INSTANCE"]).iterdir())
    assert {"portal.sqlite", "jobs.sqlite", "keys", "secret_key"} <= {file.name for file in files}
    assert not [file for file in files if file.stat().st_mode & 0o077]


def test_an_account_may_be_named_like_a_command(ready):
    stderr = refusal([*FLASK, "accounts", "suspend", "smtp"], ready)
    assert "No account has this name" in stderr


def test_a_short_password(ready):
    assert refusal(CREATE, ready, typed="short\nshort\n").count("\n") < 10


def test_a_database_that_is_down(tmp_path):
    url = f"postgresql://signet:canary@127.0.0.1:{free_port()}/signet"
    keys = {"SECRET_KEY": "0123456789abcdefghijklmnopqrstuvwxyz", "SIGNET_KEYS": new_key(), BASE: PUBLIC}
    for arguments in (BOOTSTRAP, CREATE):
        written = refusal(arguments, keys | {"DATABASE_URL": url, "SIGNET_INSTANCE": str(tmp_path / "new")})
        assert "The database cannot be opened: OperationalError. Look at DATABASE_URL" in written
        assert "canary" not in written


@pytest.mark.thorough
def test_a_missing_folder():
    keys = {"SECRET_KEY": "0123456789abcdefghijklmnopqrstuvwxyz", "SIGNET_KEYS": new_key(), BASE: PUBLIC}
    written = refusal(CREATE, keys | {"SIGNET_INSTANCE": "/nonexistent/signet"})
    assert "The job queue /nonexistent/signet/jobs.sqlite cannot be opened" in written


@pytest.mark.thorough
def test_a_file_in_place_of_the_folder(tmp_path):
    (tmp_path / "file").touch()
    written = refusal(BOOTSTRAP, {"SIGNET_INSTANCE": str(tmp_path / "file" / "instance")})
    assert "SIGNET_INSTANCE names it" in written


@pytest.mark.thorough
def test_a_folder_of_another_user(ready, tmp_path_factory):
    if os.geteuid() != 0:
        pytest.skip("only root can run a command as another user")
    try:
        can_run = run(["-c", "import flask, portal"], {}, user=_OTHER_USER).returncode == 0
    except PermissionError:
        can_run = False
    if not can_run:
        pytest.skip("another user cannot run this Python")
    assert "cannot be read by this user" in refusal(CREATE, ready, user=_OTHER_USER)
