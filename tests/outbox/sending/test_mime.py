"""Property tests: the standard library parses every serialised message back unchanged, with no additional content."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from email import message_from_bytes
from email.header import decode_header, make_header
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from email.utils import parseaddr
from types import FrameType

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
MIME_HEADERS = {"mime-version", "content-type", "content-transfer-encoding"}

# Text of users and attackers: all of Unicode, with sequences that are special in mail made likely.
SPECIAL = [
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
MIXED = st.lists(st.sampled_from(SPECIAL) | st.text(max_size=8), max_size=14).map("".join)
VALUES = (UNICODE | MIXED | st.text(alphabet="ab c", max_size=300)).filter(is_header_safe)
LINES = st.lists(
    UNICODE
    | MIXED
    | st.sampled_from([".", "..", "From x", "--", "a" * 2000, " ", "\t", "x " * 38 + " ", "\x00"]),
    max_size=8,
)
BODIES = st.tuples(LINES, st.sampled_from(["\n", "\r\n", "\r"])).map(lambda drawn: drawn[1].join(drawn[0]))


def parse(raw: bytes) -> EmailMessage:
    return message_from_bytes(raw, policy=SMTP)  # type: ignore[return-value]


def normalised(body: str) -> str:
    """Return a body as it should be parsed back: LF line endings, no NUL, a line ending at the end."""
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
    """Return the display name by the legacy parser: the modern one leaves spaces between encoded words."""
    shown, _ = parseaddr(str(message_from_bytes(raw)["To"]).replace("\r\n", ""))
    return str(make_header(decode_header(shown)))


def assert_is_transmittable(raw: bytes, line_octets: int = 998) -> None:
    """Check line endings, NUL and the length of lines (RFC 5322 section 2.1.1)."""
    assert raw.count(b"\r") == raw.count(b"\n") == raw.count(b"\r\n")
    assert b"\0" not in raw
    assert max(map(len, raw.split(b"\r\n"))) <= line_octets


@given(subject=VALUES, name=VALUES, text=BODIES, html=BODIES)
@example(subject=" leading and trailing ", name="=?utf-8?q?evil?=", text="", html="")
@example(subject="x" * 2000, name="y" * 400, text="=\n" * 3, html="<p>" + "=20" * 40)
@example(subject="word " * 100, name='"quoted" \\ name', text=".\n..\n.x", html="From me")
@example(
    subject="Grüße " * 40, name="Jürgen Müller, GmbH & Co. <x@evil.example>", text="ü" * 500, html="é " * 200
)
@settings(max_examples=400, deadline=None)
def test_any_text_is_parsed_back_unchanged(subject: str, name: str, text: str, html: str) -> None:
    headers = HEADERS | {"Subject": subject, "To": mailbox_header(name, "bob@example.net")}
    raw = serialise(headers, text, html)
    assert_is_transmittable(raw)

    message = parse(raw)
    assert [key.lower() for key in message if key.lower() not in MIME_HEADERS] == [
        key.lower() for key in headers
    ]
    assert message["Subject"] == subject
    assert [address.addr_spec for address in message["To"].addresses] == ["bob@example.net"]
    assert display_name(raw) == name
    assert not [defect for part in message.walk() for defect in part.defects]
    parts = list(message.iter_parts()) if html else [message]
    assert [part.get_content_type() for part in parts] == ["text/plain", "text/html"][: len(parts)]
    assert [content(part) for part in parts] == [normalised(body) for body in (text, html)[: len(parts)]]


@given(text=BODIES, html=BODIES)
@example(text="", html="00=\x08\x80\x80\x80\x80\x80𐀀𐀀𐀀 ")  # a space where a full line ends
@settings(max_examples=150, deadline=None)
def test_dot_stuffing_is_reversible_and_no_line_ends_the_message_early(text: str, html: str) -> None:
    raw = serialise(HEADERS, text, html)
    lines = dot_stuff(raw).removesuffix(b"\r\n.\r\n").split(b"\r\n")
    assert b"." not in lines
    assert b"\r\n".join(line.removeprefix(b".") for line in lines) + b"\r\n" == raw
    assert all(len(line) <= 76 for line in raw.partition(b"\r\n\r\n")[2].split(b"\r\n"))


@given(
    value=st.text(max_size=40).filter(lambda value: not is_header_safe(value)),
    header=st.sampled_from(sorted(HEADERS)),
)
def test_a_control_character_in_any_header_is_refused(value: str, header: str) -> None:
    with pytest.raises(MessageRefused):
        serialise(HEADERS | {header: value}, "x", "")


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
def test_invalid_duplicate_and_ambiguous_headers_are_refused(bad: dict[str, str]) -> None:
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
def test_a_mailbox_header_equals_that_of_the_standard_library(name: str, shown: str) -> None:
    assert mailbox_header(name, "a@example.org") == shown == str(Address(name, addr_spec="a@example.org"))


def test_a_non_ascii_address_stays_utf8_for_servers_with_smtputf8() -> None:
    raw = serialise(HEADERS | {"To": mailbox_header("Jürgen", "jürgen@example.net")}, "x", "")
    message = message_from_bytes(raw, policy=SMTPUTF8)
    assert "jürgen@example.net".encode() in raw
    assert message["To"].addresses[0].display_name == "Jürgen"


def test_ascii_headers_are_folded_and_not_encoded() -> None:
    raw = serialise(HEADERS | {"Subject": "Your commission for November, well earned" * 4}, "x", "<p>x</p>")
    head = raw.partition(b"\r\n\r\n")[0]
    assert max(map(len, head.split(b"\r\n"))) <= 78
    assert b"=?" not in head
    assert b"To: Bob <bob@example.net>\r\n" in head


def test_serialising_takes_a_fraction_of_the_calls_of_the_standard_library() -> None:
    text = "Hello Jürgen,\n\n" + "You earned a commission of 12.50 EUR today, well done.\n" * 22
    html = (
        "<p>Hello Jürgen,</p>\n"
        + "<p>You earned a commission of <b>12.50 EUR</b> today, well done.</p>\n" * 28
    )
    assert 20 * _count_calls(lambda: serialise(HEADERS, text, html)) < _count_calls(
        lambda: _serialise_by_the_standard_library(text, html)
    )


def _serialise_by_the_standard_library(text: str, html: str) -> bytes:
    message = EmailMessage()
    for name, value in HEADERS.items():
        message[name] = value
    message.set_content(text)
    message.add_alternative(html, subtype="html")
    return message.as_bytes(policy=SMTP)


def _count_calls(function: Callable[[], object]) -> int:
    """Return how many calls of Python and C functions ``function`` makes, which no load of the machine changes."""
    function()  # fills caches
    count = 0

    def profile(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(profile)
    try:
        function()
    finally:
        sys.setprofile(None)
    return count
