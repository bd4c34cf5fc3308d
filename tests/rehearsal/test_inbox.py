"""The stored messages: listing, parsing and removal, for any content."""

import json
import os
import random
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage

import pytest

from portal.rehearsal import inbox, message_view, store

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


def _envelope(message_id, **changes):
    fields = {
        "id": message_id,
        "received_at": NOW.isoformat(),
        "sender": "ada@example.org",
        "recipients": ("grace@example.net",),
        "username": "ada@example.org",
        "tls": "TLSv1.3",
        "port": 2587,
    }
    return store.StoredEnvelope(**fields | changes)


def _save(folder, count):
    ids = [store.new_id(NOW + timedelta(seconds=number)) for number in range(count)]
    for message_id in ids:
        store.save(folder, _envelope(message_id), f"Subject: {message_id}\r\n\r\nHello\r\n".encode())
    return ids


def test_the_inbox_is_empty_before_the_first_message(tmp_path):
    page = inbox.list_messages(tmp_path / "nowhere")
    assert (page.messages, page.older, page.total) == ((), None, 0)
    assert inbox.delete_all(tmp_path / "nowhere") == 0


def test_pages_are_newest_first_and_neither_overlap_nor_skip(tmp_path):
    ids = _save(tmp_path, 7)
    seen, before = [], None
    while True:
        page = inbox.list_messages(tmp_path, before, size=3)
        assert page.total == 7
        seen += [message.id for message in page.messages]
        before = page.older
        if before is None:
            break
    assert seen == ids[::-1]


def test_older_pages_do_not_change_when_mail_arrives(tmp_path):
    ids = _save(tmp_path, 4)
    older = inbox.list_messages(tmp_path, size=2).older
    store.save(tmp_path, _envelope("F" * 18), b"")
    assert [message.id for message in inbox.list_messages(tmp_path, older, size=2).messages] == ids[1::-1]


def test_a_message_is_returned_with_its_envelope(tmp_path):
    mail = EmailMessage()
    mail["Subject"] = "Grüße ✉"
    mail["From"] = "Ada Größe <ada@example.org>"
    mail.set_content("Hello Jürgen")
    mail.add_alternative("<p>Hello <b>Jürgen</b></p>", subtype="html")
    message_id = store.new_id(NOW)
    store.save(tmp_path, _envelope(message_id), mail.as_bytes())
    message = inbox.get_message(tmp_path, message_id)
    assert message.view.header("subject") == "Grüße ✉"
    assert message.view.header("from") == "Ada Größe <ada@example.org>"
    assert message.view.text.strip() == "Hello Jürgen"
    assert message.view.html.strip() == "<p>Hello <b>Jürgen</b></p>"
    assert message.received_at == NOW
    assert (message.sender, message.recipients) == ("ada@example.org", ("grace@example.net",))
    assert (message.username, message.tls, message.port) == ("ada@example.org", "TLSv1.3", 2587)
    assert inbox.read_raw(tmp_path, message_id) == mail.as_bytes()


@pytest.mark.parametrize(
    "message_id", ["", ".", "..", "../x", "a/b", "x\0", "\N{LATIN SMALL LETTER E WITH ACUTE}", "A" * 300]
)
def test_an_invalid_id_is_not_found(tmp_path, message_id):
    folder = tmp_path / "inbox"
    folder.mkdir()
    (tmp_path / "x.eml").write_text("outside")
    assert inbox.get_message(folder, message_id) is None
    assert inbox.read_raw(folder, message_id) is None


def test_only_regular_files_are_read(tmp_path):
    (tmp_path / "secret").write_text("not mail")
    (tmp_path / "link.eml").symlink_to(tmp_path / "secret")
    (tmp_path / "folder.eml").mkdir()
    os.mkfifo(tmp_path / "pipe.eml")
    (tmp_path / ".half.eml.part").write_text("being written")
    assert inbox.list_messages(tmp_path).messages == ()
    assert inbox.get_message(tmp_path, "link") is None
    assert inbox.get_message(tmp_path, "pipe") is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0\xff\xfe",
        b"[" * 20_000,
        b"[]",
        b'"text"',
        b'{"recipients": 5, "port": "x", "received_at": 3, "sender": null, "tls": {}}',
        b'{"recipients": [null, 5, "\\ud800"], "port": 1e999, "received_at": "0001-01-01T00:00:00+14:00"}',
        b'{"received_at": "2026-01-01T00:00:00", "username": "\\udfff"}',
        b'{"port": ' + b"9" * 5000 + b"}",
    ],
)
def test_a_broken_envelope_leaves_the_message_readable(tmp_path, content):
    (tmp_path / "note.eml").write_bytes(b"Subject: Note\n\nHello")
    (tmp_path / "note.json").write_bytes(content)
    [message] = inbox.list_messages(tmp_path).messages
    assert message.view.header("subject") == "Note"
    assert message.received_at.tzinfo is UTC
    json.dumps([message.sender, *message.recipients, message.username]).encode()
    "".join([message.sender, *message.recipients, message.username, message.tls]).encode()


def test_a_message_without_envelope_has_its_files_modification_time(tmp_path):
    path = tmp_path / "note.eml"
    path.write_bytes(b"Subject: Note\n\nHello")
    os.utime(path, (NOW.timestamp(), NOW.timestamp()))
    assert inbox.get_message(tmp_path, "note").received_at == NOW


def test_deleting_all_messages_leaves_other_files(tmp_path):
    _save(tmp_path, 3)
    (tmp_path / "folder.eml").mkdir()
    (tmp_path / "readme.txt").write_text("stays")
    assert inbox.delete_all(tmp_path) == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder.eml", "readme.txt"]


@pytest.mark.parametrize(
    ("raw", "read"),
    [
        ("=?utf-8?q?Gr=C3=BC=C3=9Fe?=", "Grüße"),
        ("=?utf-8?b?R3LDvMOfZQ==?= and =?iso-8859-1?q?more_=FC?=", "Grüße and more ü"),
        ("=?utf-8?q?one?=\r\n =?utf-8?q?_two?=", "one two"),
        ("folded\r\n\tvalue", "folded value"),
        ("Gr\udcc3\udcbc\udcc3\udc9fe", "Grüße"),
        ("Gr\udcfc\udcdfe", "Grüße"),
        ("=?nonsense?q?abc?=", "abc"),
        ("=?utf-8?b?x?=", "=?utf-8?b?x?="),
        ("=?utf-8?q?=ff?=", "ÿ"),
        ("=?", "=?"),
    ],
)
def test_a_header_is_decoded_or_shown_as_it_is(raw, read):
    assert message_view.decode_header_value(raw) == read


@pytest.mark.parametrize(
    ("mail", "text", "html"),
    [
        (b"", "", None),
        (b"\n\nGr\xfc\xdfe", "\nGrüße", None),
        (b"Content-Type: text/html\n\n<p>", None, "<p>"),
        (b"Content-Type: text/plain; charset=nonsense\n\nGr\xc3\xbc\xc3\x9fe", "Grüße", None),
        (b"Content-Type: text/plain; charset*=x''%ff\n\nGr\xfc", "Grü", None),
        (b"Content-Type: text/plain; charset=zlib\n\nabc", "abc", None),
        (b"Content-Type: text/plain; charset=raw_unicode_escape\n\n\\ud800\0", "?\ufffd", None),
        (b"Content-Type: text/plain\nContent-Transfer-Encoding: base64\n\n!!!", "", None),
        (b"Content-Type: text/plain\nContent-Transfer-Encoding: x-uuencode\n\nbegin", "begin", None),
        (b"Content-Type: multipart/mixed\n\nno boundary", None, None),
        (b"Content-Type: \xff\xff/\xff\n\nx", None, None),
        (b"Content-Disposition: attachment\n\nx", None, None),
        (b"no headers at all", "no headers at all", None),
    ],
)
def test_a_body_is_shown_as_far_as_it_can_be_parsed(mail, text, html):
    view = message_view.parse_message(mail)
    assert (view.text, view.html) == (text, html)


def test_excessively_nested_parts_are_shown_as_text():
    nested = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(3000))
    assert message_view.parse_message(nested).text.startswith("Content-Type")


def test_an_oversized_message_is_truncated(tmp_path):
    (tmp_path / "long.eml").write_bytes(b"Subject: " + b"x" * 10**7)
    assert inbox.get_message(tmp_path, "long") is not None
    (tmp_path / "long.eml").write_bytes(b"A: b\n" * 10**5 + b"\n" + b"y" * 10**6)
    message = inbox.get_message(tmp_path, "long")
    assert len(message.view.text) < 10**6
    assert len(message.view.headers) < 10**4


def test_no_random_damage_raises(tmp_path):
    mail = EmailMessage()
    mail["Subject"] = "Grüße ✉ " * 5
    mail.set_content("Hällo\n" * 5)
    mail.add_alternative("<p>Hällo", subtype="html")
    mail.add_attachment(b"\0\1", maintype="image", subtype="png", filename="ä.png")
    intact, chance = mail.as_bytes(), random.Random(7)
    for _ in range(2000):
        broken = bytearray(intact)
        for _ in range(chance.randrange(1, 40)):
            place = chance.randrange(len(broken))
            broken[place : place + chance.randrange(3)] = chance.randbytes(chance.randrange(3))
        view = message_view.parse_message(bytes(broken))
        for part in [view.text or "", view.html or "", *(a + b for a, b in view.headers)]:
            part.encode()
