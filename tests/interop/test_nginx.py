"""Slow visitors behind the shipped nginx configuration: they occupy nginx, and the portal goes on answering."""

from __future__ import annotations

import select
import shutil
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path

import pytest

from portal import create_app
from portal.cli import doctor_report
from tests.interop.nginx import Nginx, nginx_missing
from tests.journeys.running import TIMEOUT_S, RunningPortal, free_port

SLOW = 50
_PATIENCE_S = 3  # of a visitor whose request stays unanswered
_PAUSE_S = 0.2  # between two octets of a slow visitor
_HEAD = "POST /log-in HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/x-www-form-urlencoded\r\n"


class Portal(RunningPortal):
    """A portal behind a proxy: gunicorn alone, with 8 threads as deployment.md describes."""

    def __init__(self, folder: Path, base: str, proxies: int, ready: Path) -> None:
        super().__init__(folder / "instance", SIGNET_TRUSTED_PROXIES=str(proxies))
        shutil.copytree(ready, self.instance)
        self.env |= {
            "SIGNET_BASE_URL": base,
            "SIGNET_REHEARSAL": "0",
            "MAIL_SERVER": "",
            "MAIL_DEFAULT_SENDER": "",
        }

    def __enter__(self) -> Portal:
        self.start_part("web")
        self.wait_for(lambda: get(HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT_S))[0] == 200)
        return self

    def __exit__(self, *_exc: object) -> None:
        self.stop()


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An instance that is set up, of which each portal starts with a copy."""
    portal = RunningPortal(tmp_path_factory.mktemp("ready") / "instance")
    with portal.log:
        portal._run([sys.executable, "-m", "portal.bootstrap"])
    return portal.instance


@pytest.fixture
def behind_nginx(real_or_skip, tmp_path, ready) -> Iterator[Callable[[int], tuple[Portal, Nginx]]]:
    """Return a function that starts a portal behind nginx; its argument is SIGNET_TRUSTED_PROXIES."""
    real_or_skip(nginx_missing())
    with ExitStack() as stack:

        def start(proxies: int) -> tuple[Portal, Nginx]:
            nginx = Nginx(free_port())
            portal = Portal(tmp_path, f"https://localhost:{nginx.ports[0]}", proxies, ready)
            nginx._upstream = portal.port
            stack.enter_context(portal)
            stack.enter_context(nginx)
            return portal, nginx

        yield start


def get(connection: HTTPConnection, path: str = "/healthz") -> tuple[int, str]:
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def visit(nginx: Nginx) -> tuple[int, str]:
    """Return the answer to a visitor who requests /healthz through nginx."""
    context = ssl.create_default_context(cafile=str(nginx.ca))
    return get(HTTPSConnection("localhost", nginx.ports[0], timeout=TIMEOUT_S, context=context))


def connect(port: int, ca: Path | None = None) -> socket.socket:
    plain = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S)
    if ca is None:
        return plain
    return ssl.create_default_context(cafile=str(ca)).wrap_socket(plain, server_hostname="localhost")


@contextmanager
def trickling(open_one: Callable[[], socket.socket], host: str) -> Iterator[None]:
    """Keep SLOW requests in progress: of half of them the head never ends, of the others the body."""
    ended = threading.Event()
    with ExitStack() as stack:
        slow = [stack.enter_context(open_one()) for _ in range(SLOW)]
        for number, connection in enumerate(slow):
            head = _HEAD.format(host=host)
            head += "X-Slow: " if number % 2 else "Content-Length: 100000\r\n\r\nmailbox="
            connection.sendall(head.encode())

        def trickle() -> None:
            while not ended.wait(_PAUSE_S):
                for connection in slow:
                    with suppress(OSError):  # nginx may end one that takes too long
                        connection.sendall(b"a")

        thread = threading.Thread(target=trickle)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


def test_the_portal_answers_while_50_visitors_are_slow(behind_nginx):
    portal, nginx = behind_nginx(1)
    with trickling(lambda: connect(nginx.ports[0], nginx.ca), "localhost"):
        for _ in range(5):
            assert visit(nginx) == (200, "ok\n")
        assert get(HTTPConnection("127.0.0.1", portal.port, timeout=TIMEOUT_S)) == (200, "ok\n")
    assert visit(nginx) == (200, "ok\n")


def test_without_a_proxy_that_buffers_slow_visitors_stop_the_portal(behind_nginx):
    """The control: the slow visitors of the test above are slow enough."""
    portal, _ = behind_nginx(1)
    with ExitStack() as stack:
        with trickling(lambda: connect(portal.port), "localhost"):
            waiting = stack.enter_context(unanswered(portal.port))
        assert waiting.recv(9) == b"HTTP/1.1 ", "it is answered as soon as they have left"


def unanswered(port: int) -> socket.socket:
    """Return the connection of a visitor whose request gets no answer, once all threads of the portal are occupied."""
    end = time.monotonic() + TIMEOUT_S
    while time.monotonic() < end:
        connection = connect(port)
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        if not select.select([connection], [], [], _PATIENCE_S)[0]:
            return connection
        connection.close()
    raise AssertionError("the portal answers every visitor")


def test_plain_http_is_redirected_and_the_head_names_no_version(behind_nginx):
    _, nginx = behind_nginx(1)
    connection = HTTPConnection("127.0.0.1", nginx.ports[1], timeout=TIMEOUT_S)
    connection.request("GET", "/log-in?next=/account", headers={"Host": "localhost"})
    answer = connection.getresponse()
    assert (answer.status, answer.headers["Location"]) == (301, "https://localhost/log-in?next=/account")
    assert answer.headers["Server"] == "nginx"
    connection.close()


@pytest.mark.parametrize(("proxies", "grade"), [(0, "warning"), (1, "ok")])
def test_the_doctor_reports_a_proxy_that_is_not_counted(behind_nginx, monkeypatch, proxies, grade):
    portal, nginx = behind_nginx(proxies)
    monkeypatch.setenv("SSL_CERT_FILE", str(nginx.ca))
    lines: list[str] = []
    local = {
        "SIGNET_REHEARSAL": "1",
        "SIGNET_REHEARSAL_PLAYS": "smtp.mailgun.org",
    }  # port 587 of this machine
    doctor_report.run(portal.env | local, create_app, offline=False, as_json=False, echo=lines.append)
    found = {line.split()[1]: line.split()[0] for line in lines if len(line.split()) > 1}
    assert found["public-address"] == "ok", lines
    assert found["proxies"] == grade, lines
