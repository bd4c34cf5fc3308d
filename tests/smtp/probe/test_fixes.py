"""A fix is offered once a dry run with it has passed, within two log-in attempts."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest

from portal.smtp.diagnosis.diagnose import Diagnosis, diagnose
from portal.smtp.probe.dry_run import probe
from portal.smtp.probe.fixes import FailedAttempt, VerifiedFix, find_fix
from portal.smtp.server import Mechanism, Server

from ..badserver import (
    RECIPIENT,
    SENDER,
    Answer,
    BadServer,
    Peer,
    accept_login,
    disconnect,
    serve_correctly,
    server_at,
)

LOGIN_AND_PLAIN = (b"AUTH LOGIN PLAIN",)


def only(mechanism: bytes, refusal: bytes | Answer) -> Answer:
    """Return the answer to AUTH of a server that accepts one mechanism and refuses all others."""

    def answer(peer: Peer, line: bytes) -> None:
        if line.upper().startswith(b"AUTH " + mechanism):
            accept_login(peer, line)
        elif isinstance(refusal, bytes):
            peer.send(refusal)
        else:
            refusal(peer, line)

    return answer


def accept_cram_md5(peer: Peer, line: bytes) -> None:
    if not line.upper().startswith(b"AUTH CRAM-MD5"):
        peer.send(b"504 5.5.4 Unrecognized authentication type\r\n")
        return
    peer.send(b"334 " + base64.b64encode(b"<1896.697170952@mail.example.net>") + b"\r\n")
    peer.receive()
    peer.send(b"235 2.7.0 ok\r\n")


def tried(
    bad: BadServer, mechanism: Mechanism = Mechanism.AUTOMATIC, **changes: object
) -> tuple[Diagnosis, VerifiedFix | None]:
    """Return the diagnosis of the failed dry run, and the fix that was found."""
    server: Server = replace(server_at(bad.port, mechanism=mechanism), **changes)  # type: ignore[arg-type]
    failure = probe(server, SENDER, RECIPIENT).failure
    assert failure is not None
    diagnosis = diagnose(failure, server)
    return diagnosis, find_fix(
        FailedAttempt(server, failure, diagnosis, None), sender=SENDER, recipient=RECIPIENT
    )


def logins(bad: BadServer) -> int:
    return sum(line.upper().startswith(b"AUTH ") for line in bytes(bad.received).split(b"\r\n"))


@pytest.mark.parametrize(
    "refusal",
    [
        b"535 Login fail\r\n",
        b"535 5.7.8 Error: authentication failed\r\n",
        b"502 Invalid input\r\n",
        b"504 5.7.4 Unrecognized authentication type\r\n",
        b"500 5.5.1 Command unrecognized\r\n",
        disconnect,
    ],
    ids=["535", "535 with words", "502", "504", "500", "hangs up"],
)
def test_login_is_offered_where_plain_is_listed_and_refused(refusal: bytes | Answer) -> None:
    answers = {"AUTH": only(b"LOGIN", refusal)}
    with BadServer(lambda peer: serve_correctly(peer, answers, offers=LOGIN_AND_PLAIN)) as bad:
        diagnosis, fix = tried(bad)
        assert logins(bad) == 2
    assert fix is not None
    assert (fix.change.code, fix.change.mechanism) == ("other-mechanism", Mechanism.LOGIN)
    assert "Choose Automatic" not in " ".join(diagnosis.fixes)


def test_a_wrong_password_is_tried_twice_at_most_and_no_fix_is_offered() -> None:
    answers = {"AUTH": b"535 5.7.8 Error: authentication failed\r\n"}
    offers = (b"AUTH LOGIN PLAIN CRAM-MD5",)
    with BadServer(lambda peer: serve_correctly(peer, answers, offers=offers)) as bad:
        diagnosis, fix = tried(bad)
        assert logins(bad) == 2
    assert fix is None
    assert diagnosis.kind == "credentials"


def test_no_second_log_in_follows_a_refusal_for_now() -> None:
    answers = {"AUTH": only(b"LOGIN", b"454 4.7.0 Temporary authentication failure\r\n")}
    with BadServer(lambda peer: serve_correctly(peer, answers, offers=LOGIN_AND_PLAIN)) as bad:
        assert tried(bad)[1] is None
        assert logins(bad) == 1


def test_what_was_typed_is_corrected_before_another_mechanism_is_tried() -> None:
    def answer(peer: Peer, line: bytes) -> None:
        right = base64.b64encode(b"\0ada@example.org\0")[:20] in line
        peer.send(b"235 2.7.0 ok\r\n" if right else b"535 5.7.8 Error: authentication failed\r\n")

    with BadServer(lambda peer: serve_correctly(peer, {"AUTH": answer}, offers=LOGIN_AND_PLAIN)) as bad:
        _, fix = tried(bad, username="ada")
        assert logins(bad) == 2
    assert fix is not None
    assert fix.change.username == "ada@example.org"


def test_cram_md5_alone_is_used_by_automatic() -> None:
    answers: dict[str, Answer] = {"AUTH": accept_cram_md5}
    with BadServer(lambda peer: serve_correctly(peer, answers, offers=(b"AUTH CRAM-MD5",))) as bad:
        assert probe(server_at(bad.port), SENDER, RECIPIENT).passed
        assert not bad.received_secret()


def test_automatic_is_offered_where_the_chosen_mechanism_is_missing() -> None:
    with BadServer(lambda peer: serve_correctly(peer, offers=(b"AUTH LOGIN",))) as bad:
        diagnosis, fix = tried(bad, Mechanism.PLAIN)
    assert diagnosis.fix == "Choose Automatic as SMTP Authentication."
    assert fix is not None
    assert fix.change.mechanism is Mechanism.AUTOMATIC


@pytest.mark.parametrize("offer", [b"AUTH XOAUTH2", b"AUTH NTLM GSSAPI", b"AUTH XOAUTH2 OAUTHBEARER"])
def test_a_server_that_takes_no_passwords_is_said_to_take_none(offer: bytes) -> None:
    with BadServer(lambda peer: serve_correctly(peer, offers=(offer,))) as bad:
        diagnosis, fix = tried(bad)
    assert fix is None
    assert diagnosis.code == "no-login-by-password"
    assert offer.decode().removeprefix("AUTH ") in diagnosis.cause
    assert "Automatic" not in diagnosis.cause + " ".join(diagnosis.fixes)


def test_the_fix_of_a_refused_mechanism_names_another_one_that_is_offered() -> None:
    answers = {"AUTH": b"504 5.7.4 Unrecognized authentication type\r\n"}
    with BadServer(lambda peer: serve_correctly(peer, answers, offers=LOGIN_AND_PLAIN)) as bad:
        diagnosis, _ = tried(bad)
        assert diagnosis.fix == "Choose login as SMTP Authentication."
    with BadServer(lambda peer: serve_correctly(peer, answers, offers=LOGIN_AND_PLAIN)) as bad:
        diagnosis, _ = tried(bad, Mechanism.LOGIN)
        assert diagnosis.fix == "Choose Automatic as SMTP Authentication."
