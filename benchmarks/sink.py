"""Two programs the measurements need beside them: a server that takes all mail, and a slow road to it.

    python benchmarks/sink.py sink              print the port of a server that accepts and forgets everything
    python benchmarks/sink.py road PORT SECONDS print the port of a proxy that delays each direction so long

Each listens on loopback alone and ends with its standard input. For each line there, the server prints when it
took each message, as a list of seconds, and begins a new list.
"""

from __future__ import annotations

import asyncio
import json
import queue
import socket
import sys
import threading
import time

FEATURES = (b"PIPELINING", b"SIZE 10485760", b"8BITMIME", b"ENHANCEDSTATUSCODES", b"SMTPUTF8", b"AUTH PLAIN")
OFFER = (
    b"250-sink\r\n" + b"".join(b"250-%s\r\n" % one for one in FEATURES[:-1]) + b"250 %s\r\n" % FEATURES[-1]
)
REPLIES = {
    b"EHLO": OFFER,
    b"HELO": b"250 sink\r\n",
    b"AUTH": b"235 2.7.0 Welcome\r\n",
    b"MAIL": b"250 2.1.0 Ok\r\n",
    b"RCPT": b"250 2.1.5 Ok\r\n",
    b"RSET": b"250 2.0.0 Ok\r\n",
    b"NOOP": b"250 2.0.0 Ok\r\n",
    b"DATA": b"354 End data with <CR><LF>.<CR><LF>\r\n",
    b"QUIT": b"221 2.0.0 Bye\r\n",
}


class Sink(asyncio.Protocol):
    """Answers every complete command at once, all that came together with one write."""

    taken = 0
    moments: list[float] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport, self.heard, self.in_message = transport, bytearray(), False
        transport.write(b"220 sink ESMTP\r\n")

    def data_received(self, data: bytes) -> None:
        self.heard += data
        said = b""
        while (end := self.heard.find(b"\r\n.\r\n" if self.in_message else b"\r\n")) >= 0:
            if self.in_message:
                del self.heard[: end + 5]
                Sink.taken += 1
                Sink.moments.append(time.time())
                self.in_message = False
                said += b"250 2.0.0 Ok: queued as 4XyZ%08X\r\n" % Sink.taken
                continue
            verb = bytes(self.heard[:4]).upper()
            del self.heard[: end + 2]
            self.in_message = verb == b"DATA"
            said += REPLIES.get(verb, b"502 5.5.1 What?\r\n")
            if verb == b"QUIT":
                self.transport.write(said)
                self.transport.close()
                return
        if said:
            self.transport.write(said)


async def serve() -> None:
    server = await asyncio.get_running_loop().create_server(Sink, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, answer)


def answer() -> None:
    for _ in sys.stdin:
        moments, Sink.moments = Sink.moments, []
        print(json.dumps(moments), flush=True)


def carry(source: socket.socket, target: socket.socket, delay: float) -> None:
    """Hand on each piece ``delay`` seconds after it came, however many are on the road at once."""
    road: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()

    def arrive() -> None:
        data = b"-"
        while data:
            due, data = road.get()
            time.sleep(max(0.0, due - time.monotonic()))
            try:
                target.sendall(data) if data else target.shutdown(socket.SHUT_WR)
            except OSError:
                return

    threading.Thread(target=arrive, daemon=True).start()
    data = b"-"
    while data:
        try:
            data = source.recv(65_536)
        except OSError:
            data = b""
        road.put((time.monotonic() + delay, data))


def connect(client: socket.socket, port: int, delay: float) -> None:
    server = socket.create_connection(("127.0.0.1", port))
    for sock in (client, server):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for pair in ((client, server), (server, client)):
        threading.Thread(target=carry, args=(*pair, delay), daemon=True).start()


def build_road(port: int, delay: float) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)

    def accept() -> None:
        while True:
            connect(listener.accept()[0], port, delay)

    threading.Thread(target=accept, daemon=True).start()
    sys.stdin.read()


if __name__ == "__main__":
    if sys.argv[1] == "sink":
        asyncio.run(serve())
    else:
        build_road(int(sys.argv[2]), float(sys.argv[3]))
