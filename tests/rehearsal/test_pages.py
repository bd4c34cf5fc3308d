import dataclasses

import pytest

from portal.rehearsal import store
from portal.rehearsal.faults import FAULTS
from portal.rehearsal.listeners import LISTENERS
from portal.state import get_state

MAIL = (
    b"From: Ada <ada@example.org>\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?= <b>\r\nMIME-Version: 1.0\r\n"
    b"Content-Type: multipart/alternative; boundary=x\r\n\r\n"
    b"--x\r\nContent-Type: text/plain\r\n\r\nHello <text>\r\n"
    b"--x\r\nContent-Type: text/html\r\n\r\n<p onclick='x()'>Hello HTML</p>\r\n--x--\r\n"
)
IDENT = "0123456789ABCDEF01"
PAGES = [
    "/rehearsal/inbox",
    f"/rehearsal/inbox/{IDENT}",
    f"/rehearsal/inbox/{IDENT}/html",
    f"/rehearsal/inbox/{IDENT}/raw",
    "/rehearsal/faults",
]


@pytest.fixture
def kept(app):
    """One received message; returns the folder it lies in."""
    folder = store.folder(get_state(app).config)
    envelope = store.Envelope(
        id=IDENT,
        received_at="2026-03-04T05:06:07+00:00",
        sender="bounces@example.org",
        recipients=("grace@example.net",),
        username="ada@example.org",
        tls="TLSv1.3",
        port=2587,
    )
    store.keep(folder, envelope, MAIL)
    return folder


def _body(response):
    assert response.status_code == 200
    return response.get_data(as_text=True)


@pytest.mark.parametrize("url", PAGES)
@pytest.mark.usefixtures("kept")
def test_nobody_sees_a_page_without_a_log_in(client, url):
    response = client.get(url)
    assert response.status_code in {302, 303}
    assert "/rehearsal" not in response.headers["Location"].partition("?")[0]


def test_nobody_empties_the_inbox_without_a_log_in(client, kept):
    client.post("/rehearsal/inbox/clear")
    assert (kept / f"{IDENT}.eml").exists()


@pytest.mark.parametrize("url", PAGES)
def test_the_pages_do_not_exist_where_the_rehearsal_is_off(app, owner, kept, url):
    config = get_state(app).config
    assert owner.get(url).status_code == 200
    get_state(app).config = dataclasses.replace(config, rehearsal=False)
    assert owner.get(url).status_code == 404


def test_an_empty_inbox_tells_which_settings_fill_it(owner):
    page = _body(owner.get("/rehearsal/inbox"))
    assert "Nothing received yet" in page
    assert "Mail does not leave this machine" in page
    assert "2587" in page


@pytest.mark.usefixtures("kept")
def test_the_inbox_lists_what_was_received_and_follows_what_arrives(owner):
    page = _body(owner.get("/rehearsal/inbox"))
    assert "Grüße &lt;b&gt;" in page
    assert "grace@example.net" in page
    assert 'data-live="on"' in page


@pytest.mark.usefixtures("kept")
def test_an_older_page_stands_still(owner):
    page = _body(owner.get(f"/rehearsal/inbox?before={IDENT}"))
    assert "No older messages" in page
    assert 'data-live="off"' in page


@pytest.mark.usefixtures("kept")
def test_a_message_shows_its_envelope_its_text_and_its_html_in_a_sandbox(owner):
    page = _body(owner.get(f"/rehearsal/inbox/{IDENT}"))
    assert "Hello &lt;text&gt;" in page
    assert "bounces@example.org" in page
    assert "TLSv1.3" in page
    assert f'src="/rehearsal/inbox/{IDENT}/html"' in page
    assert 'sandbox=""' in page
    assert "Hello HTML" not in page


@pytest.mark.usefixtures("kept")
def test_the_html_of_a_message_may_do_nothing(owner):
    response = owner.get(f"/rehearsal/inbox/{IDENT}/html")
    assert _body(response).strip() == "<p onclick='x()'>Hello HTML</p>"
    policy = response.headers["Content-Security-Policy"]
    assert policy.startswith("sandbox;")
    assert "script-src" not in policy
    assert "default-src 'none'" in policy


@pytest.mark.usefixtures("kept")
def test_the_raw_message_is_told_as_it_was_received(owner):
    response = owner.get(f"/rehearsal/inbox/{IDENT}/raw")
    assert response.get_data() == MAIL
    assert response.mimetype == "text/plain"
    download = owner.get(f"/rehearsal/inbox/{IDENT}/raw?download=1")
    assert download.headers["Content-Disposition"] == f'attachment; filename="{IDENT}.eml"'


@pytest.mark.parametrize("part", ["", "/html", "/raw"])
def test_a_message_that_is_not_there_is_not_found(owner, part):
    assert owner.get(f"/rehearsal/inbox/ABC{part}").status_code == 404
    assert owner.get(f"/rehearsal/inbox/%2e%2e{part}").status_code in {302, 303, 308, 404}


def test_a_message_without_html_shows_its_text(owner, kept):
    (kept / "note.eml").write_bytes(b"Subject: \xff\n\n\nHello <text>\xff")
    page = _body(owner.get("/rehearsal/inbox/note"))
    assert "Hello &lt;text&gt;ÿ" in page
    assert "<iframe" not in page
    assert owner.get("/rehearsal/inbox/note/html").status_code == 404


def test_a_broken_message_breaks_no_page(owner, kept):
    (kept / "broken.eml").write_bytes(b"\0\xff=?x?b?\nContent-Type: ;;;\n\n" + bytes(range(256)))
    (kept / "broken.json").write_bytes(b'{"recipients": [1, "\\ud800"], "port": true}')
    assert "broken" in _body(owner.get("/rehearsal/inbox"))
    _body(owner.get("/rehearsal/inbox/broken"))


def test_emptying_the_inbox_removes_every_message(owner, kept):
    response = owner.submit("/rehearsal/inbox/clear", {}, page="/rehearsal/inbox")
    assert response.status_code == 303
    assert "1 message removed." in _body(owner.get("/rehearsal/inbox"))
    assert list(kept.iterdir()) == []


def test_the_page_of_faults_explains_each_door_and_each_fault(owner):
    page = _body(owner.get("/rehearsal/faults")).replace("&#39;", "'")
    for fault in FAULTS:
        assert fault.name in page
        assert fault.sentence in page
        assert fault.plays in page
    for listener in LISTENERS:
        assert listener.sentence in page


def test_every_page_tells_that_a_rehearsal_is_on(owner):
    assert "Rehearsal: mail does not leave this machine" in _body(owner.get("/rehearsal/faults"))
