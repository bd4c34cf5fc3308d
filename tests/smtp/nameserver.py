"""A DNS server on a loopback UDP port that answers from a zone and can simulate faults."""

from __future__ import annotations

import socket
import threading
from collections.abc import Mapping
from typing import Self

import dns.message
import dns.rcode
import dns.rrset

from portal.smtp.network.dns import Nameserver

Zone = Mapping[tuple[str, str], list[str]]  # (name, type) -> records as in a zone file
MUTE, GARBAGE, BROKEN, NO_SUCH_NAME = "mute", "garbage", "broken", "no such name"


class NameServer:
    """Context manager. Names that end with a key of ``faults`` get that fault; unknown names have no records."""

    def __init__(self, zone: Zone, faults: Mapping[str, str] | None = None) -> None:
        self.zone = {(name.lower(), kind): records for (name, kind), records in zone.items()}
        self.faults = dict(faults or {})
        self.queries: list[tuple[str, str]] = []

    def __enter__(self) -> Self:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.at = Nameserver("127.0.0.1", self._socket.getsockname()[1])
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                data, peer = self._socket.recvfrom(4096)
                answer = self._answer(data)
                if answer:
                    self._socket.sendto(answer, peer)
            except OSError:
                return

    def _answer(self, data: bytes) -> bytes | None:
        query = dns.message.from_wire(data)
        question = query.question[0]
        name, kind = question.name.to_text(omit_final_dot=True).lower(), question.rdtype.name
        self.queries.append((name, kind))
        fault = next((fault for ending, fault in self.faults.items() if name.endswith(ending)), "")
        if fault == MUTE:
            return None
        if fault == GARBAGE:
            return data[:2] + b"\xff" * 40
        answer = dns.message.make_response(query)
        if fault:
            answer.set_rcode(dns.rcode.SERVFAIL if fault == BROKEN else dns.rcode.NXDOMAIN)
        elif records := self.zone.get((name, kind)):
            answer.answer.append(dns.rrset.from_text_list(question.name, 60, "IN", kind, records))
        return answer.to_wire()
