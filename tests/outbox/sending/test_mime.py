"""Whatever the words are, the standard library reads back what was meant, and nothing that was not."""

from __future__ import annotations

import re
import time
from email import message_from_bytes
from email.header import decode_header, make_header
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from email.utils import parseaddr

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from portal.outbox.sending.mime import MessageRefused, mailbox_header, serialise
from portal.smtp.mailbox import is_header_safe
from portal.smtp.protocol.envelope import dot_stuff

HEADERS = {
    "From": mailbox_header("Ada Lovelace", "info@example.org"),
    "To": mailbox_header("Bob", "bob@example.net"),
    "Subject": "Welcome",
    "Date": "Mon, 05 Jan 2026 10:00:00 +0000",
    "Message-ID": "<0123456789abcdef01234567@example.org>",
    "Auto-Submitted": "auto-generated",
}
OURS = {"mime-version", "content-type", "content-transfer-encoding"}

# Text as people and attackers write it: all of Unicode, with what is special to mail made likely.
ODD = [
    "=?utf-8?q?x?=",
    "=?",
    "?=",
    "=",
    "_",
    '"',
    "\\",
    "<",
    ">",
    ",",
    "  ",
    " ",
    "@",
    ":",
    "ü",
    "日本語",
    "👩‍🚀",
    "é",
    ".",
]
UNICODE = st.text(max_size=60)
MIXED = st.lists(st.sampled_from(ODD) | st.text(max_size=8), max_size=14).map("".join)
VALUES = (UNICODE | MIXED | st.text(alphabet="ab c", max_size=300)).filter(is_header_safe)
LINES = st.lists(
    UNICODE
    | MIXED
    | st.sampled_from([".", "..", "From x", "--", "a" * 2000, " ", "\t", "x " * 38 + " ", "\x00"]),
    max_size=8,
)
BODIES = st.tuples(LINES, st.sampled_from(["\n", "\r\n", "\r"])).map(lambda drawn: drawn[1].join(drawn[0]))


def read(raw: bytes) -> EmailMessage:
    return message_from_bytes(raw, policy=SMTP)  # type: ignore[return-value]


def as_meant(body: str) -> str:
    lines = (
        body.replace("\r\n", "\n").replace("\r", "\n").replace("\x00", "").encode("utf-8", "replace").decode()
    )
    return lines if lines.endswith("\n") else lines + "\n"


def content(part: EmailMessage) -> str:
    assert part["Content-Transfer-Encoding"] == "quoted-printable"
    payload = part.get_payload(decode=True)
    assert isinstance(payload, bytes)
    text = payload.decode(part.get_content_charset() or "")
    assert not re.search(r"\r(?!\n)|(?<!\r)\n", text)
    return text.replace("\r\n", "\n")


def display_name(raw: bytes) -> str:
    """Read it the older way: the modern parser leaves spaces between the encoded words of a long name."""
    shown, _ = parseaddr(str(message_from_bytes(raw)["To"]).replace("\r\n", ""))
    return str(make_header(decode_header(shown)))


def assert_fit_to_travel(raw: bytes, limit: int = 998) -> None:
    assert raw.count(b"\r") == raw.count(b"\n") == raw.count(b"\r\n")
    assert b"\0" not in raw
    assert max(map(len, raw.split(b"\r\n"))) <= limit


@given(subject=VALUES, name=VALUES, text=BODIES, html=BODIES)
@example(subject=" leading and trailing ", name="=?utf-8?q?evil?=", text="", html="")
@example(subject="x" * 2000, name="y" * 400, text="=\n" * 3, html="<p>" + "=20" * 40)
@example(subject="word " * 100, name='"quoted" \\ name', text=".\n..\n.x", html="From me")
@example(
    subject="Grüße " * 40, name="Jürgen Müller, GmbH & Co. <x@evil.example>", text="ü" * 500, html="é " * 200
)
@settings(max_examples=400, deadline=None)
def test_any_text_is_read_back_as_it_was_written(subject: str, name: str, text: str, html: str) -> None:
    headers = HEADERS | {"Subject": subject, "To": mailbox_header(name, "bob@example.net")}
    raw = serialise(headers, text, html)
    assert_fit_to_travel(raw)

    message = read(raw)
    assert [key.lower() for key in message if key.lower() not in OURS] == [key.lower() for key in headers]
    assert message["Subject"] == subject
    assert [address.addr_spec for address in message["To"].addresses] == ["bob@example.net"]
    assert display_name(raw) == name
    assert not [defect for part in message.walk() for defect in part.defects]
    parts = list(message.iter_parts()) if html else [message]
    assert [part.get_content_type() for part in parts] == ["text/plain", "text/html"][: len(parts)]
    assert [content(part) for part in parts] == [as_meant(body) for body in (text, html)[: len(parts)]]


@given(text=BODIES, html=BODIES)
@example(text="", html="00=\x08\x80\x80\x80\x80\x80𐀀𐀀𐀀 ")  # a space where a full line ends
@settings(max_examples=150, deadline=None)
def test_what_travels_is_what_was_composed(text: str, html: str) -> None:
    raw = serialise(HEADERS, text, html)
    travelling = dot_stuff(raw).removesuffix(b"\r\n.\r\n").split(b"\r\n")
    assert b"." not in travelling
    assert b"\r\n".join(line.removeprefix(b".") for line in travelling) + b"\r\n" == raw
    assert all(len(line) <= 76 for line in raw.partition(b"\r\n\r\n")[2].split(b"\r\n"))


@given(
    value=st.text(max_size=40).filter(lambda value: not is_header_safe(value)),
    where=st.sampled_from(sorted(HEADERS)),
)
def test_no_header_takes_a_control_character(value: str, where: str) -> None:
    with pytest.raises(MessageRefused):
        serialise(HEADERS | {where: value}, "x", "")


@pytest.mark.parametrize(
    "bad",
    [
        {"From": "no mailbox"},
        {"From": "Ada <a@b> <c@d>"},
        {"To": "a@example.org, b@example.org"},
        {"To": "Bob <bob@example.net>, Eve <eve@example.net>"},
        {"Message-ID": "<ü@example.org>"},
        {"X: y": "z"},
        {"subject": "twice"},
        {"Content-Type": "text/html"},
        {"MIME-Version": "1.0"},
        {"Bcc:": "x"},
        {"X-Token": "x" * 999},
        {"": "x"},
    ],
)
def test_headers_that_would_not_say_what_they_seem_to_are_refused(bad: dict[str, str]) -> None:
    with pytest.raises(MessageRefused):
        serialise(HEADERS | bad, "x", "<p>x</p>")


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("", "a@example.org"),
        ("Ada", "Ada <a@example.org>"),
        ("Lovelace, Ada", '"Lovelace, Ada" <a@example.org>'),
        ('The "Countess"', '"The \\"Countess\\"" <a@example.org>'),
        ("Jürgen", "Jürgen <a@example.org>"),
    ],
)
def test_a_mailbox_is_shown_as_people_write_it(name: str, shown: str) -> None:
    assert mailbox_header(name, "a@example.org") == shown == str(Address(name, addr_spec="a@example.org"))


def test_an_address_beyond_ascii_stays_readable_for_servers_that_know_it() -> None:
    raw = serialise(HEADERS | {"To": mailbox_header("Jürgen", "jürgen@example.net")}, "x", "")
    message = message_from_bytes(raw, policy=SMTPUTF8)
    assert "jürgen@example.net".encode() in raw
    assert message["To"].addresses[0].display_name == "Jürgen"


def test_headers_stay_short_and_plain_where_they_can() -> None:
    raw = serialise(HEADERS | {"Subject": "Your commission for November, well earned" * 4}, "x", "<p>x</p>")
    head = raw.partition(b"\r\n\r\n")[0]
    assert max(map(len, head.split(b"\r\n"))) <= 78
    assert b"=?" not in head
    assert b"To: Bob <bob@example.net>\r\n" in head


def test_composing_is_fast_enough_for_a_queue() -> None:
    text = "Hello Jürgen,\n\n" + "You earned a commission of 12.50 EUR today, well done.\n" * 22
    html = (
        "<p>Hello Jürgen,</p>\n"
        + "<p>You earned a commission of <b>12.50 EUR</b> today, well done.</p>\n" * 28
    )
    best = min(_seconds(text, html) for _ in range(5))
    assert best < 0.0005  # the standard library's composer alone takes more than a millisecond


def _seconds(text: str, html: str) -> float:
    started = time.perf_counter()
    for _ in range(20):
        serialise(HEADERS, text, html)
    return (time.perf_counter() - started) / 20
