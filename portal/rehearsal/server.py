"""Starts and stops the rehearsal server on the loopback address: four SMTP listeners, IMAP, and an authorization server."""

from __future__ import annotations

import asyncio
import errno
import logging
import signal
import socket
import threading
from concurrent.futures import Future
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from . import certificates, consent_server, imap_server, mailboxes, store
from .consents import Consents
from .listeners import (
    CONSENT_VARIABLE,
    HOST,
    IMAP_VARIABLE,
    LISTENERS,
    Listener,
    ListenerKind,
    configured_ports,
)
from .smtp_handler import FaultySmtp, ServerState

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping

    from ..config import Config

_log = logging.getLogger(__name__)


class RehearsalError(Exception):
    """The rehearsal server cannot start; the message gives the reason and a remedy."""


@dataclass(frozen=True)
class RunningServer:
    """A rehearsal server running in a thread. ``ports`` are the bound ports, also where 0 was requested."""

    ports: Mapping[ListenerKind, int]
    files: certificates.CertificateFiles
    _stop: Callable[[], None]

    def stop(self) -> None:
        """Close the listeners and all connections; return when they are closed."""
        self._stop()


@dataclass(frozen=True)
class _Listening:
    """The open listeners, for code inside the event loop."""

    ports: Mapping[ListenerKind, int]
    files: certificates.CertificateFiles
    stop: Callable[[], None]  # not thread-safe: call it in the event loop


def run(config: Config) -> int:
    """Serve until SIGINT or SIGTERM, then return 0. Raises SystemExit with a sentence if it cannot start."""
    try:
        asyncio.run(_serve(config, configured_ports(config), _stop_on_signal))
    except RehearsalError as error:
        raise SystemExit(str(error)) from None
    return 0


def start(config: Config, ports: Mapping[ListenerKind, int] | None = None) -> RunningServer:
    """Serve in a daemon thread. Raises RehearsalError.

    Args:
        ports: overrides configured ports; 0 selects a free port.
    """
    started: Future[tuple[asyncio.AbstractEventLoop, _Listening]] = Future()

    def ready(listening: _Listening) -> None:
        started.set_result((asyncio.get_running_loop(), listening))

    def serve() -> None:
        try:
            asyncio.run(_serve(config, {**configured_ports(config), **(ports or {})}, ready))
        except Exception as error:
            if started.done():
                raise
            started.set_exception(error)  # start() raises it

    thread = threading.Thread(target=serve, name="rehearsal", daemon=True)
    thread.start()
    loop, listening = started.result()

    def stop() -> None:
        if thread.is_alive():
            loop.call_soon_threadsafe(listening.stop)
        thread.join()

    return RunningServer(listening.ports, listening.files, stop)


def _stop_on_signal(listening: _Listening) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, listening.stop)
    addresses = ", ".join(f"{HOST}:{port} ({kind})" for kind, port in listening.ports.items())
    _log.info("rehearsal server listens at %s", addresses)


async def _serve(
    config: Config, ports: Mapping[ListenerKind, int], ready: Callable[[_Listening], None]
) -> None:
    if not config.rehearsal:
        raise RehearsalError("The rehearsal server is switched off. Set SIGNET_REHEARSAL=1 to use it.")
    # aiosmtpd logs every line of every conversation at INFO.
    logging.getLogger("mail.log").setLevel(logging.ERROR)
    files = _certificates(config)
    state = ServerState(store.inbox_folder(config), Consents(config))
    stopped = asyncio.Event()
    bound: dict[ListenerKind, int] = {}
    async with AsyncExitStack() as stack:
        for listener in LISTENERS:
            server = await _open(listener, ports[listener.kind], state, files)
            stack.push_async_callback(_close, server, state)
            bound[listener.kind] = server.sockets[0].getsockname()[1]
        imap = _bind(ports[ListenerKind.IMAP], IMAP_VARIABLE)
        bound[ListenerKind.IMAP] = imap.getsockname()[1]
        context = certificates.server_context(files.server)
        stack.callback(imap_server.serve(mailboxes.mailboxes_folder(config), imap, context, state.consents))
        consent = _bind(ports[ListenerKind.CONSENT], CONSENT_VARIABLE)
        stack.callback(consent.close)
        bound[ListenerKind.CONSENT] = consent.getsockname()[1]
        own = replace(config, rehearsal_consent_port=bound[ListenerKind.CONSENT])
        stack.callback(consent_server.serve(own, consent))
        ready(_Listening(bound, files, stopped.set))
        await stopped.wait()


def _certificates(config: Config) -> certificates.CertificateFiles:
    directory = certificates.rehearsal_folder(config)
    try:
        return certificates.ensure_certificates(directory, config.rehearsed_hosts)
    except OSError as error:
        raise RehearsalError(
            f"The rehearsal server cannot write {error.filename or directory}: {error.strerror}. "
            "Give this user the right to, or set SIGNET_INSTANCE to another folder."
        ) from None


async def _open(
    listener: Listener, port: int, state: ServerState, files: certificates.CertificateFiles
) -> asyncio.Server:
    kind = listener.kind
    context = certificates.server_context(files.expired if kind is ListenerKind.EXPIRED else files.server)
    state.sni_names.record_from(context)
    implicit: ssl.SSLContext | None = context if kind is ListenerKind.TLS else None
    upgrade = context if kind in (ListenerKind.STARTTLS, ListenerKind.EXPIRED) else None
    loop = asyncio.get_running_loop()
    try:
        return await loop.create_server(
            lambda: FaultySmtp(state, kind, upgrade), host=HOST, port=port, ssl=implicit
        )
    except OSError as error:
        raise _port_error(error, port, listener.variable) from None


def _bind(port: int, variable: str) -> socket.socket:
    try:
        return socket.create_server((HOST, port))
    except OSError as error:
        raise _port_error(error, port, variable) from None


def _port_error(error: OSError, port: int, variable: str) -> RehearsalError:
    taken = error.errno == errno.EADDRINUSE
    why = "is taken by another program" if taken else f"cannot be opened ({error.strerror})"
    return RehearsalError(
        f"Port {port} of {HOST} {why}. Choose another port for the rehearsal server with {variable}."
    )


async def _close(server: asyncio.Server, state: ServerState) -> None:
    server.close()
    for connection in list(state.connections):
        if isinstance(connection.transport, asyncio.WriteTransport):
            connection.transport.abort()
    await server.wait_closed()
