"""Helper processes of the benchmarks: a mail server that accepts every message, and a proxy that delays data.

    python benchmarks/sink.py sink              print the port of a server that accepts and discards every message
    python benchmarks/sink.py road PORT SECONDS print the port of a proxy that delays each direction by SECONDS

Each listens on loopback only and exits at the end of standard input. For each line on standard input, the server prints
the acceptance times of the messages since the line before, as a JSON list of Unix timestamps.
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
EHLO_REPLY = (
    b"250-sink\r\n" + b"".join(b"250-%s\r\n" % one for one in FEATURES[:-1]) + b"250 %s\r\n" % FEATURES[-1]
)
REPLIES = {
    b"EHLO": EHLO_REPLY,
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
    """Answers all complete commands of a segment with one write."""

    accepted = 0
    accepted_at: list[float] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport, self.buffer, self.in_message = transport, bytearray(), False
        transport.write(b"220 sink ESMTP\r\n")

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        replies = b""
        while (end := self.buffer.find(b"\r\n.\r\n" if self.in_message else b"\r\n")) >= 0:
            if self.in_message:
                del self.buffer[: end + 5]
                Sink.accepted += 1
                Sink.accepted_at.append(time.time())
                self.in_message = False
                replies += b"250 2.0.0 Ok: queued as 4XyZ%08X\r\n" % Sink.accepted
                continue
            verb = bytes(self.buffer[:4]).upper()
            del self.buffer[: end + 2]
            self.in_message = verb == b"DATA"
            replies += REPLIES.get(verb, b"502 5.5.1 Command not implemented\r\n")
            if verb == b"QUIT":
                self.transport.write(replies)
                self.transport.close()
                return
        if replies:
            self.transport.write(replies)


async def serve() -> None:
    server = await asyncio.get_running_loop().create_server(Sink, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, print_times)


def print_times() -> None:
    for _ in sys.stdin:
        accepted_at, Sink.accepted_at = Sink.accepted_at, []
        print(json.dumps(accepted_at), flush=True)


def forward(source: socket.socket, target: socket.socket, delay_s: float) -> None:
    """Forward each piece of data ``delay_s`` after its arrival; any number of pieces may be in transit."""
    in_transit: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()

    def send() -> None:
        data = b"-"
        while data:
            due_at, data = in_transit.get()
            time.sleep(max(0.0, due_at - time.monotonic()))
            try:
                target.sendall(data) if data else target.shutdown(socket.SHUT_WR)
            except OSError:
                return

    threading.Thread(target=send, daemon=True).start()
    data = b"-"
    while data:
        try:
            data = source.recv(65_536)
        except OSError:
            data = b""
        in_transit.put((time.monotonic() + delay_s, data))


def connect(client: socket.socket, port: int, delay_s: float) -> None:
    server = socket.create_connection(("127.0.0.1", port))
    for sock in (client, server):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for pair in ((client, server), (server, client)):
        threading.Thread(target=forward, args=(*pair, delay_s), daemon=True).start()


def run_proxy(port: int, delay_s: float) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)

    def accept() -> None:
        while True:
            connect(listener.accept()[0], port, delay_s)

    threading.Thread(target=accept, daemon=True).start()
    sys.stdin.read()


if __name__ == "__main__":
    if sys.argv[1] == "sink":
        asyncio.run(serve())
    else:
        run_proxy(int(sys.argv[2]), float(sys.argv[3]))
