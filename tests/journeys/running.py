"""A whole portal in its own processes, as an operator runs it: web server, worker, rehearsal server."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class RunningPortal:
    """Start, kill and restart the parts; read what arrived at the rehearsal server."""

    def __init__(self, instance: Path, **env: str) -> None:
        self.instance = instance
        self.port = free_port()
        self.base = f"http://127.0.0.1:{self.port}"
        self.ports = {name: free_port() for name in ("STARTTLS", "TLS", "PLAIN", "EXPIRED")}
        self.env = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("SIGNET_", "MAIL_"))},
            "SIGNET_INSTANCE": str(instance),
            "SIGNET_BASE_URL": self.base,
            "SIGNET_REHEARSAL": "1",
            "SIGNET_SWEEP_SECONDS": "0.5",
            "SIGNET_SIGN_UP_SECONDS": "0",  # a browser that is driven types faster than people
            "MAIL_SERVER": "localhost",
            "MAIL_PORT": str(self.ports["STARTTLS"]),
            "MAIL_USE_TLS": "1",
            "MAIL_USERNAME": "platform@signet.example",
            "MAIL_PASSWORD": "rehearsal",
            "MAIL_DEFAULT_SENDER": "affiliates@signet.example",
            **{f"SIGNET_REHEARSAL_{name}_PORT": str(port) for name, port in self.ports.items()},
            **env,
        }
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.log = (instance.parent / "portal.log").open("ab")

    def set_up(self) -> None:
        """Set up and seed as the operator's commands do, for others to begin with a copy."""
        with self.log:
            self._run([sys.executable, "-m", "portal.bootstrap"])
            self._run([str(BIN / "flask"), "--app", "wsgi", "seed-demo"])

    @contextmanager
    def beginning_with(self, seeded: Path) -> Iterator[Self]:
        """Run all three with a copy of a seeded instance, and stop them at the end."""
        try:
            self._start(seeded)
            yield self
        finally:
            self.stop()

    def _start(self, seeded: Path) -> None:
        """Return when the portal answers."""
        shutil.copytree(seeded, self.instance)
        for part in ("rehearsal", "worker", "web"):
            self.start_part(part)
        self.wait_for(lambda: urllib.request.urlopen(f"{self.base}/readyz", timeout=1).status == 200)
        for port in self.ports.values():
            self.wait_for(lambda port=port: socket.create_connection(("127.0.0.1", port), 1).close() is None)

    def start_part(self, part: str) -> None:
        flask = [str(BIN / "flask"), "--app", "wsgi"]
        commands = {
            "rehearsal": [*flask, "rehearsal"],
            "worker": [*flask, "worker"],
            "web": [sys.executable, "-m", "gunicorn", "wsgi:app", "-b", f"127.0.0.1:{self.port}"],
        }
        self.processes[part] = subprocess.Popen(
            commands[part], cwd=ROOT, env=self.env, stdout=self.log, stderr=self.log, start_new_session=True
        )

    def kill(self, part: str, sig: signal.Signals = signal.SIGKILL) -> None:
        """End one part at once, whatever it is doing."""
        process = self.processes.pop(part)
        process.send_signal(sig)
        process.wait(20)

    def stop(self) -> None:
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(5)
        self.log.close()

    def arrived(self, recipient: str) -> list[str]:
        """The raw messages that arrived for a recipient, oldest first."""
        folder = self.instance / "rehearsal" / "inbox"
        raws = [path.read_text("utf-8", "replace") for path in sorted(folder.glob("*.eml"))]
        return [raw for raw in raws if f"<{recipient}>" in raw or f"To: {recipient}" in raw]

    def wait_for(self, truth: object, within: float = 20.0) -> None:
        """Wait until something is true, which may raise OSError until then."""
        end = time.monotonic() + within
        while time.monotonic() < end:
            try:
                if truth():  # type: ignore[operator]
                    return
            except OSError:
                pass
            time.sleep(0.05)
        raise AssertionError(f"did not come true within {within} s; see {self.log.name}")

    def _run(self, command: list[str]) -> None:
        subprocess.run(
            command, cwd=ROOT, env=self.env, check=True, stdout=self.log, stderr=self.log, timeout=60
        )
