"""Starts and stops the rehearsal server: four listeners on this machine's loopback address."""

from __future__ import annotations

import asyncio
import errno
import logging
import signal
import threading
from concurrent.futures import Future
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import certificates, store
from .listeners import HOST, LISTENERS, Door, Listener, ports_of
from .smtp_handler import Conversation, Office

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping

    from ..config import Config

_log = logging.getLogger(__name__)


class CannotRehearse(Exception):
    """The rehearsal server cannot start; the message says why and what to do."""


@dataclass(frozen=True)
class Handle:
    """A running rehearsal server. ``ports`` are the real ones, also where 0 was asked for."""

    ports: Mapping[Door, int]
    files: certificates.Files
    _stop: Callable[[], None]

    def stop(self) -> None:
        """Close the listeners and every conversation; returns when all is closed."""
        self._stop()


@dataclass(frozen=True)
class _Running:
    ports: Mapping[Door, int]
    files: certificates.Files
    stop: Callable[[], None]  # only from within the loop


def run(config: Config) -> int:
    """Serve until SIGINT or SIGTERM and return 0; exit with code 1 and a sentence if that cannot be."""
    try:
        asyncio.run(_serve(config, ports_of(config), _until_signalled))
    except CannotRehearse as problem:
        raise SystemExit(str(problem)) from None
    return 0


def start(config: Config, ports: Mapping[Door, int] | None = None) -> Handle:
    """Serve from a thread. ``ports`` overrides the configured ones; 0 takes a free port.

    Raises CannotRehearse.
    """
    started: Future[tuple[asyncio.AbstractEventLoop, _Running]] = Future()

    def ready(running: _Running) -> None:
        started.set_result((asyncio.get_running_loop(), running))

    def work() -> None:
        try:
            asyncio.run(_serve(config, {**ports_of(config), **(ports or {})}, ready))
        except Exception as problem:
            if started.done():
                raise
            started.set_exception(problem)  # raised in the thread that waits for us

    thread = threading.Thread(target=work, name="rehearsal", daemon=True)
    thread.start()
    loop, running = started.result()

    def stop() -> None:
        if thread.is_alive():
            loop.call_soon_threadsafe(running.stop)
        thread.join()

    return Handle(running.ports, running.files, stop)


def _until_signalled(running: _Running) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, running.stop)
    places = ", ".join(f"{HOST}:{port} ({door})" for door, port in running.ports.items())
    _log.info("the rehearsal server listens at %s", places)


async def _serve(config: Config, ports: Mapping[Door, int], ready: Callable[[_Running], None]) -> None:
    if not config.rehearsal:
        raise CannotRehearse("The rehearsal server is switched off. Set SIGNET_REHEARSAL=1 to use it.")
    # aiosmtpd tells every line of every conversation.
    logging.getLogger("mail.log").setLevel(logging.ERROR)
    files = _certificates(config)
    office = Office(store.folder(config))
    finish = asyncio.Event()
    real: dict[Door, int] = {}
    async with AsyncExitStack() as stack:
        for listener in LISTENERS:
            server = await _open(listener, ports[listener.door], office, files)
            stack.push_async_callback(_close, server, office)
            real[listener.door] = server.sockets[0].getsockname()[1]
        ready(_Running(real, files, finish.set))
        await finish.wait()


def _certificates(config: Config) -> certificates.Files:
    directory = certificates.folder(config)
    try:
        return certificates.ensure(directory, config.rehearsal_plays)
    except OSError as error:
        raise CannotRehearse(
            f"The rehearsal server cannot write {error.filename or directory}: {error.strerror}. "
            "Give this user the right to, or set SIGNET_INSTANCE to another folder."
        ) from None


async def _open(listener: Listener, port: int, office: Office, files: certificates.Files) -> asyncio.Server:
    door = listener.door
    context = certificates.server_context(files.expired if door is Door.EXPIRED else files.server)
    office.addressees.listen(context)
    implicit: ssl.SSLContext | None = context if door is Door.TLS else None
    upgrade = context if door in (Door.STARTTLS, Door.EXPIRED) else None
    loop = asyncio.get_running_loop()
    try:
        return await loop.create_server(
            lambda: Conversation(office, door, upgrade), host=HOST, port=port, ssl=implicit
        )
    except OSError as error:
        taken = error.errno == errno.EADDRINUSE
        why = "is taken by another program" if taken else f"cannot be opened ({error.strerror})"
        raise CannotRehearse(
            f"Port {port} of {HOST} {why}. "
            f"Choose another port for the rehearsal server with {listener.variable}."
        ) from None


async def _close(server: asyncio.Server, office: Office) -> None:
    server.close()
    for conversation in list(office.open):
        if isinstance(conversation.transport, asyncio.WriteTransport):
            conversation.transport.abort()
    await server.wait_closed()
