"""The branding page, the logo it stores, and the public address of the logo."""

from __future__ import annotations

import io

import pytest
from sqlalchemy import func, select

from portal.accounts.models import Account
from portal.clock import utcnow
from portal.db import db
from portal.notices import branding, colours, rendering
from portal.notices.catalogue import NEW_SIGN_UP
from portal.notices.models import NoticeLogo
from tests.notices.conftest import account_of, owner_of
from tests.outbox.support import run_together
from tests.pictures import GIF, declared_png, png

PAGE = "/automated-emails/look"


def _form(**changes):
    return {"accent": "#1f3f5c", "address": "", "footer": "", **changes}


def _save(browser, file=None, **changes):
    logo = {"logo": (io.BytesIO(file), "logo.png")} if file is not None else {}
    return browser.submit(PAGE, _form(**changes) | logo, page=PAGE)


def test_colour_address_and_footer_are_in_every_email(owner):
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
    assert "#8e2b35" in owner.get(f"{PAGE}/html").get_data(as_text=True)


def test_a_colour_that_is_too_light_is_darkened_and_reported(owner):
    _save(owner, accent="#ffcc00")
    accent = branding.branding_of(account_of().id).accent
    assert colours.contrast_with_white(accent) >= 4.5
    assert f"darkened to {accent}" in owner.get(PAGE).get_data(as_text=True)


@pytest.mark.parametrize("invalid", ["", "red", "#12", "#ggg", "url(x)", "#1234567"])
def test_an_invalid_colour_is_refused_and_the_form_is_kept(owner, invalid):
    answer = _save(owner, accent=invalid, address="Leaf Lane")
    assert answer.status_code == 422
    assert "Leaf Lane" in answer.get_data(as_text=True)


def test_a_logo_is_stored_and_served_publicly(owner, client):
    _save(owner, png())
    saved = branding.branding_of(account_of().id)
    assert (saved.logo_width, saved.logo_height) == (168, 56)
    assert saved.logo_url.startswith("http://127.0.0.1/automated-emails/logo/")
    assert saved.logo_url in rendering.render_sample(NEW_SIGN_UP, account_of()).html
    answer = client.get(saved.logo_url.removeprefix("http://127.0.0.1"))
    assert (answer.status_code, answer.mimetype, answer.data) == (200, "image/png", png())
    assert answer.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "immutable" in answer.headers["Cache-Control"]
    _save(owner, GIF)
    assert branding.branding_of(account_of().id).logo_url != saved.logo_url
    assert client.get(saved.logo_url.removeprefix("http://127.0.0.1")).status_code == 200, (
        "emails sent earlier refer to it"
    )
    _save(owner, remove_logo="y")
    assert branding.branding_of(account_of().id).logo_url == ""


@pytest.mark.parametrize(
    ("file", "sentence"),
    [
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "no PNG, JPEG or GIF"),
        (b"<script>alert(1)</script>", "no PNG, JPEG or GIF"),
        (b"GIF89a", "no PNG, JPEG or GIF"),
        (declared_png(3000, 10), "3000 × 10 pixels"),
        (png()[:-30], "cut off"),
        (png() + b"\0" * 300_000, "at most 256 KB"),
    ],
)
def test_an_invalid_logo_is_refused(owner, file, sentence):
    answer = _save(owner, file)
    assert answer.status_code == 422
    assert sentence in answer.get_data(as_text=True)
    assert db.session.scalar(select(func.count(NoticeLogo.id))) == 0


@pytest.mark.parametrize("name", ["x.png", "x", "..", "%00.png", "a" * 80 + ".png", "é.png"])
def test_an_unknown_logo_is_not_found(client, name):
    assert client.get(f"/automated-emails/logo/{name}").status_code == 404


def test_each_account_sees_only_its_own_branding(owner, stranger, client):
    _save(owner, address="Leaf Lane 1")
    for path in (PAGE, f"{PAGE}/html"):
        assert "Leaf Lane" in owner.get(path).get_data(as_text=True)
        assert "Leaf Lane" not in stranger.get(path).get_data(as_text=True)
        assert client.get(path).status_code == 303
    assert client.post(PAGE, data=_form()).status_code in (303, 400)


def test_previews_load_the_logo_and_no_other_resource(owner):
    _save(owner, png())
    answer = owner.get("/automated-emails/look/html")
    assert '<img class="mark"' in answer.get_data(as_text=True)
    policy = dict(part.split(" ", 1) for part in answer.headers["Content-Security-Policy"].split("; ")[1:])
    assert policy["img-src"] == "data: http://127.0.0.1", (
        "'self' matches nothing in a sandboxed page, which has an opaque origin"
    )
    assert policy["default-src"] == "'none'"


@pytest.mark.only_postgresql
def test_a_first_look_that_is_saved_twice_at_the_same_time_is_saved(app, owner):
    account_id = account_of().id
    values = branding.BrandingInput("#1f3f5c", "1 Garden Lane", "", logo=png())

    def save(number):
        account = db.session.get_one(Account, account_id)
        if number % 2:
            branding.save_address(account, "1 Garden Lane", without=False, now=utcnow())
        else:
            branding.save_branding(owner_of(), values, now=utcnow())

    assert run_together(app, 6, save) == [None] * 6
    assert branding.branding_of(account_id).address == "1 Garden Lane"
