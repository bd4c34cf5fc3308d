"""Port detection sends no login, keeps the order of preference and respects the guard."""

from __future__ import annotations

import threading
from dataclasses import replace

from portal.smtp.network.guard import EgressPolicy
from portal.smtp.probe.port_detection import detect_port
from portal.smtp.server import Security

from ..badserver import (
    SHORT_LIMITS,
    THREAD_TIMEOUT_S,
    BadServer,
    Peer,
    loopback,
    mute,
    serve_correctly,
    server_at,
)

STARTTLS, IMPLICIT = Security.STARTTLS, Security.IMPLICIT_TLS


def policy_for(*ports: int) -> EgressPolicy:
    return replace(
        loopback(ports[0]), private_targets=tuple(t for port in ports for t in loopback(port).private_targets)
    )


def test_the_first_candidate_that_encrypts_is_found() -> None:
    with (
        BadServer(mute) as silent,
        BadServer(lambda peer: serve_correctly(peer, security=IMPLICIT)) as implicit,
        BadServer(serve_correctly) as starttls,
    ):
        ports = (silent.port, implicit.port, starttls.port)
        server = replace(server_at(1, limits=SHORT_LIMITS), policy=policy_for(*ports))
        result = detect_port(
            server, [(silent.port, STARTTLS), (implicit.port, IMPLICIT), (starttls.port, STARTTLS)]
        )
        assert result.found == (implicit.port, IMPLICIT)
        assert [a.ok for a in result.tried] == [False, True, True]
        assert result.tried[0].sentence == "localhost stopped answering."
        swapped = detect_port(server, [(implicit.port, STARTTLS), (starttls.port, IMPLICIT)])
        assert swapped.found is None
        assert not any(bad.received_secret() for bad in (silent, implicit, starttls))
        assert b"AUTH" not in starttls.received + implicit.received


def test_all_candidates_are_tried_concurrently() -> None:
    all_connected = threading.Barrier(8)

    def wait_for_all(peer: Peer) -> None:
        all_connected.wait(THREAD_TIMEOUT_S)
        peer.disconnect()

    with BadServer(wait_for_all) as server:
        candidates = [(server.port, STARTTLS), (server.port, IMPLICIT)] * 4
        result = detect_port(server_at(server.port), candidates)
    assert [a.ok for a in result.tried] == [False] * 8
    assert not all_connected.broken


def test_the_detection_ends_at_its_deadline() -> None:
    with BadServer(mute) as silent:
        result = detect_port(server_at(silent.port), [(silent.port, STARTTLS)], deadline_s=0.5)
    assert result.found is None
    assert result.tried[0].sentence == "localhost stopped answering."


def test_the_guard_checks_every_candidate() -> None:
    with BadServer(serve_correctly) as bad:
        server = replace(server_at(bad.port), policy=EgressPolicy(ports=frozenset({bad.port})))
        result = detect_port(
            server,
            [(bad.port, STARTTLS), (bad.port, IMPLICIT), (22, STARTTLS), (bad.port, Security.PLAINTEXT)],
        )
        assert result.found is None
        assert {a.sentence for a in result.tried} == {"This server address and port are not allowed here."}
        assert bad.connections == 0


def test_no_candidates_find_nothing() -> None:
    assert detect_port(server_at(1), []).found is None
