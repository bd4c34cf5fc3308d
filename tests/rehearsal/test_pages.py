"""The rehearsal pages: access, content and the sandbox of HTML messages."""

import dataclasses

import pytest

from portal.rehearsal import store
from portal.rehearsal.faults import FAULTS
from portal.rehearsal.listeners import LISTENERS
from portal.state import current_config, get_state

MAIL = (
    b"From: Ada <ada@example.org>\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?= <b>\r\nMIME-Version: 1.0\r\n"
    b"Content-Type: multipart/alternative; boundary=x\r\n\r\n"
    b"--x\r\nContent-Type: text/plain\r\n\r\nHello <text>\r\n"
    b"--x\r\nContent-Type: text/html\r\n\r\n<p onclick='x()'>Hello HTML</p>\r\n--x--\r\n"
)
MESSAGE_ID = "0123456789ABCDEF01"
PAGES = [
    "/rehearsal/inbox",
    f"/rehearsal/inbox/{MESSAGE_ID}",
    f"/rehearsal/inbox/{MESSAGE_ID}/html",
    f"/rehearsal/inbox/{MESSAGE_ID}/raw",
    "/rehearsal/faults",
]


@pytest.fixture
def inbox_folder(app):
    """Store one received message; return its folder."""
    folder = store.inbox_folder(get_state(app).config)
    envelope = store.StoredEnvelope(
        id=MESSAGE_ID,
        received_at="2026-03-04T05:06:07+00:00",
        sender="bounces@example.org",
        recipients=("grace@example.net",),
        username="ada@example.org",
        tls="TLSv1.3",
        port=2587,
    )
    store.save(folder, envelope, MAIL)
    return folder


def _body(response):
    assert response.status_code == 200
    return response.get_data(as_text=True)


@pytest.mark.parametrize("url", PAGES)
@pytest.mark.usefixtures("inbox_folder")
def test_every_page_requires_a_login(client, url):
    response = client.get(url)
    assert response.status_code in {302, 303}
    assert "/rehearsal" not in response.headers["Location"].partition("?")[0]


def test_emptying_the_inbox_requires_a_login(client, inbox_folder):
    client.post("/rehearsal/inbox/clear")
    assert (inbox_folder / f"{MESSAGE_ID}.eml").exists()


@pytest.mark.parametrize("url", PAGES)
def test_pages_are_404_when_the_rehearsal_is_off(app, owner, inbox_folder, url):
    config = get_state(app).config
    assert owner.get(url).status_code == 200
    get_state(app).config = dataclasses.replace(config, rehearsal=False)
    assert owner.get(url).status_code == 404


def test_an_empty_inbox_shows_the_settings_to_enter(owner):
    page = _body(owner.get("/rehearsal/inbox"))
    assert "Nothing received yet" in page
    assert "stay on this machine" in page
    assert "2587" in page


@pytest.mark.usefixtures("inbox_folder")
def test_the_inbox_lists_messages_and_refreshes_itself(owner):
    page = _body(owner.get("/rehearsal/inbox"))
    assert "Grüße &lt;b&gt;" in page
    assert "grace@example.net" in page
    assert 'data-live="on"' in page


@pytest.mark.usefixtures("inbox_folder")
def test_an_older_page_does_not_refresh(owner):
    page = _body(owner.get(f"/rehearsal/inbox?before={MESSAGE_ID}"))
    assert "No older messages" in page
    assert 'data-live="off"' in page


@pytest.mark.usefixtures("inbox_folder")
def test_a_message_shows_envelope_text_and_sandboxed_html(owner):
    page = _body(owner.get(f"/rehearsal/inbox/{MESSAGE_ID}"))
    assert "Hello &lt;text&gt;" in page
    assert "bounces@example.org" in page
    assert "TLSv1.3" in page
    assert f'src="/rehearsal/inbox/{MESSAGE_ID}/html"' in page
    assert 'sandbox=""' in page
    assert "Hello HTML" not in page


@pytest.mark.usefixtures("inbox_folder")
def test_the_html_of_a_message_runs_no_script(owner):
    response = owner.get(f"/rehearsal/inbox/{MESSAGE_ID}/html")
    assert _body(response).strip() == "<p onclick='x()'>Hello HTML</p>"
    policy = response.headers["Content-Security-Policy"]
    assert policy.startswith("sandbox;")
    assert "script-src" not in policy
    assert "default-src 'none'" in policy


@pytest.mark.usefixtures("inbox_folder")
def test_the_raw_message_is_returned_as_received(owner):
    response = owner.get(f"/rehearsal/inbox/{MESSAGE_ID}/raw")
    assert response.get_data() == MAIL
    assert response.mimetype == "text/plain"
    download = owner.get(f"/rehearsal/inbox/{MESSAGE_ID}/raw?download=1")
    assert download.headers["Content-Disposition"] == f'attachment; filename="{MESSAGE_ID}.eml"'


@pytest.mark.parametrize("part", ["", "/html", "/raw"])
def test_a_missing_message_is_404(owner, part):
    assert owner.get(f"/rehearsal/inbox/ABC{part}").status_code == 404
    assert owner.get(f"/rehearsal/inbox/%2e%2e{part}").status_code in {302, 303, 308, 404}


def test_a_message_without_html_shows_its_text(owner, inbox_folder):
    (inbox_folder / "note.eml").write_bytes(b"Subject: \xff\n\n\nHello <text>\xff")
    page = _body(owner.get("/rehearsal/inbox/note"))
    assert "Hello &lt;text&gt;ÿ" in page
    assert "<iframe" not in page
    assert owner.get("/rehearsal/inbox/note/html").status_code == 404


def test_a_broken_message_breaks_no_page(owner, inbox_folder):
    (inbox_folder / "broken.eml").write_bytes(b"\0\xff=?x?b?\nContent-Type: ;;;\n\n" + bytes(range(256)))
    (inbox_folder / "broken.json").write_bytes(b'{"recipients": [1, "\\ud800"], "port": true}')
    assert "broken" in _body(owner.get("/rehearsal/inbox"))
    _body(owner.get("/rehearsal/inbox/broken"))


def test_emptying_the_inbox_removes_every_message(owner, inbox_folder):
    response = owner.submit("/rehearsal/inbox/clear", {}, page="/rehearsal/inbox")
    assert response.status_code == 303
    assert "1 message removed." in _body(owner.get("/rehearsal/inbox"))
    assert list(inbox_folder.iterdir()) == []


def test_the_faults_page_explains_every_listener_and_fault(owner):
    page = _body(owner.get("/rehearsal/faults")).replace("&#39;", "'")
    for fault in FAULTS:
        assert str(fault.name) in page
        assert str(fault.sentence) in page
        assert str(fault.reply) in page
    for listener in LISTENERS:
        assert str(listener.sentence) in page


def test_pages_show_the_rehearsal_banner(owner):
    page = _body(owner.get("/rehearsal/faults"))
    notice = page[
        page.index('<details class="notice-fold"') : page.index("</details>", page.index("notice-fold"))
    ]
    assert "Rehearsal: emails to the rehearsal server stay on this machine" in notice
    assert "Any other SMTP Server sends real emails." in notice
    config = current_config()
    for port in (config.rehearsal_starttls_port, config.rehearsal_tls_port):
        assert str(port) in notice
