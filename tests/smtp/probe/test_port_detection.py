"""Port detection sends no log-in, keeps the order of preference and respects the guard."""

from __future__ import annotations

import time
from dataclasses import replace

from portal.smtp.network.guard import EgressPolicy
from portal.smtp.probe.port_detection import detect_port
from portal.smtp.server import Security

from ..badserver import LIMITS, BadServer, converse, loopback, mute, server_at

STARTTLS, IMPLICIT = Security.STARTTLS, Security.IMPLICIT_TLS


def policy_for(*ports: int) -> EgressPolicy:
    return replace(
        loopback(ports[0]), private_targets=tuple(t for port in ports for t in loopback(port).private_targets)
    )


def test_the_first_candidate_that_encrypts_is_found() -> None:
    with (
        BadServer(mute) as silent,
        BadServer(lambda peer: converse(peer, security=IMPLICIT)) as implicit,
        BadServer(converse) as starttls,
    ):
        ports = (silent.port, implicit.port, starttls.port)
        server = replace(server_at(1), policy=policy_for(*ports))
        result = detect_port(
            server, [(silent.port, STARTTLS), (implicit.port, IMPLICIT), (starttls.port, STARTTLS)]
        )
        assert result.found == (implicit.port, IMPLICIT)
        assert [a.ok for a in result.tried] == [False, True, True]
        assert result.tried[0].sentence == "localhost stopped answering."
        swapped = detect_port(server, [(implicit.port, STARTTLS), (starttls.port, IMPLICIT)])
        assert swapped.found is None
        assert not any(bad.heard_secret() for bad in (silent, implicit, starttls))
        assert b"AUTH" not in starttls.received + implicit.received


def test_all_candidates_share_one_deadline() -> None:
    with BadServer(mute) as silent:
        server = replace(server_at(silent.port), limits=replace(LIMITS, deadline=30, greeting=30, reply=30))
        started = time.monotonic()
        result = detect_port(server, [(silent.port, STARTTLS), (silent.port, IMPLICIT)] * 4, deadline_s=0.5)
        assert time.monotonic() - started < 3.0  # 8 sequential attempts of 0.5 s would take longer
        assert result.found is None
        assert len(result.tried) == 8


def test_the_guard_checks_every_candidate() -> None:
    with BadServer(converse) as bad:
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
