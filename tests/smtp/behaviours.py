"""The table of faulty and correct servers, each with the outcome that the engine must report."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from portal.smtp.failure import Reason, Stage
from portal.smtp.server import Mechanism, Security

from .badserver import (
    MESSAGE,
    OFFER,
    Answer,
    Peer,
    Script,
    disconnect,
    in_pieces,
    mute,
    receive_message,
    repeat_endlessly,
    send_slowly,
    serve_correctly,
    then_disconnect,
)

PIPELINING = (*OFFER, b"PIPELINING")


@dataclass(frozen=True)
class Behaviour:
    """A script and the expected outcome. ``stage`` None: accepted. ``secret``: the server receives the password."""

    name: str
    script: Script
    stage: Stage | None = None
    reason: Reason | None = None
    code: int | None = None
    ambiguous: bool = False
    secret: bool = False
    kept: bool = False  # whether the connection can carry the next message
    security: Security = Security.STARTTLS
    mechanism: Mechanism = Mechanism.AUTOMATIC
    username: bool = True


def _answers(answers: Mapping[str, Answer], offers: tuple[bytes, ...] = OFFER, **more: object) -> Script:
    return partial(serve_correctly, answers=answers, offers=offers, **more)  # type: ignore[arg-type]


def _second_ehlo(answer: Answer) -> Script:
    """Answer the plaintext EHLO correctly and the EHLO after STARTTLS with ``answer``."""

    def script(peer: Peer) -> None:
        peer.send(b"220 hi\r\n")
        peer.receive()
        peer.send(b"250-hi\r\n250 STARTTLS\r\n")
        peer.receive()
        peer.send(b"220 go\r\n")
        peer.encrypt()
        serve_correctly(peer, {"GREETING": b"", "EHLO": answer}, security=Security.PLAINTEXT)

    return script


def _injected(peer: Peer) -> None:
    peer.send(b"220 hi\r\n")
    peer.receive()
    peer.send(b"250-hi\r\n250 STARTTLS\r\n")
    peer.receive()
    peer.send(b"220 go\r\n250-hi\r\n250 AUTH PLAIN\r\n")
    peer.read_until_closed()


def _banner(data: bytes) -> Script:
    def script(peer: Peer) -> None:
        peer.send(data)
        peer.read_until_closed()

    return script


def _web_server(peer: Peer) -> None:
    """Send a valid greeting, then behave like a web server."""
    peer.send(b"220 \r\n")
    peer.receive()
    peer.send(b"HTTP/1.1 400 Bad Request\r\nServer: intranet-wiki\r\n\r\n")
    peer.read_until_closed()


def _tls_at_once(peer: Peer) -> None:
    peer.encrypt()


def _login_prompts(*prompts: bytes, last: bytes = b"235 2.7.0 ok\r\n") -> Callable[[Peer, bytes], None]:
    def answer(peer: Peer, _line: bytes) -> None:
        for prompt in prompts:
            peer.send(prompt)
            peer.receive()
        peer.send(last)

    return answer


def _accept_data_after_refusal(peer: Peer, _line: bytes) -> None:
    peer.send(b"354 go ahead\r\n")
    receive_message(peer)


def _refuse_early(peer: Peer, _line: bytes) -> None:
    peer.send(b"354 go ahead\r\n")
    peer.receive(b"Subject")
    peer.send(b"552 5.3.4 too big\r\n")
    peer.receive(b"\r\n.\r\n")


_BAD_TEXT = b"250-<script>alert(1)</script>\x1b[31m\xff\xfe \xe2\x80\xae\r\n250 2.1.0 \x07ok\x00\r\n"
_LOGIN_ONLY = (b"SIZE 100000", b"AUTH LOGIN")


def _disconnects() -> list[Behaviour]:
    at = [
        ("GREETING", Stage.GREETING, False),
        ("EHLO", Stage.EHLO, False),
        ("STARTTLS", Stage.TLS, False),
        ("AUTH", Stage.AUTH, True),
        ("MAIL", Stage.MAIL, True),
        ("RCPT", Stage.RCPT, True),
        ("DATA", Stage.DATA, True),
    ]
    disconnecting = [
        Behaviour(
            f"disconnects at {verb}", _answers({verb: disconnect}), stage, Reason.DISCONNECTED, secret=secret
        )
        for verb, stage, secret in at
    ]
    mute_at = [
        Behaviour(f"stops replying at {verb}", _answers({verb: mute}), stage, Reason.TIMED_OUT, secret=secret)
        for verb, stage, secret in at
    ]
    replying_421 = [
        Behaviour(
            f"replies 421 at {verb}",
            _answers({verb: then_disconnect(b"421 4.3.2 closing\r\n")}),
            stage,
            Reason.REPLIED,
            421,
            secret=secret,
        )
        for verb, stage, secret in at
    ]
    return disconnecting + mute_at + replying_421


def _refusals() -> list[Behaviour]:
    at = [("MAIL", Stage.MAIL), ("RCPT", Stage.RCPT), ("DATA", Stage.DATA), ("DOT", Stage.DATA)]
    return [
        Behaviour(
            f"replies {code} at {verb}{' under pipelining' if offers is PIPELINING else ''}",
            _answers({verb: b"%d %d.7.1 no\r\n" % (code, code // 100)}, offers),
            stage,
            Reason.REPLIED,
            code,
            secret=True,
            # This server accepts pipelined DATA although MAIL or RCPT was refused; the session closes then.
            kept=offers is OFFER or verb in ("DATA", "DOT"),
        )
        for verb, stage in at
        for code in (550, 451)
        for offers in (OFFER, PIPELINING)
    ]


def _certificates() -> list[Behaviour]:
    reasons = {
        "untrusted": Reason.CERTIFICATE_UNTRUSTED,
        "wrong name": Reason.CERTIFICATE_NAME,
        "expired": Reason.CERTIFICATE_EXPIRED,
    }
    return [
        Behaviour(
            f"{certificate} certificate with {security}",
            partial(serve_correctly, security=security, certificate=certificate),
            Stage.TLS,
            reason,
            security=security,
        )
        for certificate, reason in reasons.items()
        for security in (Security.STARTTLS, Security.IMPLICIT_TLS)
    ]


def _banners() -> list[Behaviour]:
    banners = {
        "HTTP": b"HTTP/1.1 400 Bad Request\r\n\r\n",
        "IMAP": b"* OK [CAPABILITY IMAP4rev1] intranet-wiki ready\r\n",
        "POP3": b"+OK intranet-wiki ready\r\n",
        "SSH": b"SSH-2.0-OpenSSH_9.2p1 intranet-wiki\r\n",
        "NNTP": b"200 intranet-wiki news\r\n",
        "a TLS alert": b"\x15\x03\x01\x00\x02\x02\x46",
        "other text": b"intranet-wiki hello\r\n",
    }
    return [
        Behaviour(f"greets with {name}", _banner(data), Stage.GREETING, Reason.NOT_SMTP)
        for name, data in banners.items()
    ]


def _floods() -> list[Behaviour]:
    return [
        Behaviour(
            "sends its greeting slowly", _answers({"GREETING": send_slowly}), Stage.GREETING, Reason.TIMED_OUT
        ),
        Behaviour(
            "replies slowly to MAIL",
            _answers({"MAIL": send_slowly}),
            Stage.MAIL,
            Reason.TIMED_OUT,
            secret=True,
        ),
        Behaviour(
            "sends an endless greeting",
            _answers({"GREETING": repeat_endlessly(b"220-hi\r\n")}),
            Stage.GREETING,
            Reason.TOO_MUCH,
        ),
        Behaviour(
            "sends an endless EHLO reply",
            _answers({"EHLO": repeat_endlessly(b"250-X\r\n")}),
            Stage.EHLO,
            Reason.TOO_MUCH,
        ),
        Behaviour(
            "sends an endless EHLO reply under TLS",
            _second_ehlo(repeat_endlessly(b"250-XYZ\r\n")),
            Stage.EHLO,
            Reason.TOO_MUCH,
        ),
        Behaviour(
            "sends a line of 10 MB",
            _answers({"MAIL": b"250 " + b"x" * 10_000_000}),
            Stage.MAIL,
            Reason.TOO_MUCH,
            secret=True,
        ),
        Behaviour(
            "sends zeros",
            _answers({"GREETING": repeat_endlessly(b"\0" * 400)}),
            Stage.GREETING,
            Reason.TOO_MUCH,
        ),
    ]


def _tls() -> list[Behaviour]:
    implicit = Security.IMPLICIT_TLS
    return [
        Behaviour("injects replies after STARTTLS", _injected, Stage.TLS, Reason.GARBLED),
        Behaviour(
            "offers no STARTTLS", _answers({"EHLO": b"250 hi\r\n"}), Stage.TLS, Reason.STARTTLS_MISSING
        ),
        Behaviour(
            "refuses STARTTLS", _answers({"STARTTLS": b"454 4.7.0 no\r\n"}), Stage.TLS, Reason.REPLIED, 454
        ),
        Behaviour(
            "sends no TLS after 220",
            _answers(
                {
                    "STARTTLS": lambda peer, _: (
                        peer.send(b"220 go\r\n"),
                        peer.pause(0.1),
                        peer.send(b"oops\r\n"),
                    )
                }
            ),
            Stage.TLS,
            Reason.TLS_NOT_SPOKEN,
        ),
        Behaviour("starts TLS at once", _tls_at_once, Stage.GREETING, Reason.TIMED_OUT),
        Behaviour(
            "sends plaintext instead of TLS",
            serve_correctly,
            Stage.TLS,
            Reason.TLS_NOT_SPOKEN,
            security=implicit,
        ),
        Behaviour(
            "disconnects at the TLS handshake", disconnect, Stage.TLS, Reason.DISCONNECTED, security=implicit
        ),
        Behaviour("is mute at the TLS handshake", mute, Stage.TLS, Reason.TIMED_OUT, security=implicit),
        Behaviour(
            "disconnects at the EHLO under TLS", _second_ehlo(disconnect), Stage.EHLO, Reason.DISCONNECTED
        ),
    ]


def _log_ins() -> list[Behaviour]:
    def auth(name: str, answer: Answer, reason: Reason, code: int | None = None, **more: object) -> Behaviour:
        return Behaviour(name, _answers({"AUTH": answer}), Stage.AUTH, reason, code, secret=True, **more)  # type: ignore[arg-type]

    def login(name: str, answer: Answer, *outcome: object, **more: object) -> Behaviour:
        return Behaviour(name, _answers({"AUTH": answer}, _LOGIN_ONLY), *outcome, **more)  # type: ignore[arg-type]

    return [
        auth("replies 535 to AUTH", b"535 5.7.8 bad credentials\r\n", Reason.REPLIED, 535),
        auth(
            "replies 534 to AUTH",
            b"534-5.7.9 Application-specific password\r\n534 5.7.9 required\r\n",
            Reason.REPLIED,
            534,
        ),
        auth("replies 454 to AUTH", b"454 4.7.0 later\r\n", Reason.REPLIED, 454),
        auth("replies 250 to AUTH", b"250 ok\r\n", Reason.GARBLED, 250),
        auth("answers AUTH PLAIN with a challenge", b"334 \r\n", Reason.GARBLED, 334),
        Behaviour("offers no AUTH", _answers({}, (b"8BITMIME",)), Stage.AUTH, Reason.AUTH_MISSING),
        Behaviour(
            "offers GSSAPI only", _answers({}, (b"AUTH GSSAPI",)), Stage.AUTH, Reason.MECHANISM_MISSING
        ),
        Behaviour("offers AUTH=LOGIN only", _answers({}, (b"AUTH=LOGIN",)), secret=True, kept=True),
        Behaviour(
            "does not offer the chosen mechanism",
            _answers({}),
            Stage.AUTH,
            Reason.MECHANISM_MISSING,
            mechanism=Mechanism.CRAM_MD5,
        ),
        login(
            "LOGIN with unusual prompts",
            _login_prompts(b"334\r\n", b"334 ???\r\n"),
            secret=True,
            kept=True,
        ),
        login("235 without a prompt", b"235 ok\r\n", Stage.AUTH, Reason.GARBLED, 235, secret=False),
        login(
            "235 before the password",
            _login_prompts(b"334 VXNlcm5hbWU6\r\n"),
            Stage.AUTH,
            Reason.GARBLED,
            235,
            secret=False,
        ),
        login(
            "a third prompt",
            _login_prompts(b"334 a\r\n", b"334 b\r\n", last=b"334 c\r\n"),
            Stage.AUTH,
            Reason.GARBLED,
            334,
            secret=True,
        ),
        login(
            "refuses the username",
            _login_prompts(b"334 a\r\n", last=b"535 5.7.8 no\r\n"),
            Stage.AUTH,
            Reason.REPLIED,
            535,
            secret=False,
        ),
        Behaviour(
            "530 at MAIL",
            _answers({"MAIL": b"530 5.7.0 log in\r\n"}),
            Stage.MAIL,
            Reason.REPLIED,
            530,
            username=False,
            kept=True,
        ),
    ]


def _messages() -> list[Behaviour]:
    def data(
        name: str, answers: Mapping[str, Answer], offers: tuple[bytes, ...], *outcome: object, **more: object
    ) -> Behaviour:
        return Behaviour(name, _answers(answers, offers), *outcome, secret=True, **more)  # type: ignore[arg-type]

    too_small = (b"SIZE %d" % (len(MESSAGE) - 1), b"AUTH PLAIN")
    return [
        data("is correct", {}, OFFER, kept=True),
        data("is correct and offers PIPELINING", {}, PIPELINING, kept=True),
        data(
            "replies in very small segments",
            {"MAIL": in_pieces(b"250-2.1.0 so\r\n250 2.1.0 ok\r\n")},
            OFFER,
            kept=True,
        ),
        data("replies with markup and control characters", {"MAIL": _BAD_TEXT}, OFFER, kept=True),
        data("ends lines with a bare LF", {"MAIL": b"250 ok\n"}, OFFER, kept=True),
        data("replies 252 to RCPT", {"RCPT": b"252 will try\r\n"}, OFFER, kept=True),
        data(
            "disconnects after the final dot",
            {"DOT": disconnect},
            OFFER,
            Stage.DATA,
            Reason.DISCONNECTED,
            ambiguous=True,
        ),
        data(
            "is mute after the final dot", {"DOT": mute}, OFFER, Stage.DATA, Reason.TIMED_OUT, ambiguous=True
        ),
        data(
            "sends garbage after the final dot",
            {"DOT": b"what?\r\n"},
            OFFER,
            Stage.DATA,
            Reason.GARBLED,
            ambiguous=True,
        ),
        data(
            "replies 354 after the final dot",
            {"DOT": b"354 more\r\n"},
            OFFER,
            Stage.DATA,
            Reason.GARBLED,
            354,
            ambiguous=True,
        ),
        data(
            "replies 421 after the final dot",
            {"DOT": b"421 4.3.0 no\r\n"},
            OFFER,
            Stage.DATA,
            Reason.REPLIED,
            421,
        ),
        data(
            "refuses during the message",
            {"DATA": _refuse_early},
            OFFER,
            Stage.DATA,
            Reason.REPLIED,
            552,
            kept=True,
        ),
        data("accepts the message twice", {"DOT": b"250 ok\r\n250 ok again\r\n"}, OFFER),
        data("mixes codes in one reply", {"MAIL": b"250-a\r\n550 b\r\n"}, OFFER, Stage.MAIL, Reason.GARBLED),
        data(
            "sends two replies to MAIL",
            {"MAIL": b"250 ok\r\n250 ok\r\n"},
            OFFER,
            Stage.RCPT,
            Reason.GARBLED,
            250,
        ),
        data("replies 250 to DATA", {"DATA": b"250 ok\r\n"}, OFFER, Stage.DATA, Reason.GARBLED, 250),
        data("replies 354 to RCPT", {"RCPT": b"354 go\r\n"}, OFFER, Stage.RCPT, Reason.GARBLED, 354),
        data("replies 199 to MAIL", {"MAIL": b"199 hm\r\n"}, OFFER, Stage.MAIL, Reason.GARBLED),
        data("accepts only smaller messages", {}, too_small, Stage.MAIL, Reason.MESSAGE_TOO_BIG, kept=True),
        data(
            "pipelined replies out of order",
            {"MAIL": b"354 go\r\n", "DATA": b"250 ok\r\n"},
            PIPELINING,
            Stage.MAIL,
            Reason.GARBLED,
            354,
        ),
        data(
            "pipelined RCPT refused, DATA refused too",
            {"RCPT": b"550 5.1.1 no\r\n", "DATA": b"554 5.5.1 no recipients\r\n"},
            PIPELINING,
            Stage.RCPT,
            Reason.REPLIED,
            550,
            kept=True,
        ),
        data(
            "pipelined MAIL refused, RCPT and DATA refused too",
            {"MAIL": b"550 5.7.1 no\r\n", "RCPT": b"503 5.5.1 no\r\n", "DATA": b"503 5.5.1 no\r\n"},
            PIPELINING,
            Stage.MAIL,
            Reason.REPLIED,
            550,
            kept=True,
        ),
        data(
            "pipelined RCPT refused, then disconnects",
            {"RCPT": then_disconnect(b"550 5.1.1 no\r\n")},
            PIPELINING,
            Stage.RCPT,
            Reason.REPLIED,
            550,
        ),
        data(
            "pipelined replies stop after MAIL",
            {"RCPT": mute},
            PIPELINING,
            Stage.RCPT,
            Reason.TIMED_OUT,
        ),
        data(
            "pipelined RCPT refused, DATA accepted",
            {"RCPT": b"550 5.1.1 no\r\n", "DATA": _accept_data_after_refusal},
            PIPELINING,
            Stage.RCPT,
            Reason.REPLIED,
            550,
        ),
    ]


BEHAVIOURS: tuple[Behaviour, ...] = (
    Behaviour("is mute after the connect", mute, Stage.GREETING, Reason.TIMED_OUT),
    Behaviour(
        "greets with 554",
        _answers({"GREETING": b"554 5.7.1 blocked\r\n"}),
        Stage.GREETING,
        Reason.REPLIED,
        554,
    ),
    Behaviour("refuses EHLO", _answers({"EHLO": b"502 5.5.1 what?\r\n"}), Stage.EHLO, Reason.REPLIED, 502),
    Behaviour("is a web server", _web_server, Stage.EHLO, Reason.NOT_SMTP),
    *_banners(),
    *_floods(),
    *_disconnects(),
    *_tls(),
    *_certificates(),
    *_log_ins(),
    *_refusals(),
    *_messages(),
)
