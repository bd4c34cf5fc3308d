"""Runs a portal as an operator does: web server, worker and rehearsal server, each in its own process."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from tests.journeys.programs import Program

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
TIMEOUT_S = 600  # for every condition; reached only if a test fails


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class RunningPortal:
    """Starts, kills and restarts the processes; reads what arrived at the rehearsal server."""

    def __init__(self, instance: Path, **env: str) -> None:
        self.instance = instance
        self.port = free_port()
        self.base = f"http://localhost:{self.port}"
        self.ports = {
            name: free_port() for name in ("STARTTLS", "TLS", "PLAIN", "EXPIRED", "IMAP", "CONSENT")
        }
        self.env = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("SIGNET_", "MAIL_"))},
            "SIGNET_INSTANCE": str(instance),
            "SIGNET_BASE_URL": self.base,
            "SIGNET_REHEARSAL": "1",
            "SIGNET_REGISTRATION": "open",
            "SIGNET_SWEEP_SECONDS": "0.5",
            "SIGNET_SIGN_UP_SECONDS": "0",  # an automated browser is faster than the bot check allows
            "MAIL_SERVER": "localhost",
            "MAIL_PORT": str(self.ports["STARTTLS"]),
            "MAIL_USE_TLS": "1",
            "MAIL_USERNAME": "platform@signet.example",
            "MAIL_PASSWORD": "rehearsal",
            "MAIL_DEFAULT_SENDER": "affiliates@signet.example",
            **{f"SIGNET_REHEARSAL_{name}_PORT": str(port) for name, port in self.ports.items()},
            **env,
        }
        self.parts: tuple[str, ...] = ("rehearsal", "worker", "web")
        self.processes: dict[str, Program] = {}
        self.log = (instance.parent / "portal.log").open("ab")

    def set_up(self) -> None:
        """Create an instance with the demo account by the operator's commands."""
        with self.log:
            self._run([sys.executable, "-m", "portal.bootstrap"])
            self._run([str(BIN / "flask"), "--app", "wsgi", "seed-demo"])

    @contextmanager
    def running_with(self, seeded: Path) -> Iterator[Self]:
        """Run all three processes with a copy of a seeded instance; stop them at the end."""
        try:
            self._start(seeded)
            yield self
        finally:
            self.stop()

    def _start(self, seeded: Path) -> None:
        """Start all processes and wait until each answers."""
        shutil.copytree(seeded, self.instance)
        for part in self.parts:
            self.start_part(part)
        self.wait_for(lambda: urllib.request.urlopen(f"{self.base}/readyz", timeout=1).status == 200)
        for port in self.ports.values() if "rehearsal" in self.parts else ():
            self.wait_for(lambda port=port: socket.create_connection(("127.0.0.1", port), 1).close() is None)

    def start_part(self, part: str) -> None:
        flask = [str(BIN / "flask"), "--app", "wsgi"]
        commands = {
            "rehearsal": [*flask, "rehearsal"],
            "worker": [*flask, "worker"],
            "web": ["-m", "gunicorn", "wsgi:app", "-b", f"127.0.0.1:{self.port}"],
        }
        self.processes[part] = Program(commands[part], ROOT, self.env, Path(self.log.name))

    def kill(self, part: str, sig: signal.Signals = signal.SIGKILL) -> None:
        """Kill one process."""
        process = self.processes.pop(part)
        process.send_signal(sig)
        process.wait(TIMEOUT_S)

    def stop(self) -> None:
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            try:
                process.wait(TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(TIMEOUT_S)
        self.log.close()

    def arrived(self, recipient: str) -> list[str]:
        """Return the raw messages that arrived for a recipient, oldest first."""
        folder = self.instance / "rehearsal" / "inbox"
        raws = [path.read_text("utf-8", "replace") for path in sorted(folder.glob("*.eml"))]
        return [raw for raw in raws if f"<{recipient}>" in raw or f"To: {recipient}" in raw]

    def wait_for(self, condition: Callable[[], object]) -> None:
        """Wait until a condition is true. It may raise OSError until then."""
        end = time.monotonic() + TIMEOUT_S
        while time.monotonic() < end:
            try:
                if condition():
                    return
            except OSError:
                pass
            time.sleep(0.05)
        raise AssertionError(f"the condition is still false after {TIMEOUT_S} s; see {self.log.name}")

    def _run(self, command: list[str]) -> None:
        subprocess.run(
            command, cwd=ROOT, env=self.env, check=True, stdout=self.log, stderr=self.log, timeout=600
        )
