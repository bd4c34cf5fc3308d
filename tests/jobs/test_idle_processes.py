"""What an idle portal process and an idle worker hold in memory: no driver and no library that they do not use."""

import json
import os
import subprocess
import sys

import pytest

from portal.about import ROOT
from portal.bootstrap import check_keys
from tests.conftest import KEYRING
from tests.migrations import mark_as_newest

pytestmark = pytest.mark.both_databases

PORTAL = """
import wsgi
assert wsgi.app.test_client().get("/log-in", base_url="http://127.0.0.1").status_code == 200
assert wsgi.app.test_client().get("/readyz", base_url="http://127.0.0.1").status_code in (200, 503)
"""
WORKER = """
import os, signal, threading, wsgi
from portal.jobs import worker
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
threading.Timer(1, os.kill, (os.getpid(), signal.SIGTERM)).start()  # it sweeps once before it stops
assert worker.run(wsgi.app, threads=1) == 0
"""
NAMES = "\nimport json, sys\nprint(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))\n"
NEVER = {"alembic", "mako", "flask_migrate", "redis", "aiosmtpd", "pytest", "time_machine"}
DRIVERS = {"psycopg", "psycopg_binary"}


@pytest.mark.parametrize("process", [PORTAL, WORKER], ids=["portal", "worker"])
def test_an_idle_process_holds_no_library_that_it_does_not_use(app, config, process):
    mark_as_newest()
    check_keys(app)
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("SIGNET_", "MAIL_", "REDIS_"))}
    own = {
        "SIGNET_INSTANCE": str(config.instance),
        "DATABASE_URL": config.database_url,
        "SECRET_KEY": config.secret_key,
        "SIGNET_KEYS": KEYRING,
        "SIGNET_BASE_URL": "http://127.0.0.1",
        "SIGNET_REHEARSAL": "1",
    }
    command = [sys.executable, "-c", process + NAMES]
    done = subprocess.run(command, cwd=ROOT, env=kept | own, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    held = set(json.loads(done.stdout.splitlines()[-1]))
    is_postgresql = config.database_url.startswith("postgresql")
    assert not held & (NEVER if is_postgresql else NEVER | DRIVERS)
