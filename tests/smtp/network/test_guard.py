"""The guard: canonical hosts, and which addresses are dialled."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from portal.smtp.failure import Reason, Stage, SubmissionFailure
from portal.smtp.network.dial import Deadline, Peer, dial, with_own_ports
from portal.smtp.network.guard import (
    EgressPolicy,
    HostError,
    PrivateTarget,
    canonical_host,
    find_private_target,
    is_private_target,
    is_public,
    resolve_allowed,
)
from portal.smtp.protocol.session import Session
from portal.smtp.server import Limits, Security, Server

from ..badserver import THREAD_TIMEOUT_S, BadServer, disconnect, server_at

NAMES = {
    "smtp.example.com": "smtp.example.com",
    "  SMTP.Example.COM. ": "smtp.example.com",
    "münchen.de": "xn--mnchen-3ya.de",
    "xn--mnchen-3ya.de": "xn--mnchen-3ya.de",
    "MÜNCHEN.de": "xn--mnchen-3ya.de",
    "mail。例え。jp": "mail.xn--r8jz45g.jp",
    "localhost": "localhost",
    "in-v3.mailjet.com": "in-v3.mailjet.com",
    "3com.example": "3com.example",
    "192.0.2.7": "192.0.2.7",
    "[2001:DB8:0::1]": "2001:db8::1",
    "2001:db8::1": "2001:db8::1",
}
NO_NAMES = [
    "", " ", ".", "..", "a..b", ".a.b", "smtp example.com", "smtp.example.com:587", "[::1]:25",
    "smtp_1.example.com", "https://smtp.example.com", "smtp.example.com/", "ada@example.com",
    "smtp.example.com\r\nHELO x", "a\0b.de", "-a.example", "a-.example", "a" * 64 + ".example",
    "x." * 130 + "de", "127.1", "0x7f.1", "0x7f.0.0.1", "2130706433", "017700000001", "0177.0.0.1",
    "127.0.0.1.", "1.2.3.4.5", "①②⑦.0.0.1", "１２７.0.0.1", "127。0。0。1", "fe80::1%eth0", "::g", "xn--a",
    "xn--\u0661.de", "a\u200bb.de", "a\u202eb.de", "smtp.example.com?x", "smtp,example,com",
    "smtp.exa\ud800mple.com", "*.example.com",
]  # fmt: skip


@pytest.mark.parametrize(("typed", "canonical"), NAMES.items())
def test_a_host_has_one_canonical_form(typed: str, canonical: str) -> None:
    assert canonical_host(typed) == canonical
    assert canonical_host(canonical) == canonical


@pytest.mark.parametrize("typed", NO_NAMES, ids=ascii)
def test_an_invalid_host_is_refused_with_a_sentence(typed: str) -> None:
    with pytest.raises(HostError) as refusal:
        canonical_host(typed)
    assert str(refusal.value).endswith(".") and str(refusal.value)[0].isupper()


# Forms of addresses and names that lead, or could lead, to networks that an owner must not reach.
FORBIDDEN = [
    "127.0.0.1", "127.0.0.2", "127.255.255.254", "127.1", "127.0.1", "2130706433", "0x7f000001", "0x7f.1",
    "0177.0.0.1", "017700000001", "00000177.0.0.1", "0", "0.0.0.0", "0.0.0.1", "①②⑦.0.0.1", "１２７.０.０.１",
    "127。0。0。1", "localhost", "LOCALHOST.", "ⓛocalhost",
    "ｌｏｃａｌｈｏｓｔ", "10.0.0.1", "10.255.255.255",
    "100.64.0.1", "100.100.100.200", "168.63.129.16", "169.254.169.254", "0xa9fea9fe", "2852039166",
    "172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.0.170", "192.0.2.1", "192.88.99.1", "192.168.0.1",
    "192.168.255.255", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255",
    "240.0.0.1", "255.255.255.255", "::", "::1", "[::1]", "0:0:0:0:0:0:0:1", "::127.0.0.1",
    "::ffff:127.0.0.1", "::ffff:7f00:1", "::ffff:169.254.169.254", "::ffff:0:127.0.0.1", "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe", "64:ff9b:1::a9fe:a9fe", "2002:7f00:1::1", "2002:a9fe:a9fe::1", "2001::1",
    "2001:0:7f00:1::", "2001:db8::1", "2001:10::1", "3fff::1", "5f00::1", "100::1", "fc00::1",
    "fd00:ec2::254", "fe80::1", "fe80::1%lo", "fe80::1%eth0", "fec0::1", "ff02::1", "ff0e::1",
    "smtp.example.com:25", "http://127.0.0.1/", "127.0.0.1#", "",
]  # fmt: skip


@pytest.fixture
def listener():
    with BadServer(disconnect) as listening:
        yield listening


def refusal(
    host: str, port: int, policy: EgressPolicy, security: Security = Security.STARTTLS
) -> tuple[object, ...]:
    server = replace(server_at(port, security, host=host), policy=policy)
    session = Session(server)
    with pytest.raises(SubmissionFailure) as met:
        session.open()
    failure = met.value
    stages = [(r.stage, r.status, r.sentence, dict(r.evidence)) for r in session.stage_results]
    return (
        failure.stage,
        failure.reason,
        failure.reply,
        failure.ambiguous,
        dict(failure.evidence),
        str(failure),
        repr(failure),
        stages,
        str(session.transcript),
    )


def test_no_form_of_a_forbidden_address_is_dialled_and_all_fail_identically(listener: BadServer) -> None:
    assert len(FORBIDDEN) >= 60
    policy = EgressPolicy(ports=frozenset({listener.port}))
    answers = [refusal(host, listener.port, policy) for host in FORBIDDEN]
    answers.append(refusal("smtp.example.com", 6379, policy))  # a forbidden port fails in the same way
    answers.append(refusal("localhost", listener.port, policy, Security.PLAINTEXT))
    assert all(answer == answers[0] for answer in answers)
    assert answers[0][:2] == (Stage.RESOLVE, Reason.TARGET_REFUSED)
    assert listener.connections == 0


def test_the_listener_counts_connections(listener: BadServer) -> None:
    with pytest.raises(SubmissionFailure) as met:
        Session(server_at(listener.port)).open()
    assert met.value.stage is Stage.GREETING
    assert listener.connections == 1


@pytest.mark.parametrize(
    "text", ["8.8.8.8", "1.1.1.1", "172.32.0.1", "2606:4700::1111", "2a00:1450:4001::1", "2620:4f:7fff::1"]
)
def test_public_addresses_are_public(text: str) -> None:
    assert is_public(ip_address(text))
    assert resolve_allowed(text, 587, EgressPolicy(), THREAD_TIMEOUT_S) == (ip_address(text),)


def test_a_private_target_allows_its_port_and_network_only() -> None:
    policy = EgressPolicy(
        private_targets=(
            PrivateTarget(ip_network("10.1.0.0/16"), 1025),
            PrivateTarget(ip_network("10.1.2.0/24"), 25, True),
        )
    )
    assert resolve_allowed("10.1.2.3", 1025, policy, THREAD_TIMEOUT_S)
    assert is_private_target(ip_address("10.1.2.3"), 25, policy)
    assert find_private_target(ip_address("::1"), 25, policy) is None
    for host, port, plaintext in [
        ("10.2.0.1", 1025, False),
        ("10.1.2.3", 587, False),
        ("8.8.8.8", 1025, False),
        ("10.1.2.3", 1025, True),
        ("8.8.8.8", 25, True),
        ("10.1.9.9", 25, False),
    ]:
        with pytest.raises(SubmissionFailure):
            resolve_allowed(host, port, policy, THREAD_TIMEOUT_S, plaintext=plaintext)
    assert resolve_allowed("10.1.2.3", 25, policy, THREAD_TIMEOUT_S, plaintext=True)


class Resolver:
    """Replaces ``socket.getaddrinfo``. An event as answer blocks the query until it is set."""

    def __init__(self, *answers: list[str] | threading.Event | socket.gaierror) -> None:
        self.answers = list(answers)
        self.calls = 0

    def __call__(self, _name: str, *_args: object, **_more: object) -> list[tuple[object, ...]]:
        self.calls += 1
        answer = self.answers.pop(0)
        if isinstance(answer, threading.Event):
            answer.wait()
            return []
        if isinstance(answer, socket.gaierror):
            raise answer
        return [
            (socket.AF_INET6 if ":" in a else socket.AF_INET, socket.SOCK_STREAM, 6, "", (a, 0))
            for a in answer
        ]


def test_the_smallest_network_names_the_authorities_of_a_private_server() -> None:
    network = PrivateTarget(ip_network("10.0.0.0/8"), 587, plaintext=True, ca_file="network.pem")
    one_server = PrivateTarget(ip_network("10.0.0.5/32"), 587, ca_file="server.pem")
    policy = EgressPolicy(private_targets=(network, one_server))
    server = Server("mail.internal", 587, Security.STARTTLS, policy=policy)
    peers = [Peer.for_server(ip_address(address), server) for address in ("10.0.0.5", "10.0.0.6")]
    assert [peer.ca_file for peer in peers] == ["server.pem", "network.pem"]
    assert all(peer.permits_plaintext for peer in peers)


def test_one_private_address_among_public_ones_refuses_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", Resolver(["8.8.8.8", "2606:4700::1111", "::ffff:10.0.0.1"]))
    with pytest.raises(SubmissionFailure) as met:
        resolve_allowed("rebind.example.com", 587, EgressPolicy(), THREAD_TIMEOUT_S)
    assert met.value.reason is Reason.TARGET_REFUSED


def test_a_name_of_the_inner_network_fails_as_one_that_does_not_exist(monkeypatch, listener) -> None:
    policy = EgressPolicy(ports=frozenset({listener.port}))
    answers = []
    for looked_up in (
        ["10.0.0.1"],
        ["127.0.0.1", "fd00::1"],
        socket.gaierror(socket.EAI_NONAME, "unknown"),
        [],
    ):
        monkeypatch.setattr(socket, "getaddrinfo", Resolver(looked_up))
        answers.append(refusal("vault.corp.example.com", listener.port, policy))
    assert all(answer == answers[0] for answer in answers)
    assert answers[0][1] is Reason.NAME_UNKNOWN
    assert listener.connections == 0


def test_a_public_server_is_not_called_unknown_when_only_its_port_is_refused(monkeypatch) -> None:
    policy = EgressPolicy(private_targets=(PrivateTarget(ip_network("10.1.0.0/16"), 1025),))
    monkeypatch.setattr(socket, "getaddrinfo", Resolver(["8.8.8.8"]))
    with pytest.raises(SubmissionFailure) as met:
        resolve_allowed("smtp.example.com", 1025, policy, THREAD_TIMEOUT_S)
    assert met.value.reason is Reason.TARGET_REFUSED


def test_a_name_is_resolved_once_and_the_checked_address_is_dialled(monkeypatch: pytest.MonkeyPatch) -> None:
    with BadServer(disconnect) as bad:
        changing = Resolver(["127.0.0.1"], ["10.0.0.1"])
        monkeypatch.setattr(socket, "getaddrinfo", changing)
        with pytest.raises(SubmissionFailure) as met:
            Session(server_at(bad.port, host="rebind.example.com")).open()
        assert met.value.stage is Stage.GREETING
        assert (changing.calls, bad.connections) == (1, 1)


def test_the_next_address_is_dialled_if_the_first_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    with BadServer(disconnect) as bad:
        monkeypatch.setattr(socket, "getaddrinfo", Resolver(["::1", "127.0.0.9", "127.0.0.1"]))
        session = Session(server_at(bad.port, host="many.example.com"))
        with pytest.raises(SubmissionFailure):
            session.open()
        assert session.stage_results[1].evidence["address"] == "127.0.0.1"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (socket.gaierror(socket.EAI_NONAME, "unknown"), Reason.NAME_UNKNOWN),
        (socket.gaierror(socket.EAI_AGAIN, "later"), Reason.NAME_UNANSWERED),
        (threading.Event(), Reason.NAME_UNANSWERED),
        ([], Reason.NAME_UNKNOWN),
    ],
)
def test_failed_look_ups_are_distinguished_and_a_blocked_one_is_abandoned(
    monkeypatch, answer, reason: Reason
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", Resolver(answer))
    blocked = isinstance(answer, threading.Event)
    with pytest.raises(SubmissionFailure) as met:
        resolve_allowed("smtp.example.com", 587, EgressPolicy(), 0.2 if blocked else THREAD_TIMEOUT_S)
    assert (met.value.stage, met.value.reason) == (Stage.RESOLVE, reason)
    if blocked:
        answer.set()


def test_a_port_without_a_listener_is_a_refused_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(SubmissionFailure) as met:
        Session(server_at(port)).open()
    assert (met.value.stage, met.value.reason) == (Stage.CONNECT, Reason.CONNECT_REFUSED)


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("64:ff9b::8.8.8.8", True),  # the well-known prefix: a gateway connects to 8.8.8.8
        ("64:ff9b::808:808", True),
        ("64:ff9b::10.0.0.1", False),
        ("64:ff9b::127.0.0.1", False),
        ("64:ff9b::169.254.169.254", False),
        ("64:ff9b::168.63.129.16", False),
        ("64:ff9b::1:808:808", False),  # outside the /96
        ("64:ff9b:1::808:808", False),  # the local-use prefix of RFC 8215
    ],
)
def test_nat64_is_assessed_by_the_ipv4_address_inside(address: str, public: bool) -> None:
    assert is_public(ip_address(address)) is public


def test_the_ports_of_a_card_are_allowed_for_its_own_hosts_only() -> None:
    policy = EgressPolicy(ports=frozenset({587}))
    assert 2525 in with_own_ports(policy, "smtp.mailgun.org").ports
    for host in ("mail.example.com", "evil.smtp.mailgun.org", "smtp.mailgun.org.example.com"):
        assert with_own_ports(policy, host).ports == {587}


def test_a_dead_first_address_leaves_the_time_of_a_connection_to_the_next() -> None:
    with BadServer(disconnect) as listening, _unaccepting(listening.port) as dead:
        server = server_at(listening.port)
        addresses = (ip_address(dead), ip_address("127.0.0.1"))
        limits = Limits(deadline=THREAD_TIMEOUT_S, connect=THREAD_TIMEOUT_S, first_connect=0.2)
        sock, peer = dial(addresses, server, limits, Deadline(THREAD_TIMEOUT_S))
        sock.close()
    assert peer.address == ip_address("127.0.0.1")


@contextmanager
def _unaccepting(port: int) -> Iterator[str]:
    """Yield a loopback address on which connections are never completed, because the queue of the listener is full."""
    address = "127.0.0.2"
    with ExitStack() as stack:
        full = stack.enter_context(socket.socket())
        full.bind((address, port))
        full.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex((address, port))
        yield address
