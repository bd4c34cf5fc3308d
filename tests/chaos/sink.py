"""Mail servers that fail and recover on command, one for each account. Their log has the format of the storm's.

    python -m tests.chaos.sink LOG COUNT            print a port for each server

A line ``2 down`` on standard input sets the fault of the third server and is answered when it is in effect. *good*
accepts every message except those for recipients named ``gone``; *refused* refuses every login; *down* does not
listen; *busy* answers MAIL with 451. Sessions that began before the last change end at their next command. The process
exits at the end of standard input.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from tests.storm.sink import MAX_MESSAGE_BYTES, Log, Server, Session

FAULTS = ("refused", "down", "busy")


class SwitchableServer(Server):
    """A server whose behaviour changes on command. Its port stays reserved while the server is down."""

    def __init__(self, log: Log) -> None:
        super().__init__("good", log, lambda: True)
        self.changes = 0
        self._reservation = _bind(0)
        self.port: int = self._reservation.getsockname()[1]
        self._listener: asyncio.Server | None = None

    async def set_behaviour(self, behaviour: str) -> None:
        self.behaviour = behaviour
        self.changes += 1
        if self._listener is not None and behaviour == "down":
            self._listener.close()
            self._listener = None
        elif self._listener is None and behaviour != "down":
            self._listener = await asyncio.start_server(
                self.serve, sock=_bind(self.port), limit=MAX_MESSAGE_BYTES, backlog=256
            )

    def session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> Session:
        return SwitchableSession(self, reader, writer, number)

    def reply_to_recipient(self, recipient: str) -> bytes:
        if recipient.startswith("gone"):
            self.log.write("refused", recipient=recipient)
            return b"550 5.1.1 No such user here\r\n"
        return b"250 2.1.5 Ok\r\n"


@dataclass
class SwitchableSession(Session):
    """A session that ends when the behaviour of its server has changed."""

    def __post_init__(self) -> None:
        self.changes_at_start = self._switchable.changes

    @property
    def _switchable(self) -> SwitchableServer:
        assert isinstance(self.server, SwitchableServer)
        return self.server

    async def answer(self, verb: bytes, rest: str) -> None:
        if self.changes_at_start != self._switchable.changes:
            self.writer.close()
        elif verb == b"AUTH" and self.server.behaviour == "refused":
            self.writer.write(b"535 5.7.8 Username and password not accepted\r\n")
        elif verb == b"MAIL" and self.server.behaviour == "busy":
            self.writer.write(b"451 4.3.2 System is not taking mail at the moment\r\n")
        else:
            await super().answer(verb, rest)


def _bind(port: int) -> socket.socket:
    """Return a socket bound to a loopback port that the sockets of this process can share."""
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    bound.bind(("127.0.0.1", port))
    return bound


async def serve(file: TextIO, count: int) -> None:
    servers = [SwitchableServer(Log(file)) for _ in range(count)]
    for server in servers:
        await server.set_behaviour("good")
    print(json.dumps([server.port for server in servers]), flush=True)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        number, behaviour = line.split()
        await servers[int(number)].set_behaviour(behaviour)
        print("changed", flush=True)


if __name__ == "__main__":
    with Path(sys.argv[1]).open("a", encoding="utf-8") as log:
        asyncio.run(serve(log, int(sys.argv[2])))
