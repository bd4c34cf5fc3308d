"""Good and faulty mail servers, one for each account, and one log of everything that they received.

    python -m tests.storm.sink LOG good slow silent late:240 ...      print a port for each behaviour

They listen on loopback only. A late server sends its 250 so many seconds after the final dot. The silent servers
recover when a line arrives on standard input, and the process exits at its end. The log has one JSON object on each
line: a message that was *received* (up to its final dot, with the time of the 250 if one was sent), a recipient that
was *refused* permanently, and a connection that was *closed*. The kernel closes the connection of a killed client with
a reset if the client had not read everything that was sent to it, and normally otherwise: the log therefore shows
whether the 250 had been read.
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

EHLO_REPLY = b"250-sink\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-ENHANCEDSTATUSCODES\r\n250-SMTPUTF8\r\n250 AUTH PLAIN\r\n"
REPLIES = {
    b"EHLO": EHLO_REPLY,
    b"AUTH": b"235 2.7.0 Welcome\r\n",
    b"MAIL": b"250 2.1.0 Ok\r\n",
    b"RSET": b"250 2.0.0 Ok\r\n",
    b"NOOP": b"250 2.0.0 Ok\r\n",
    b"DATA": b"354 End data with <CR><LF>.<CR><LF>\r\n",
    b"QUIT": b"221 2.0.0 Bye\r\n",
}
KEY = re.compile(rb"^Subject: Storm (\S+)", re.MULTILINE)
MESSAGE_ID = re.compile(rb"^Message-ID:\s*(\S+)", re.MULTILINE | re.IGNORECASE)
SLOW_S = 0.15  # between the final dot and the 250 of a slow server
BUSY_EVERY, CLOSE_EVERY = 6, 8  # recipients, messages
MAX_MESSAGE_BYTES = 1 << 20
_connections = itertools.count(1)


class Log:
    """Appends JSON lines and flushes each of them."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def write(self, event: str, **fields: Any) -> None:
        self._file.write(json.dumps({"event": event, "at": time.time(), **fields}) + "\n")
        self._file.flush()


@dataclass
class Server:
    """The mail server of one account and its counters."""

    behaviour: str
    log: Log
    has_recovered: Callable[[], bool]
    recipients: int = 0
    messages: int = 0
    unanswered: set[str] = field(default_factory=set)  # keys of messages that got no 250

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        session = self.session(reader, writer, next(_connections))
        how = "eof"
        try:
            await session.run()
        except ConnectionError:
            how = "reset"
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        self.log.write("closed", connection=session.number, worker=session.worker, how=how)
        writer.close()

    def session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> Session:
        return Session(self, reader, writer, number)

    @property
    def is_silent(self) -> bool:
        return self.behaviour == "silent" and not self.has_recovered()

    @property
    def delay_s(self) -> float:
        """The time between a final dot and its 250."""
        name, _, seconds = self.behaviour.partition(":")
        return SLOW_S if name == "slow" else float(seconds or 0)

    def reply_to_recipient(self, recipient: str) -> bytes:
        self.recipients += 1
        if self.behaviour == "refusing" and recipient.startswith("gone"):
            self.log.write("refused", recipient=recipient)
            return b"550 5.1.1 No such user here\r\n"
        if self.behaviour == "busy" and self.recipients % BUSY_EVERY == 0:
            return b"450 4.2.1 The mailbox is busy, try again later\r\n"
        return b"250 2.1.5 Ok\r\n"

    def closes_after(self, key: str) -> bool:
        """Return whether to close the connection without a reply to this message: once for each message."""
        self.messages += 1
        if self.behaviour != "closing" or self.messages % CLOSE_EVERY or key in self.unanswered:
            return False
        self.unanswered.add(key)
        return True


@dataclass
class Session:
    """One SMTP session; commands are answered in the order of their arrival."""

    server: Server
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    number: int
    worker: str = ""
    recipient: str = ""

    async def run(self) -> None:
        while self.server.is_silent:
            await self._wait_silently()
        self.writer.write(b"220 sink ESMTP\r\n")
        while not self.writer.is_closing():
            line = (await self.reader.readuntil(b"\r\n")).rstrip()
            verb, _, rest = line.partition(b" ")
            await self.answer(verb.upper(), rest.decode("utf-8", "replace"))

    async def _wait_silently(self) -> None:
        """Wait for 0.1 s; end the session when the client has closed the connection."""
        await asyncio.sleep(0.1)
        if self.reader.at_eof():
            raise asyncio.IncompleteReadError(b"", None)

    async def answer(self, verb: bytes, rest: str) -> None:
        reply = REPLIES.get(verb, b"502 5.5.1 Command not implemented\r\n")
        if verb == b"EHLO":
            self.worker = rest
        elif verb == b"RCPT":
            recipient = rest.partition("<")[2].partition(">")[0]
            reply = self.server.reply_to_recipient(recipient)
            self.recipient = recipient if reply.startswith(b"2") else ""
        elif verb == b"DATA" and not self.recipient:
            reply = b"503 5.5.1 No valid recipients\r\n"
        self.writer.write(reply)
        if reply.startswith(b"354"):
            await self.receive_message()
        elif verb == b"QUIT":
            self.writer.close()

    async def receive_message(self) -> None:
        message = await self.reader.readuntil(b"\r\n.\r\n")
        received_at, key = time.time(), search(KEY, message)
        await asyncio.sleep(self.server.delay_s)
        replied_at = None
        if self.server.closes_after(key):
            self.writer.close()
        elif not (self.reader.at_eof() or self.writer.is_closing()):
            replied_at = time.time()
            self.writer.write(b"250 2.0.0 Ok: queued as %06d\r\n" % self.server.messages)
        self.server.log.write(
            "received",
            key=key,
            message_id=search(MESSAGE_ID, message),
            recipient=self.recipient,
            connection=self.number,
            worker=self.worker,
            received_at=received_at,
            replied_at=replied_at,
        )
        self.recipient = ""


def search(pattern: re.Pattern[bytes], message: bytes) -> str:
    match = pattern.search(message)
    return match[1].decode() if match else ""


async def serve(path: str, behaviours: list[str]) -> None:
    recovered = threading.Event()
    with open(path, "a", encoding="utf-8") as file:  # noqa: PTH123 - opened before the loop runs
        log = Log(file)
        ports = []
        for behaviour in behaviours:
            server = Server(behaviour, log, recovered.is_set)
            listener = await asyncio.start_server(
                server.serve, "127.0.0.1", 0, limit=MAX_MESSAGE_BYTES, backlog=256
            )
            ports.append(listener.sockets[0].getsockname()[1])
        print(json.dumps(ports), flush=True)
        await asyncio.get_running_loop().run_in_executor(None, read_commands, recovered)


def read_commands(recovered: threading.Event) -> None:
    """Set the event for every line; return at the end of standard input."""
    for _ in sys.stdin:
        recovered.set()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], sys.argv[2:]))
