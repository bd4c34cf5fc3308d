"""AUTH with an access token: over TLS only, after the server's 334, and in no transcript."""

from __future__ import annotations

import base64
import json
import traceback
from dataclasses import dataclass, field, replace

import pytest

from portal.smtp.diagnosis.diagnose import diagnose
from portal.smtp.failure import Reason, Stage, SubmissionFailure
from portal.smtp.probe.fixes import FailedAttempt, find_fix
from portal.smtp.protocol.session import Session
from portal.smtp.server import AccessToken, Mechanism, Secret, Security, Server

from ..badserver import Answer, BadServer, Peer, disconnect, serve_correctly, server_at

TOKEN = "canary-" + "aB3-_." * 700  # 4,207 octets: longer than Microsoft's
BOTH = (b"AUTH PLAIN LOGIN OAUTHBEARER XOAUTH2",)
GOOGLE = {"status": "401", "schemes": "bearer", "scope": "https://mail.google.com/"}
REFUSED = b"535 5.7.8 Username and Password not accepted\r\n"


@dataclass
class Source:
    """A source that supplies ``tokens`` one after the other, or raises ``failure``."""

    tokens: list[str] = field(default_factory=lambda: [TOKEN])
    failure: SubmissionFailure | None = None
    renewals: int = 0

    def fetch(self) -> AccessToken:
        if self.failure is not None:
            raise self.failure
        return AccessToken(Secret(self.tokens[0]), "The issuer gave a fresh token.")

    def renew(self, _refused: AccessToken) -> AccessToken | None:
        self.renewals += 1
        return AccessToken(Secret(self.tokens[1]), "renewed") if len(self.tokens) > self.renewals else None


def bearer_server(
    port: int,
    source: Source | None = None,
    mechanism: Mechanism = Mechanism.AUTOMATIC,
    security: Security = Security.STARTTLS,
) -> Server:
    server = server_at(port, security, username="ada,b=c@example.org", mechanism=mechanism)
    return replace(server, password=None, tokens=source or Source())


def take_token(*replies: bytes, lines: list[bytes] | None = None) -> Answer:
    """Prompt for the token, then send each reply after reading one line."""

    def answer(peer: Peer, _line: bytes) -> None:
        peer.send(b"334 \r\n")
        for reply in replies:
            line = peer.receive()
            if lines is not None:
                lines.append(line)
            peer.send(reply)

    return answer


def refusal_json(**more: str) -> bytes:
    return b"334 " + base64.b64encode(json.dumps(GOOGLE | more).encode()) + b"\r\n"


def open_failure(server: Server) -> tuple[SubmissionFailure, Session]:
    session = Session(server)
    with pytest.raises(SubmissionFailure) as raised:
        session.open()
    return raised.value, session


@pytest.mark.parametrize(
    ("mechanism", "offer", "expected"),
    [
        (Mechanism.AUTOMATIC, BOTH, "XOAUTH2"),
        (Mechanism.AUTOMATIC, (b"AUTH PLAIN OAUTHBEARER",), "OAUTHBEARER"),
        (Mechanism.OAUTHBEARER, BOTH, "OAUTHBEARER"),
        (Mechanism.PLAIN, BOTH, "XOAUTH2"),  # never a password's mechanism
    ],
)
def test_the_token_follows_the_servers_334(
    mechanism: Mechanism, offer: tuple[bytes, ...], expected: str
) -> None:
    lines: list[bytes] = []
    answer = {"AUTH": take_token(b"235 2.7.0 Accepted\r\n", lines=lines)}
    with BadServer(lambda peer: serve_correctly(peer, answer, offers=offer)) as bad:
        with Session(bearer_server(bad.port, mechanism=mechanism)) as session:
            results = session.stage_results
            transcript = str(session.transcript)
        assert f"AUTH {expected}\r\n".encode() in bytes(bad.received)
        port = bad.port
    assert next(one.stage for one in results) is Stage.CONSENT
    assert results[-1].evidence["mechanism"] == expected
    said = base64.b64decode(lines[0]).decode()
    if expected == "XOAUTH2":
        assert said == f"user=ada,b=c@example.org\x01auth=Bearer {TOKEN}\x01\x01"
    else:
        assert said == (
            f"n,a=ada=2Cb=3Dc@example.org,\x01host=localhost\x01port={port}\x01auth=Bearer {TOKEN}\x01\x01"
        )
    assert "canary" not in transcript
    assert lines[0].decode().strip()[:40] not in transcript


@pytest.mark.parametrize(("mechanism", "dummy"), [("XOAUTH2", b"\r\n"), ("OAUTHBEARER", b"AQ==\r\n")])
def test_the_json_of_a_refusal_is_answered_and_read(mechanism: str, dummy: bytes) -> None:
    lines: list[bytes] = []
    answer = {"AUTH": take_token(refusal_json(), REFUSED, lines=lines)}
    with BadServer(
        lambda peer: serve_correctly(peer, answer, offers=(b"AUTH " + mechanism.encode(),))
    ) as bad:
        failure, session = open_failure(bearer_server(bad.port))
    assert lines[1] == dummy
    assert (failure.stage, failure.reason) == (Stage.AUTH, Reason.REPLIED)
    assert failure.reply and failure.reply.code == 535
    assert failure.evidence["mechanism"] == mechanism
    assert failure.evidence["token_status"] == "401"
    assert failure.evidence["token_scope"] == "https://mail.google.com/"
    assert session.server.tokens and session.server.tokens.renewals == 1  # type: ignore[attr-defined]


def test_a_missing_scope_is_diagnosed_from_the_json() -> None:
    answer = {"AUTH": take_token(refusal_json(status="insufficient_scope"), REFUSED)}
    with BadServer(lambda peer: serve_correctly(peer, answer, offers=BOTH)) as bad:
        failure, session = open_failure(bearer_server(bad.port))
    assert diagnose(failure, session.server).code == "token-without-send"


@pytest.mark.parametrize("host", ["mail.example.net", "smtp.gmail.com", "smtp.office365.com"])
def test_a_refused_token_is_not_diagnosed_as_a_wrong_password(host: str) -> None:
    replies = {
        "smtp.office365.com": b"535 5.7.3 Authentication unsuccessful [AM0PR01CA0101.example]\r\n",
        "smtp.gmail.com": b"535-5.7.8 Username and Password not accepted.\r\n535 5.7.8 BadCredentials\r\n",
    }
    answer = {"AUTH": take_token(replies.get(host, REFUSED))}  # without a second 334
    with BadServer(lambda peer: serve_correctly(peer, answer, offers=BOTH)) as bad:
        failure, session = open_failure(bearer_server(bad.port))
    found = diagnose(failure, replace(session.server, host=host))
    assert (found.kind, found.retry_class) == ("consent", "settings")
    assert "app password" not in found.cause + " ".join(found.fixes)


def test_a_withdrawn_token_is_renewed_once() -> None:
    answers = iter([REFUSED, b"235 2.7.0 Accepted\r\n"])
    source = Source([TOKEN, "a-second-token"])
    with (
        BadServer(
            lambda peer: serve_correctly(
                peer, {"AUTH": lambda peer, line: take_token(next(answers))(peer, line)}, offers=BOTH
            )
        ) as bad,
        Session(bearer_server(bad.port, source)),
    ):
        assert bytes(bad.received).count(b"AUTH XOAUTH2\r\n") == 2
    refused = Source([TOKEN, "a-second-token"])
    with BadServer(lambda peer: serve_correctly(peer, {"AUTH": take_token(REFUSED)}, offers=BOTH)) as bad:
        open_failure(bearer_server(bad.port, refused))
        assert bytes(bad.received).count(b"AUTH XOAUTH2\r\n") == 2, "no third attempt"


def test_a_token_is_never_sent_in_plaintext() -> None:
    with BadServer(lambda peer: serve_correctly(peer, offers=BOTH, security=Security.PLAINTEXT)) as bad:
        failure, _ = open_failure(bearer_server(bad.port, security=Security.PLAINTEXT))
        assert failure.reason is Reason.AUTH_NEEDS_TLS
        assert b"AUTH" not in bad.received


def test_a_server_without_a_log_in_by_token_gets_no_token() -> None:
    with BadServer(lambda peer: serve_correctly(peer)) as bad:
        failure, session = open_failure(bearer_server(bad.port))
        assert failure.reason is Reason.MECHANISM_MISSING
        assert b"AUTH" not in bad.received
        found = diagnose(failure, session.server)
        assert found.code == "token-login-not-offered"
        failed = FailedAttempt(session.server, failure, found, None)
        assert find_fix(failed, sender="info@example.org", recipient="bob@example.net") is None
        assert b"AUTH" not in bad.received, "no fix says the token as a password"


@pytest.mark.parametrize(
    "replies",
    [
        (b"235 2.7.0 Accepted\r\n",),  # instead of the prompt
        (b"334 \r\n", refusal_json(), b"235 2.7.0 Accepted\r\n"),  # after the refusal
        (b"334 \r\n", b"250 ok\r\n"),
    ],
)
def test_only_a_235_after_the_token_is_a_success(replies: tuple[bytes, ...]) -> None:
    def answer(peer: Peer, _line: bytes) -> None:
        peer.send(replies[0])
        for reply in replies[1:]:
            peer.receive()
            peer.send(reply)

    with BadServer(lambda peer: serve_correctly(peer, {"AUTH": answer}, offers=BOTH)) as bad:
        failure, _ = open_failure(bearer_server(bad.port))
    assert failure.reason is Reason.GARBLED


def test_a_token_that_a_server_echoes_is_hidden() -> None:
    short = "canary-token-of-40-octets-aB3dE5fG7hJ9kL"
    echo = base64.b64encode(json.dumps({"status": "400", "scope": short, "seen": short}).encode())
    refusal = f"535 5.7.8 no: {short} {short[::-1]}\r\n".encode()
    answer = {"AUTH": take_token(b"334 " + echo + b"\r\n", refusal)}
    with BadServer(lambda peer: serve_correctly(peer, answer, offers=BOTH)) as bad:
        failure, session = open_failure(bearer_server(bad.port, Source([short])))
    shown = str(session.transcript) + str(failure) + repr(failure) + repr(session.server)
    shown += "".join(traceback.format_exception(failure))
    assert short not in shown
    assert short[::-1] not in shown
    assert echo.decode() not in shown
    assert "[hidden]" in str(session.transcript)


@pytest.mark.parametrize(
    "junk", [b"334 not base64!\r\n", b"334 \r\n", b"334 bm8ganNvbg==\r\n", b"334 e30=\r\n"]
)
def test_a_refusal_without_json_is_a_refusal(junk: bytes) -> None:
    answer = {"AUTH": take_token(junk, REFUSED)}
    with BadServer(lambda peer: serve_correctly(peer, answer, offers=BOTH)) as bad:
        failure, _ = open_failure(bearer_server(bad.port))
    assert failure.reason is Reason.REPLIED
    assert "token_status" not in failure.evidence


def test_a_failed_consent_dials_no_server() -> None:
    refused = SubmissionFailure(Stage.CONSENT, Reason.TOKEN_REFUSED, evidence={"error": "invalid_grant"})
    with BadServer(lambda peer: serve_correctly(peer)) as bad:
        failure, session = open_failure(bearer_server(bad.port, Source(failure=refused)))
        assert bad.connections == 0
    assert failure is refused
    assert [(one.stage, one.status.value) for one in session.stage_results] == [(Stage.CONSENT, "failed")]


def test_a_server_that_hangs_up_after_the_token_has_disconnected() -> None:
    def answer(peer: Peer, line: bytes) -> None:
        peer.send(b"334 \r\n")
        peer.receive()
        disconnect(peer, line)

    with BadServer(lambda peer: serve_correctly(peer, {"AUTH": answer}, offers=BOTH)) as bad:
        failure, _ = open_failure(bearer_server(bad.port))
    assert failure.reason is Reason.DISCONNECTED


@pytest.mark.parametrize("username", ["ada\x01@example.org", "ada\0", "ada\ud800", "ada\r\n"])
def test_a_username_that_would_end_its_field_is_refused_before_the_connection(username: str) -> None:
    with pytest.raises(ValueError, match="cannot be sent in a log-in"):
        Session(replace(bearer_server(1), username=username))
