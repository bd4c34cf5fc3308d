"""Mail servers with tempers, one for each account, and one log of everything they were given.

    python -m tests.storm.sink LOG good slow mute ...      prints a port for each temper

They listen on loopback alone, the mute ones mend when a line comes on standard input, and all end with it. The
log has one JSON object a line: what was *taken* (a body whose final dot came, and when the 250 left, if it
did), *refused* (for good), and how a connection *ended*. A client that was killed before it had read all that
was sent to it ends its connection with a reset, any other with an orderly end: so the log knows whether the
250 had been read.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import IO, Any

OFFER = b"250-sink\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-ENHANCEDSTATUSCODES\r\n250-SMTPUTF8\r\n250 AUTH PLAIN\r\n"
ANSWERS = {
    b"EHLO": OFFER,
    b"AUTH": b"235 2.7.0 Welcome\r\n",
    b"MAIL": b"250 2.1.0 Ok\r\n",
    b"RSET": b"250 2.0.0 Ok\r\n",
    b"NOOP": b"250 2.0.0 Ok\r\n",
    b"DATA": b"354 End data with <CR><LF>.<CR><LF>\r\n",
    b"QUIT": b"221 2.0.0 Bye\r\n",
}
KEY = re.compile(rb"^Subject: Storm (\S+)", re.MULTILINE)
MESSAGE_ID = re.compile(rb"^Message-ID:\s*(\S+)", re.MULTILINE | re.IGNORECASE)
SLOW = 0.15  # seconds a slow server thinks before it takes a message
BUSY_EVERY, DROP_EVERY = 6, 8
MOST = 1 << 20  # octets of a message
_connections = itertools.count(1)


class Log:
    """Lines of JSON, each written at once."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def tell(self, event: str, **facts: Any) -> None:
        self._file.write(json.dumps({"event": event, "at": time.time(), **facts}) + "\n")
        self._file.flush()


@dataclass
class Server:
    """One account's mail server and what it remembers."""

    temper: str
    log: Log
    mended: Callable[[], bool]
    asked: int = 0
    bodies: int = 0
    dropped: set[str] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talk = self.talk(reader, writer, next(_connections))
        how = "eof"
        try:
            await talk.hold()
        except ConnectionError:
            how = "reset"
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        self.log.tell("ended", connection=talk.number, worker=talk.worker, how=how)
        writer.close()

    def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> Talk:
        return Talk(self, reader, writer, number)

    @property
    def is_mute(self) -> bool:
        return self.temper == "mute" and not self.mended()

    def answer_recipient(self, recipient: str) -> bytes:
        self.asked += 1
        if self.temper == "refusing" and recipient.startswith("gone"):
            self.log.tell("refused", recipient=recipient)
            return b"550 5.1.1 No such user here\r\n"
        if self.temper == "busy" and self.asked % BUSY_EVERY == 0:
            return b"450 4.2.1 The mailbox is busy, try again later\r\n"
        return b"250 2.1.5 Ok\r\n"

    def drops(self, key: str) -> bool:
        """Whether this message is taken without a word, the connection being over: once for each."""
        self.bodies += 1
        if self.temper != "dropping" or self.bodies % DROP_EVERY or key in self.dropped:
            return False
        self.dropped.add(key)
        return True


@dataclass
class Talk:
    """One conversation, command by command in the order in which they came."""

    server: Server
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    number: int
    worker: str = ""
    recipient: str = ""

    async def hold(self) -> None:
        while self.server.is_mute:
            await self._listen_in_vain()
        self.writer.write(b"220 sink ESMTP\r\n")
        while not self.writer.is_closing():
            line = (await self.reader.readuntil(b"\r\n")).rstrip()
            verb, _, rest = line.partition(b" ")
            await self.answer(verb.upper(), rest.decode("utf-8", "replace"))

    async def _listen_in_vain(self) -> None:
        """Wait a little; a client that has gone meanwhile ends the conversation."""
        await asyncio.sleep(0.1)
        if self.reader.at_eof():
            raise asyncio.IncompleteReadError(b"", None)

    async def answer(self, verb: bytes, rest: str) -> None:
        said = ANSWERS.get(verb, b"502 5.5.1 What?\r\n")
        if verb == b"EHLO":
            self.worker = rest
        elif verb == b"RCPT":
            recipient = rest.partition("<")[2].partition(">")[0]
            said = self.server.answer_recipient(recipient)
            self.recipient = recipient if said.startswith(b"2") else ""
        elif verb == b"DATA" and not self.recipient:
            said = b"503 5.5.1 Nobody is to receive it\r\n"
        self.writer.write(said)
        if said.startswith(b"354"):
            await self.take()
        elif verb == b"QUIT":
            self.writer.close()

    async def take(self) -> None:
        body = await self.reader.readuntil(b"\r\n.\r\n")
        taken, key = time.time(), found(KEY, body)
        if self.server.temper == "slow":
            await asyncio.sleep(SLOW)
        replied = None
        if self.server.drops(key):
            self.writer.close()
        elif not (self.reader.at_eof() or self.writer.is_closing()):
            replied = time.time()
            self.writer.write(b"250 2.0.0 Ok: queued as %06d\r\n" % self.server.bodies)
        self.server.log.tell(
            "taken",
            key=key,
            message_id=found(MESSAGE_ID, body),
            recipient=self.recipient,
            connection=self.number,
            worker=self.worker,
            taken=taken,
            replied=replied,
        )
        self.recipient = ""


def found(what: re.Pattern[bytes], body: bytes) -> str:
    match = what.search(body)
    return match[1].decode() if match else ""


async def serve(path: str, tempers: list[str]) -> None:
    mended = threading.Event()
    with open(path, "a", encoding="utf-8") as file:  # noqa: PTH123 - opened before the loop runs
        log = Log(file)
        ports = []
        for temper in tempers:
            server = Server(temper, log, mended.is_set)
            listening = await asyncio.start_server(server.serve, "127.0.0.1", 0, limit=MOST, backlog=256)
            ports.append(listening.sockets[0].getsockname()[1])
        print(json.dumps(ports), flush=True)
        await asyncio.get_running_loop().run_in_executor(None, wait_to_mend, mended)


def wait_to_mend(mended: threading.Event) -> None:
    """Each line is the word that mends; the end of standard input is the end."""
    for _ in sys.stdin:
        mended.set()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], sys.argv[2:]))
