"""A Redis server on a Unix socket of its own, which keeps nothing, and its losses."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from .disasters import Disaster

if TYPE_CHECKING:
    from .storm import StormRun

_TIMEOUT_S = 180
_AWAY_S = 1.0


class RedisServer:
    """A server that announces jobs; killed, it has lost them all."""

    def __init__(self, folder: Path) -> None:
        self._socket = folder / "redis.sock"
        self.url = f"unix://{self._socket}"
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @staticmethod
    def binary() -> str | None:
        """Return the path of the installed server, or None."""
        return shutil.which("redis-server") or shutil.which("valkey-server")

    def start(self) -> None:
        """Start the server, which is empty, and wait until it answers."""
        options = ["--port", "0", "--unixsocket", str(self._socket), "--save", "", "--appendonly", "no"]
        command = [self.binary() or "redis-server", *options]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=self._socket.parent)
        end = time.monotonic() + _TIMEOUT_S
        while not self._answers():
            if time.monotonic() > end or self._process.poll() is not None:
                raise RuntimeError("redis-server does not start")
            time.sleep(0.02)

    def _answers(self) -> bool:
        with suppress(OSError), socket.socket(socket.AF_UNIX) as client:
            client.settimeout(_TIMEOUT_S)
            client.connect(str(self._socket))
            client.sendall(b"PING\r\n")
            return client.recv(100).startswith(b"+PONG")
        return False

    def kill(self) -> None:
        """Send SIGKILL and wait for the exit."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(_TIMEOUT_S)
            self._process = None


def redis_losses(server: RedisServer, count: int) -> list[Disaster]:
    """Kill Redis at equal shares of the messages, and start it again after a second, with none of its jobs."""

    def act(_run: StormRun) -> bool:
        server.kill()
        time.sleep(_AWAY_S)
        server.start()
        return True

    return [Disaster("Redis killed", number / (count + 1), act) for number in range(1, count + 1)]
