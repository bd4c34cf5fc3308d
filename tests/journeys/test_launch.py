"""``make run`` starts everything from a fresh clone and stops it again."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from tests.journeys.running import ROOT, TIMEOUT_S, RunningPortal, free_port


def environment(instance: Path) -> dict[str, str]:
    """Return the environment of a shell without settings of Signet, with free ports."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("SIGNET_", "MAIL_", "PORT"))}
    names = ("STARTTLS", "TLS", "PLAIN", "EXPIRED", "IMAP", "CONSENT")
    ports = {f"SIGNET_REHEARSAL_{name}_PORT": str(free_port()) for name in names}
    return {**inherited, **ports, "SIGNET_INSTANCE": str(instance), "PORT": str(free_port())}


def launch(env: dict[str, str]) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "portal.dev_server"]
    return subprocess.Popen(
        command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def read_until(process: subprocess.Popen[str], words: str) -> str:
    """Return the output up to and including the line with these words."""
    assert process.stdout
    output = ""
    for line in process.stdout:
        output += line
        if words in line:
            return output
    raise AssertionError(f"{words!r} was never printed:\n{output}")


def listens(port: str) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", int(port))) == 0


def test_one_command_starts_all_processes_and_ctrl_c_stops_them(tmp_path: Path) -> None:
    env = environment(tmp_path / "instance")
    first = launch(env)
    output = read_until(first, "Ctrl-C stops everything")
    assert "owner@brightleaf.example" in output
    assert "try-signet-today" in output
    assert f"http://localhost:{env['PORT']}\n" in output, "Microsoft registers no address with 127.0.0.1"
    page = urllib.request.urlopen(f"http://localhost:{env['PORT']}/log-in", timeout=TIMEOUT_S).read().decode()
    assert "Log in" in page
    first.send_signal(signal.SIGINT)
    rest, _ = first.communicate(timeout=TIMEOUT_S)
    assert first.returncode == 0, rest
    ports = [value for name, value in env.items() if re.fullmatch(r"PORT|SIGNET_REHEARSAL_\w+_PORT", name)]
    assert not [port for port in ports if listens(port)], "all its processes have ended"

    keys = (tmp_path / "instance" / "keys").read_text()
    second = launch(env)
    output = read_until(second, "Ctrl-C stops everything")
    assert "First start" not in output
    assert (tmp_path / "instance" / "keys").read_text() == keys, "a second start keeps the keys"
    second.send_signal(signal.SIGTERM)
    assert second.wait(TIMEOUT_S) == 0


@pytest.mark.parametrize("name", ["PORT", "SIGNET_REHEARSAL_TLS_PORT"])
def test_a_port_in_use_is_named_in_the_error(tmp_path: Path, name: str) -> None:
    env = environment(tmp_path / "instance")
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", int(env[name])))
        holder.listen()
        process = launch(env)
        output, _ = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 1
    assert f"port {env[name]} is taken by another program" in output
    assert f"{name}=" in output
    assert "Traceback" not in output


def test_a_process_that_ends_is_named_and_the_others_are_stopped(tmp_path: Path) -> None:
    env = environment(tmp_path / "instance")
    process = launch(env)
    read_until(process, "Ctrl-C stops everything")
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    worker = next(pid for pid in children if "worker" in Path(f"/proc/{pid}/cmdline").read_text())
    os.kill(int(worker), signal.SIGKILL)
    output, _ = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 1
    assert "The worker stopped by itself" in output
    time.sleep(0.1)
    assert not listens(env["PORT"])


@pytest.mark.parametrize("cpu", ["", str(max(os.sched_getaffinity(0)))])
def test_portal_and_worker_run_on_the_cpu_that_the_operator_chose(
    cpu: str, tmp_path: Path, seeded: Path
) -> None:
    with RunningPortal(tmp_path / "instance", SIGNET_CPU=cpu).running_with(seeded) as portal:
        worker = os.sched_getaffinity(portal.processes["worker"].pid)
        (served,) = children_of(portal.processes["web"].pid)
        web = os.sched_getaffinity(served)
    assert web == worker == ({int(cpu)} if cpu else os.sched_getaffinity(0))


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
