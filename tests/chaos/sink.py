"""Mail servers that break and mend on command, one for each account, in the log of the storm's.

    python -m tests.chaos.sink LOG COUNT            prints a port for each

A line ``2 down`` on standard input makes the third one play that fault, and is answered when it does. *good* takes
everything but what goes to recipients named ``gone``; *refused* lets nobody log in; *down* listens no more; *busy*
puts off every message at MAIL. Conversations that began before the last change end at their next command. All end
with standard input.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from tests.storm.sink import MOST, Log, Server, Talk

FAULTS = ("refused", "down", "busy")


class Flapping(Server):
    """A server whose temper changes. Its port stays its own while it does not listen."""

    def __init__(self, log: Log) -> None:
        super().__init__("good", log, lambda: True)
        self.changes = 0
        self._own = _bound(0)
        self.port: int = self._own.getsockname()[1]
        self._listening: asyncio.Server | None = None

    async def play(self, temper: str) -> None:
        self.temper = temper
        self.changes += 1
        if self._listening is not None and temper == "down":
            self._listening.close()
            self._listening = None
        elif self._listening is None and temper != "down":
            self._listening = await asyncio.start_server(
                self.serve, sock=_bound(self.port), limit=MOST, backlog=256
            )

    def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> Talk:
        return FlappingTalk(self, reader, writer, number)

    def answer_recipient(self, recipient: str) -> bytes:
        if recipient.startswith("gone"):
            self.log.tell("refused", recipient=recipient)
            return b"550 5.1.1 No such user here\r\n"
        return b"250 2.1.5 Ok\r\n"


@dataclass
class FlappingTalk(Talk):
    """A conversation with such a server."""

    def __post_init__(self) -> None:
        self.began_with = self._flapping.changes

    @property
    def _flapping(self) -> Flapping:
        assert isinstance(self.server, Flapping)
        return self.server

    async def answer(self, verb: bytes, rest: str) -> None:
        if self.began_with != self._flapping.changes:
            self.writer.close()
        elif verb == b"AUTH" and self.server.temper == "refused":
            self.writer.write(b"535 5.7.8 Username and password not accepted\r\n")
        elif verb == b"MAIL" and self.server.temper == "busy":
            self.writer.write(b"451 4.3.2 System is not taking mail at the moment\r\n")
        else:
            await super().answer(verb, rest)


def _bound(port: int) -> socket.socket:
    """A socket at a port of the loopback that several of ours may share."""
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    made.bind(("127.0.0.1", port))
    return made


async def serve(file: TextIO, count: int) -> None:
    servers = [Flapping(Log(file)) for _ in range(count)]
    for server in servers:
        await server.play("good")
    print(json.dumps([server.port for server in servers]), flush=True)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        number, temper = line.split()
        await servers[int(number)].play(temper)
        print("played", flush=True)


if __name__ == "__main__":
    with Path(sys.argv[1]).open("a", encoding="utf-8") as log:
        asyncio.run(serve(log, int(sys.argv[2])))
