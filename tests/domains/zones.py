"""A test name server for sending domains: UDP and TCP, aliases, NXDOMAIN, changeable records and faults."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
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

WRONG_QUESTION = "wrong question"
__all__ = ["BROKEN", "GARBAGE", "MUTE", "WRONG_QUESTION", "Zones", "text"]


def text(value: str) -> str:
    """Return a TXT record in the notation of a zone file, in strings of at most 255 octets."""
    pieces = [value[at : at + 255] for at in range(0, len(value), 255)] or [""]
    return " ".join('"' + "".join(_octet(c) for c in piece) + '"' for piece in pieces)


def _octet(letter: str) -> str:
    printable = " " <= letter <= "~" and letter not in '"\\'
    return letter if printable else f"\\{ord(letter):03d}"


class Zones(NameServer):
    """Context manager. An unknown name gets NXDOMAIN. A fault applies to a name, or to one type: ``"name TXT"``."""

    def __init__(self, zone: Zone, faults: Mapping[str, str] | None = None) -> None:
        super().__init__(zone)
        self.faults = {name.lower(): fault for name, fault in (faults or {}).items()}

    def __enter__(self) -> Self:
        while True:
            super().__enter__()
            try:
                self._listener = socket.create_server(("127.0.0.1", self.at.port))
                break
            except OSError:  # the port is in use for TCP
                super().__exit__()
        threading.Thread(target=self._serve_tcp, daemon=True).start()
        return self

    def __exit__(self, *_exc: object) -> None:
        super().__exit__()
        self._listener.close()

    def put(self, name: str, kind: str, *records: str) -> None:
        """Replace the records of a name and type."""
        self.zone[(name.lower(), kind)] = [text(one) if kind == "TXT" else one for one in records]

    def _serve_tcp(self) -> None:
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

    def _reply(self, data: bytes, max_bytes: int) -> bytes | None:
        query = dns.message.from_wire(data)
        question = query.question[0]
        name, kind = _lower_name(question.name), question.rdtype.name
        self.queries.append((name, kind))
        fault = self.faults.get(f"{name} {kind}".lower()) or self.faults.get(name, "")
        if fault == MUTE:
            return None
        if fault == GARBAGE:
            return data[:2] + b"\xff" * 40
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.RA
        if fault == BROKEN:
            answer.set_rcode(dns.rcode.SERVFAIL)
        else:
            self._add_records(answer, question.name, kind)
        if fault == WRONG_QUESTION:  # the answer to another question
            answer.question = [dns.rrset.RRset(dns.name.from_text("other.example."), 1, question.rdtype)]
        try:
            return answer.to_wire(max_size=max_bytes)
        except dns.exception.TooBig:
            answer.answer.clear()
            answer.flags |= dns.flags.TC
            return answer.to_wire()

    def _add_records(self, answer: dns.message.Message, name: dns.name.Name, kind: str) -> None:
        for _ in range(20):  # more aliases than resolvers follow
            owner = _lower_name(name)
            if records := self.zone.get((owner, kind)):
                with contextlib.suppress(dns.exception.DNSException):
                    answer.answer.append(dns.rrset.from_text_list(name, 60, "IN", kind, records))
                return
            alias = self.zone.get((owner, "CNAME"))
            if not alias:
                below = any(one == owner or one.endswith(f".{owner}") for one, _ in self.zone)
                answer.set_rcode(dns.rcode.NOERROR if below else dns.rcode.NXDOMAIN)
                return
            answer.answer.append(dns.rrset.from_text_list(name, 60, "IN", "CNAME", alias))
            name = dns.name.from_text(alias[0])


def _lower_name(name: dns.name.Name) -> str:
    return ".".join(label.decode("latin-1") for label in name.labels if label).lower()
