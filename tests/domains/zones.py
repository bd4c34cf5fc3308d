"""A name server for sending domains: UDP and TCP, aliases, names that do not exist, and records to be changed."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Mapping
from typing import Self

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

from tests.smtp.nameserver import BROKEN, GARBAGE, MUTE, NameServer, Zone

SLOW, LYING, LATE = "slow", "lying", 6.0
__all__ = ["BROKEN", "GARBAGE", "LYING", "MUTE", "SLOW", "Zones", "text"]


def text(value: str) -> str:
    """A TXT record as a zone file has it, in pieces of at most 255 letters."""
    pieces = [value[at : at + 255] for at in range(0, len(value), 255)] or [""]
    return " ".join('"' + "".join(_octet(c) for c in piece) + '"' for piece in pieces)


def _octet(letter: str) -> str:
    plain = " " <= letter <= "~" and letter not in '"\\'
    return letter if plain else f"\\{ord(letter):03d}"


class Zones(NameServer):
    """Names it does not know do not exist; a fault may be meant for one type: ``"name TXT"``."""

    def __init__(self, zone: Zone, faults: Mapping[str, str] | None = None) -> None:
        super().__init__(zone, {})
        self.troubles = {name.lower(): fault for name, fault in (faults or {}).items()}

    def __enter__(self) -> Self:
        while True:
            super().__enter__()
            try:
                self._listener = socket.create_server(("127.0.0.1", self.at.port))
                break
            except OSError:  # somebody else has this port for streams
                super().__exit__()
        threading.Thread(target=self._serve_streams, daemon=True).start()
        return self

    def __exit__(self, *_exc: object) -> None:
        super().__exit__()
        self._listener.close()

    def put(self, name: str, kind: str, *records: str) -> None:
        """Publish records in place of what was there."""
        self.zone[(name.lower(), kind)] = [text(one) if kind == "TXT" else one for one in records]

    def _serve_streams(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
                with connection:
                    (size,) = struct.unpack("!H", connection.recv(2))
                    reply = self._reply(connection.recv(size), 65535)
                    if reply:
                        connection.sendall(struct.pack("!H", len(reply)) + reply)
            except (OSError, struct.error):
                if self._listener.fileno() == -1:
                    return

    def _answer(self, data: bytes) -> bytes | None:
        return self._reply(data, 1232)

    def _reply(self, data: bytes, most: int) -> bytes | None:
        query = dns.message.from_wire(data)
        asked = query.question[0]
        name, kind = _plain(asked.name), asked.rdtype.name
        self.asked.append((name, kind))
        fault = self.troubles.get(f"{name} {kind}".lower()) or self.troubles.get(name, "")
        if fault == MUTE:
            return None
        if fault == GARBAGE:
            return data[:2] + b"\xff" * 40
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.RA
        if fault == BROKEN:
            answer.set_rcode(dns.rcode.SERVFAIL)
        else:
            self._fill(answer, asked.name, kind)
        if fault == SLOW:
            time.sleep(LATE)
        if fault == LYING:  # an answer to another question
            answer.question = [dns.rrset.RRset(dns.name.from_text("liar.example."), 1, asked.rdtype)]
        try:
            return answer.to_wire(max_size=most)
        except dns.exception.TooBig:
            answer.answer.clear()
            answer.flags |= dns.flags.TC
            return answer.to_wire()

    def _fill(self, answer: dns.message.Message, name: dns.name.Name, kind: str) -> None:
        for _ in range(20):  # more than resolvers follow
            plain = _plain(name)
            if records := self.zone.get((plain, kind)):
                with contextlib.suppress(dns.exception.DNSException):
                    answer.answer.append(dns.rrset.from_text_list(name, 60, "IN", kind, records))
                return
            alias = self.zone.get((plain, "CNAME"))
            if not alias:
                below = any(one == plain or one.endswith(f".{plain}") for one, _ in self.zone)
                answer.set_rcode(dns.rcode.NOERROR if below else dns.rcode.NXDOMAIN)
                return
            answer.answer.append(dns.rrset.from_text_list(name, 60, "IN", "CNAME", alias))
            name = dns.name.from_text(alias[0])


def _plain(name: dns.name.Name) -> str:
    return ".".join(label.decode("latin-1") for label in name.labels if label).lower()
