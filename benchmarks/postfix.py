"""Postfix as a peer of the drain: it takes messages by SMTP, writes each to its queue on disk, and relays it to the sink."""

from __future__ import annotations

import os
import pwd
import smtplib
import subprocess
import threading
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText

from benchmarks.harness import WARM_UP, Sink, rate
from benchmarks.smtp import TEMPLATE, render
from tests.interop.servers import DAEMONS, Started, postfix_missing, search_path

_CONNECTIONS = 4  # over which messages come in
_MAIN = """
compatibility_level = 3.6
queue_directory = {home}/queue
data_directory = {home}/data
maillog_file = {home}/mail.log
maillog_file_prefixes = {home}
myhostname = relay.example.net
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
alias_maps =
alias_database =
relayhost = [127.0.0.1]:{sink}
smtpd_relay_restrictions = permit_mynetworks, reject
"""
_MASTER = """
127.0.0.1:{port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
proxymap unix - - n - - proxymap
error unix - - n - - error
retry unix - - n - - error
smtp unix - - n - - smtp
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""


class Relay(Started):
    """Postfix with its defaults, which relays everything from this machine to the sink."""

    def __init__(self, sink_port: int) -> None:
        super().__init__(1)
        self._sink_port = sink_port

    def configure(self) -> None:
        for name in ("queue", "data"):
            (self.home / name).mkdir()
        owner = pwd.getpwnam("postfix")
        os.chown(self.home / "data", owner.pw_uid, owner.pw_gid)
        self.write("etc/main.cf", _MAIN.format(home=self.home, sink=self._sink_port))
        self.write("etc/master.cf", _MASTER.format(port=self.ports[0]))
        environment = {**os.environ, "PATH": search_path()}
        check = ["postfix", "-c", self.home / "etc", "check"]
        subprocess.run(check, check=True, capture_output=True, env=environment)
        self.start([DAEMONS / "master", "-c", self.home / "etc", "-d"])


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
