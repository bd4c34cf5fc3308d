"""Look of your emails, its logo, and the further mailboxes."""

from __future__ import annotations

import io
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import func, select

from portal.db import db
from portal.notices import branding, colours, recipients, rendering
from portal.notices.catalogue import NEW_SIGN_UP
from portal.notices.models import NoticeLogo
from tests.notices.conftest import account_of

LOOK, LIST = "/automated-emails/look", "/automated-emails"


def png(width=300, height=100) -> bytes:
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


GIF = b"GIF89a" + struct.pack("<HH", 40, 30) + b"\0" * 10 + b";"
JPEG = b"\xff\xd8\xff\xe0\x00\x04ab" + b"\xff\xc0\x00\x11\x08" + struct.pack(">HH", 20, 50) + b"\0" * 20


def _form(**changes):
    return {"accent": "#1f3f5c", "address": "", "footer": "", **changes}


def _save(browser, file=None, **changes):
    logo = {"logo": (io.BytesIO(file), "logo.png")} if file is not None else {}
    return browser.submit(LOOK, _form(**changes) | logo, page=LOOK)


def test_colour_address_and_footer_stand_in_every_email(owner):
    assert (
        _save(
            owner, accent="#8E2B35", address="Leaf Lane 1\n2000 Town <b>", footer="Ask us anything"
        ).status_code
        == 303
    )
    mail = rendering.render_sample(NEW_SIGN_UP, account_of())
    assert 'bgcolor="#8e2b35"' in mail.html
    assert "2000 Town &lt;b&gt;" in mail.html
    assert "Leaf Lane 1\n2000 Town <b>" in mail.text
    assert "Ask us anything" in mail.text
    assert "#8e2b35" in owner.get(f"{LOOK}/html").get_data(as_text=True)


def test_a_colour_too_light_for_white_words_is_darkened_and_told(owner):
    _save(owner, accent="#ffcc00")
    accent = branding.branding_of(account_of().id).accent
    assert colours.contrast_with_white(accent) >= 4.5
    assert f"darkened to {accent}" in owner.get(LOOK).get_data(as_text=True)


@pytest.mark.parametrize("wrong", ["", "red", "#12", "#ggg", "url(x)", "#1234567"])
def test_what_is_no_colour_is_refused_and_nothing_lost(owner, wrong):
    answer = _save(owner, accent=wrong, address="Leaf Lane")
    assert answer.status_code == 422
    assert "Leaf Lane" in answer.get_data(as_text=True)


@given(st.from_regex(r"#[0-9a-fA-F]{6}", fullmatch=True))
def test_any_colour_ends_readable(colour):
    assert colours.contrast_with_white(colours.make_readable(colour)[0]) >= 4.5


def test_a_logo_is_recognised_kept_and_served_to_anybody(owner, client):
    _save(owner, png())
    look = branding.branding_of(account_of().id)
    assert (look.logo_width, look.logo_height) == (168, 56)
    assert look.logo_url.startswith("http://127.0.0.1/automated-emails/logo/")
    assert look.logo_url in rendering.render_sample(NEW_SIGN_UP, account_of()).html
    answer = client.get(look.logo_url.removeprefix("http://127.0.0.1"))
    assert (answer.status_code, answer.mimetype, answer.data) == (200, "image/png", png())
    assert answer.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "immutable" in answer.headers["Cache-Control"]
    _save(owner, GIF)
    assert branding.branding_of(account_of().id).logo_url != look.logo_url
    assert client.get(look.logo_url.removeprefix("http://127.0.0.1")).status_code == 200, (
        "mail was sent with it"
    )
    _save(owner, remove_logo="y")
    assert branding.branding_of(account_of().id).logo_url == ""


@pytest.mark.parametrize(
    ("file", "said"),
    [
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "no PNG, JPEG or GIF"),
        (b"<script>alert(1)</script>", "no PNG, JPEG or GIF"),
        (b"GIF89a", "no PNG, JPEG or GIF"),
        (png(3000, 10), "3000 × 10 pixels"),
        (png(0, 10), "0 × 10 pixels"),
        (png() + b"\0" * 300_000, "at most 256 KB"),
    ],
)
def test_what_is_no_logo_is_refused(owner, file, said):
    answer = _save(owner, file)
    assert answer.status_code == 422
    assert said in answer.get_data(as_text=True)
    assert db.session.scalar(select(func.count(NoticeLogo.id))) == 0


@given(st.one_of(st.binary(max_size=60), st.binary(max_size=40).map(lambda b: b"\xff\xd8\xff" + b)))
def test_any_bytes_are_a_picture_or_refused(data):
    try:
        assert branding.identify_image(data).media_type in branding.LOGO_EXTENSIONS
    except branding.InvalidImage as refused:
        assert str(refused)


def test_pictures_tell_their_size():
    assert branding.identify_image(GIF) == branding.Image("image/gif", 40, 30)
    assert branding.identify_image(JPEG) == branding.Image("image/jpeg", 50, 20)


@pytest.mark.parametrize("name", ["x.png", "x", "..", "%00.png", "a" * 80 + ".png", "é.png"])
def test_a_logo_that_is_not_there_is_not_found(client, name):
    assert client.get(f"/automated-emails/logo/{name}").status_code == 404


def test_everybody_sees_the_own_look_only(owner, stranger, client):
    _save(owner, address="Leaf Lane 1")
    for path in (LOOK, f"{LOOK}/html"):
        assert "Leaf Lane" in owner.get(path).get_data(as_text=True)
        assert "Leaf Lane" not in stranger.get(path).get_data(as_text=True)
        assert client.get(path).status_code == 303
    assert client.post(LOOK, data=_form()).status_code in (303, 400)


# -- further mailboxes


def _add(browser, mailbox):
    return browser.submit(f"{LIST}/mailboxes", {"mailbox": mailbox}, page=LIST)


def test_further_mailboxes_get_the_emails_to_the_owner(owner):
    assert _add(owner, "team@Brightleaf.example").status_code == 303
    assert recipients.recipients_of(account_of()) == [
        ("ada@brightleaf.example", "Ada Fairweather"),
        ("team@brightleaf.example", ""),
    ]
    assert "team@brightleaf.example" in owner.get(LIST).get_data(as_text=True)


@pytest.mark.parametrize("wrong", ["", "nobody", "a@b@c.example", "ADA@brightleaf.example", "a b@c.example"])
def test_a_mailbox_that_is_none_or_known_is_refused(owner, wrong):
    answer = _add(owner, wrong)
    assert answer.status_code == 422
    assert recipients.further_mailboxes(account_of().id) == []


def test_there_are_five_further_mailboxes_at_most(owner):
    for number in range(5):
        _add(owner, f"m{number}@brightleaf.example")
    page = owner.get(LIST).get_data(as_text=True)
    assert "as many as there can be" in page
    assert _add(owner, "one@more.example").status_code == 422
    assert len(recipients.further_mailboxes(account_of().id)) == 5


def test_a_mailbox_is_removed_by_its_own_account_only(owner, stranger, client):
    _add(owner, "team@brightleaf.example")
    ident = recipients.further_mailboxes(account_of().id)[0].id
    path = f"{LIST}/mailboxes/{ident}/remove"
    assert client.post(path).status_code in (303, 400)
    assert stranger.submit(path, {}, page=LIST).status_code == 404
    assert len(recipients.further_mailboxes(account_of().id)) == 1
    assert owner.submit(path, {}, page=LIST).status_code == 303
    assert recipients.further_mailboxes(account_of().id) == []


def test_the_logo_shows_in_previews_and_nothing_from_elsewhere_does(owner):
    _save(owner, png())
    answer = owner.get("/automated-emails/look/html")
    assert '<img class="mark"' in answer.get_data(as_text=True)
    policy = dict(part.split(" ", 1) for part in answer.headers["Content-Security-Policy"].split("; ")[1:])
    assert policy["img-src"] == "data: http://127.0.0.1", (
        "a sandboxed page has no origin that 'self' could mean"
    )
    assert policy["default-src"] == "'none'"
