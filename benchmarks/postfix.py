"""Postfix as a peer of the drain: it takes messages by SMTP, writes each to its queue on disk, and relays it to the sink."""

from __future__ import annotations

import smtplib
import threading
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText

from benchmarks.harness import WARM_UP, Sink, rate
from benchmarks.smtp import TEMPLATE, render
from tests.interop.postfix import PostfixServer, postfix_missing

_CONNECTIONS = 4  # over which messages come in
_MAIN = """
myhostname = relay.example.net
mynetworks = 127.0.0.0/8
relayhost = [127.0.0.1]:{sink}
smtpd_relay_restrictions = permit_mynetworks, reject
"""
_SERVICES = """
127.0.0.1:{port} inet n - n - - smtpd
smtp unix - - n - - smtp
"""


class Relay(PostfixServer):
    """Postfix with its defaults, which relays everything from this machine to the sink."""

    def __init__(self, sink_port: int) -> None:
        super().__init__(1)
        self._sink_port = sink_port

    def configure(self) -> None:
        self.run(_MAIN.format(sink=self._sink_port), _SERVICES.format(port=self.ports[0]))


def postfix_rate(sink: Sink, count: int) -> float | None:
    """Return how many messages a second Postfix queues and relays at the same time; None where it cannot be started."""
    reason = postfix_missing()
    if reason:
        print(f"{reason}, so Postfix is omitted.")
        return None
    raw = [_message(number) for number in range(WARM_UP + count)]
    sink.reset()
    with Relay(sink.port) as relay:
        feeders = [
            threading.Thread(target=_feed, args=(relay.ports[0], raw[part::_CONNECTIONS]))
            for part in range(_CONNECTIONS)
        ]
        for feeder in feeders:
            feeder.start()
        accepted_at = sink.wait_for(WARM_UP + count)
        for feeder in feeders:
            feeder.join()
        return rate(accepted_at)


def _message(number: int) -> bytes:
    message = MIMEMultipart("alternative")
    message["From"], message["To"] = TEMPLATE["sender"], f"r{number}@example.net"
    message["Subject"] = render("subject", number)
    message.attach(MIMEText(render("text", number)))
    message.attach(MIMEText(render("html", number), "html"))
    return message.as_bytes()


def _feed(port: int, raw: list[bytes]) -> None:
    with smtplib.SMTP("127.0.0.1", port, timeout=600) as client:
        for number, message in enumerate(raw):
            client.sendmail(TEMPLATE["sender"], [f"r{number}@example.net"], message)
