"""Static files are served compressed, with addresses that change with the content."""

from __future__ import annotations

import gzip
import re

import pytest

from portal.about import ROOT


@pytest.fixture
def addresses(client):
    page = client.get("/log-in").get_data(as_text=True)
    return re.findall(r'(?:href|src)="(/static/[^"]+)"', page)


def _name(address):
    """Return the path of a file within the static folder."""
    return re.sub(r"^/static/v-[0-9a-f]{12}/", "", address)


def test_the_page_names_five_stylesheets_and_one_module(addresses):
    names = [_name(address) for address in addresses]
    sheets = [f"css/{name}.css" for name in ("tokens", "base", "layout", "components", "pages")]
    assert [name for name in names if name.startswith("css/")] == sheets
    assert [name for name in names if name.startswith("js/")] == ["js/main.js"]


def test_a_file_is_compressed_where_the_browser_accepts_it(client, addresses):
    for address in addresses:
        path = ROOT / "static" / _name(address)
        answer = client.get(address, headers={"Accept-Encoding": "gzip, deflate, br"})
        assert answer.status_code == 200
        assert answer.headers["Content-Encoding"] == "gzip"
        assert "Accept-Encoding" in answer.headers["Vary"]
        assert gzip.decompress(answer.data) == path.read_bytes()
        plain = client.get(address, headers={"Accept-Encoding": "identity"})
        assert "Content-Encoding" not in plain.headers
        assert plain.data == path.read_bytes()
        assert plain.headers["ETag"] != answer.headers["ETag"]


def test_an_address_with_the_digest_is_kept_and_one_without_is_checked_again(client, addresses):
    for address in addresses:
        assert "max-age=31536000" in client.get(address).headers["Cache-Control"]
    for name in sorted(path.name for path in (ROOT / "static" / "js").iterdir()):
        answer = client.get(f"/static/js/{name}")
        assert answer.mimetype == "text/javascript"
        assert answer.headers["Cache-Control"] == "no-cache"
        again = client.get(f"/static/js/{name}", headers={"If-None-Match": answer.headers["ETag"]})
        assert (again.status_code, again.data) == (304, b"")
    assert client.get("/static/v-0123456789ab/js/main.js").headers["Cache-Control"] == "no-cache"


def test_a_module_that_another_one_imports_is_kept_as_long(client, addresses):
    (main,) = [address for address in addresses if "/js/" in address]
    for name in sorted(path.name for path in (ROOT / "static" / "js").iterdir()):
        answer = client.get(main.replace("main.js", name))  # what "./name" means in main.js
        assert "max-age=31536000" in answer.headers["Cache-Control"]


@pytest.mark.parametrize(
    "name", ["../portal/__init__.py", "js", "js/none.js", "%2e%2e/wsgi.py", "v-0123456789ab/../wsgi.py"]
)
def test_nothing_outside_the_folder_is_served(client, name):
    assert client.get(f"/static/{name}").status_code == 404


def test_every_module_is_imported_and_every_import_exists():
    folder = ROOT / "static" / "js"
    imported = {
        name
        for path in folder.iterdir()
        for name in re.findall(r'from "\./(.+?)"|import "\./(.+?)"', path.read_text())
    }
    names = {one or other for one, other in imported}
    assert names == {path.name for path in folder.iterdir()} - {"main.js"}


@pytest.mark.parametrize(
    ("path", "start"),
    [
        ("/favicon.ico", b"\x00\x00\x01\x00"),
        ("/apple-touch-icon.png", b"\x89PNG"),
    ],
)
def test_icons_are_at_the_addresses_that_browsers_ask_for(client, path, start):
    answer = client.get(path)
    assert answer.status_code == 200
    assert answer.data.startswith(start)


def test_a_public_page_has_a_description_and_a_preview(client, owner):
    page = client.get("/log-in").get_data(as_text=True)
    assert page.count('<meta name="description"') == 1
    assert re.search(r'<meta property="og:title" content="[^"]+ · Signet">', page)
    assert re.search(r'og:image"\s+content="http://127.0.0.1/apple-touch-icon.png">', page)
    sign_up = client.get("/join/brightleaf").get_data(as_text=True)
    assert sign_up.count('<meta name="description"') == 1
    assert sign_up.count('property="og:title"') == 1
    # Private and passing pages have none.
    assert "og:title" not in client.get("/no-such-page").get_data(as_text=True)
    assert "og:title" not in owner.get("/account").get_data(as_text=True)
