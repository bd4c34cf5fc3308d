"""``make run`` waits for a portal that starts slowly."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

from portal import dev_server
from tests.journeys.running import free_port


class Ready(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()

    def log_message(self, *args):
        pass


@contextmanager
def processes_of(config, port, command):
    processes = dev_server._Processes(config, str(port))
    with subprocess.Popen([sys.executable, "-c", command]) as child:
        processes.processes["portal"] = child
        yield processes
        child.kill()


def test_a_portal_that_starts_slowly_is_waited_for(config, monkeypatch, capsys):
    monkeypatch.setattr(dev_server, "_NOTE_AFTER_S", 0.0)
    port, answers = free_port(), []
    with processes_of(config, port, "import time; time.sleep(3600)") as processes:
        waiting = Thread(target=lambda: answers.append(processes._wait_until_ready()))
        waiting.start()
        output = ""
        while "still starting" not in output:
            output += capsys.readouterr().out
        with HTTPServer(("127.0.0.1", port), Ready) as server:
            Thread(target=server.serve_forever, daemon=True).start()
            waiting.join()
            server.shutdown()
    assert answers == [True]


def test_a_portal_that_ends_is_not_waited_for(config):
    with processes_of(config, free_port(), "") as processes:
        assert not processes._wait_until_ready()
