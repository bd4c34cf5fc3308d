"""A PostgreSQL server with a standby by streaming replication, synchronous or behind by a given time, and its loss."""

from __future__ import annotations

import queue
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests import databases
from tests.databases import Cluster

from .disasters import Disaster
from .guarantees import Undone
from .instance import LEASE_S

if TYPE_CHECKING:
    from .storm import StormRun

# As FAST, with what replication needs. Replication does not depend on fsync: the standby confirms what it has written.
SETTINGS = (
    *(one for one in databases.FAST if not one.startswith(("wal_level", "max_wal_senders"))),
    "wal_level=replica",
    "max_wal_senders=4",
)
_STANDBY = "standby"
_SOCKET = ".s.PGSQL.5432"  # in the folder that libpq is given as host
_TIMEOUT_S = 300


class Road:
    """A Unix socket that passes data on to a server of another folder, and from there back after a delay.

    It stands for the network between two machines: what is on its way when a machine is lost arrives nowhere.
    """

    def __init__(self, folder: Path, target: Path, delay_s: float) -> None:
        self.folder = folder
        self._target, self._delay_s = target / _SOCKET, delay_s
        self._sockets: list[socket.socket] = []
        self._is_cut = threading.Event()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / _SOCKET))
        (folder / _SOCKET).chmod(0o777)
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True, name="road").start()

    def cut(self) -> None:
        """End all connections at once, without what is on its way."""
        self._is_cut.set()
        for one in (self._listener, *self._sockets):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(str(self._target))
                self._sockets += [client, server]
                for source, target, delay_s in ((client, server, 0.0), (server, client, self._delay_s)):
                    self._forward(source, target, delay_s)

    def _forward(self, source: socket.socket, target: socket.socket, delay_s: float) -> None:
        """Pass on each piece of data ``delay_s`` after its arrival, in two threads."""
        on_its_way: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()

        def read() -> None:
            with suppress(OSError):
                while data := source.recv(65_536):
                    on_its_way.put((time.monotonic() + delay_s, data))
            on_its_way.put((0.0, b""))

        def write() -> None:
            with suppress(OSError):
                while (piece := on_its_way.get())[1]:
                    time.sleep(max(0.0, piece[0] - time.monotonic()))
                    if self._is_cut.is_set():
                        return
                    target.sendall(piece[1])
                target.shutdown(socket.SHUT_WR)

        for work in (read, write):
            threading.Thread(target=work, daemon=True, name="road").start()


@dataclass
class Pair:
    """A server and its standby. ``url`` names both hosts, as an operator would."""

    primary: Cluster
    standby: Cluster
    road: Road
    is_synchronous: bool

    def url(self, name: str) -> str:
        return f"postgresql://postgres@/{name}?host={self.primary.folder},{self.standby.folder}"

    def lose_primary(self, away_s: float = 0.0) -> Undone:
        """End the primary for good, and promote the standby after a time. Returns what the standby does not have."""
        lost_at = time.time()
        self.road.cut()
        self.primary.stop("QUIT")
        shutil.rmtree(self.primary.folder / "data")
        time.sleep(away_s)
        with closing(self.standby.connect()) as connection:
            connection.execute("SELECT pg_promote(true, %s)", [_TIMEOUT_S])
            (since,) = connection.execute(
                "SELECT extract(epoch FROM pg_last_xact_replay_timestamp())::float8"
            ).fetchone() or (0.0,)
        return Undone(since, lost_at, time.time() + LEASE_S)

    def await_standby(self) -> None:
        """Wait until the standby streams, and confirms commits if it is synchronous."""
        expected = "sync" if self.is_synchronous else "async"
        end = time.monotonic() + _TIMEOUT_S
        query = "SELECT sync_state FROM pg_stat_replication WHERE state = 'streaming'"
        with closing(self.primary.connect()) as connection:
            while (expected,) not in connection.execute(query).fetchall():
                if time.monotonic() > end:
                    raise RuntimeError((self.standby.folder / "log").read_text()[-2000:])
                time.sleep(0.05)


def failover(pair: Pair, at: float, away_s: float = 0.0) -> Disaster:
    """Lose the primary for good; the standby takes over. What was lost is permitted only where it lagged behind."""

    def act(run: StormRun) -> bool:
        undone = pair.lose_primary(away_s)
        if not pair.is_synchronous:
            run.undone = undone
        return True

    return Disaster("databases lost for good", at, act)


@contextmanager
def replicated(found: Path, *, delay_s: float | None) -> Iterator[Pair]:
    """Run a server and its standby: synchronous, or behind by ``delay_s``."""
    with (
        databases.cluster(found, SETTINGS) as primary,
        databases.server_folder(in_memory=True) as folder,
        databases.server_folder(in_memory=True) as on_the_road,
    ):
        road = Road(on_the_road, primary.folder, delay_s or 0.0)
        command = [
            str(found / "pg_basebackup"),
            "-D",
            str(folder / "data"),
            "-h",
            str(primary.folder),
            "-U",
            "postgres",
        ]
        databases.run_unprivileged([*command, "--checkpoint=fast", "--no-sync"], folder)
        (folder / "data" / "standby.signal").touch()
        source = f"primary_conninfo=host={on_the_road} user=postgres application_name={_STANDBY}"
        standby = Cluster(folder, found, (*SETTINGS, source))
        standby.start()
        pair = Pair(primary, standby, road, is_synchronous=delay_s is None)
        try:
            if pair.is_synchronous:
                with closing(primary.connect()) as connection:
                    connection.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{_STANDBY}'")
                    connection.execute("SELECT pg_reload_conf()")
            pair.await_standby()
            yield pair
        finally:
            road.cut()
            standby.stop("QUIT")
