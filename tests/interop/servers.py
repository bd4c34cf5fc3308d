"""Third-party servers, started on loopback with a test configuration and stopped with the tests."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Self

from portal.smtp.server import Limits, Mechanism, Secret, Security, Server
from tests.smtp.badserver import PASSWORD, USERNAME, authority, server_at

LIMITS = Limits(deadline=300.0, connect=60.0, greeting=120.0, reply=120.0)  # not reached in any test
TIMEOUT_S = 180  # for the start of a server and for the arrival of messages
SENDER, RECIPIENT = "info@example.org", "bob@example.net"
FOREIGN = "boss@example.org"  # a sender of another account
UNKNOWN, GREYLISTED, ELSEWHERE = "nobody@example.net", "later@example.net", "eve@elsewhere.example"
SIZE = 50_000  # maximum message size of each server, in bytes


def haraka_missing() -> str | None:
    if shutil.which("node") is None:
        return "node was not found"
    return (
        None if haraka().is_file() else "Haraka was not found; tests/interop.sh installs it beside the tests"
    )


def redis_missing() -> str | None:
    if shutil.which("redis-server", path=search_path()) is None:
        return "redis-server was not found; tests/interop.sh installs it"
    if find_spec("redis") is None:
        return "requirements-redis.txt is not installed; tests/interop.sh installs it"
    return None


def haraka() -> Path:
    named = os.environ.get("SIGNET_HARAKA")
    modules = Path(named) if named else Path(sys.prefix) / "interop" / "node_modules"
    return modules / "Haraka" / "bin" / "haraka"


def search_path() -> str:
    return os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


def free_ports(count: int) -> list[int]:
    taken = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [sock.getsockname()[1] for sock in taken]
    for sock in taken:
        sock.close()
    return ports


class Started:
    """A program that runs in the foreground with its own folder and listens on ``ports``."""

    def __init__(self, ports: int) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="signet-interop-"))
        self.home.chmod(0o755)  # the programs drop root privileges
        self.ports = free_ports(ports)

    def write(self, name: str, text: str | bytes, mode: int = 0o644) -> Path:
        path = self.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        path.chmod(mode)
        return path

    def start(self, command: Sequence[str | Path]) -> None:
        self._log = (self.home / "output.log").open("wb")
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            env={**os.environ, "PATH": search_path()},
            start_new_session=True,  # Postfix ends its children as a group
        )
        deadline = time.monotonic() + TIMEOUT_S
        for port in self.ports:
            while not _answers(port):
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"the server did not start:\n{self.log()}")
                time.sleep(0.05)

    def log(self) -> str:
        return "\n".join(path.read_text(errors="replace")[-4000:] for path in self.home.glob("*.log"))

    def configure(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        try:
            self.configure()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_exc: object) -> None:
        if hasattr(self, "_process"):
            self._process.terminate()
            try:
                self._process.wait(TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._log.close()
        shutil.rmtree(self.home, ignore_errors=True)

    def server(
        self,
        security: Security = Security.STARTTLS,
        *,
        port: int = 0,
        username: str | None = USERNAME,
        password: str = PASSWORD,
        mechanism: Mechanism = Mechanism.AUTOMATIC,
    ) -> Server:
        """Return the settings of this server. ``port`` is an index into ``ports``; the second has implicit TLS."""
        number = self.ports[1 if security is Security.IMPLICIT_TLS else port]
        server = server_at(number, security, username=username, mechanism=mechanism, limits=LIMITS)
        return replace(server, password=Secret(password) if username else None)


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


class Redis(Started):
    """Redis without persistence; it can be stopped and started again on the same port."""

    def __init__(self) -> None:
        super().__init__(1)

    def configure(self) -> None:
        self.run()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.ports[0]}/0"

    def run(self) -> None:
        options = {
            "port": self.ports[0],
            "bind": "127.0.0.1",
            "dir": self.home,
            "save": "",
            "appendonly": "no",
        }
        self.start(
            ["redis-server", *(str(word) for name in options for word in (f"--{name}", options[name]))]
        )

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()
        self._log.close()

    def request(self, *words: str) -> bytes:
        """Send one command; return the unparsed answer."""
        with socket.create_connection(("127.0.0.1", self.ports[0]), timeout=TIMEOUT_S) as sock:
            sock.sendall(" ".join(words).encode() + b"\r\n")
            return sock.recv(65536)


class Haraka(Started):
    """Ports: STARTTLS and implicit TLS."""

    def __init__(self) -> None:
        super().__init__(2)

    def configure(self) -> None:
        certificate = authority().issue_cert("localhost")
        chain = b"".join(blob.bytes() for blob in certificate.cert_chain_pems)
        self.write("config/tls_key.pem", certificate.private_key_pem.bytes(), 0o600)
        self.write("config/tls_cert.pem", chain)
        listen = ",".join(f"127.0.0.1:{port}" for port in self.ports)
        self.write("config/smtp.ini", f"listen={listen}\nsmtps_port={self.ports[1]}\nnodes=0\n")
        usual = (haraka().parents[1] / "config" / "connection.ini").read_text()
        self.write("config/connection.ini", re.sub(r"(?m)^bytes=.*", f"bytes={SIZE}", usual))
        self.write("config/me", "mail.example.net\n")
        self.write("config/log.ini", "[main]\nlevel=NOTICE\n")
        self.write("config/host_list", "example.net\n")
        self.write(
            "config/auth_flat_file.ini",
            f"[core]\nmethods=PLAIN,LOGIN,CRAM-MD5\n[users]\n{USERNAME}={PASSWORD}\n",
        )
        self.write("config/plugins", "tls\nauth/flat_file\nhouse_rules\nrcpt_to.in_host_list\n")
        rules = {"foreign": FOREIGN, "unknown": UNKNOWN, "greylisted": GREYLISTED, "home": str(self.home)}
        self.write("plugins/house_rules.js", _RULES.replace("RULES", json.dumps(rules)))
        self.start(["node", haraka(), "-c", self.home])

    def delivered(self, count: int) -> list[bytes]:
        """Return all accepted messages; there must be at least ``count``."""
        found = sorted(self.home.glob("*.eml"))
        assert len(found) >= count
        return [path.read_bytes() for path in found]


_RULES = """
const fs = require("node:fs");
const rules = RULES;
let count = 0;
const address = ([one]) => (typeof one.address === "function" ? one.address() : one.address);
exports.hook_mail = (next, connection, params) =>
  address(params) === rules.foreign ? next(DENY, "Sender address rejected: not owned by user") : next();
exports.hook_rcpt = (next, connection, params) => {
  if (address(params) === rules.unknown) return next(DENY, "No such user here");
  if (address(params) === rules.greylisted) return next(DENYSOFT, "Greylisted, please try again later");
  next();
};
exports.hook_queue = (next, connection) => {
  const file = fs.createWriteStream(`${rules.home}/${String(++count).padStart(4, "0")}.eml`);
  file.on("finish", () => next(OK));
  connection.transaction.message_stream.pipe(file);
};
exports.hook_queue_outbound = exports.hook_queue;
"""
