"""Runs a server of the rehearsal in a thread."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from socketserver import BaseServer


def serve_in_thread(server: BaseServer, name: str) -> Callable[[], None]:
    """Serve in a daemon thread of this name; return a function that stops it and closes the socket."""
    thread = threading.Thread(
        target=server.serve_forever, name=name, kwargs={"poll_interval": 0.1}, daemon=True
    )
    thread.start()

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return stop
