"""Static files: versioned URLs, gzip and cache headers.

Each file is compressed once and kept in memory (about 60 kB in all). A URL from ``asset_url`` contains the version of the
whole folder in its path, so the modules that a script imports by relative URLs have it too; such responses are cached for a
year. A URL without the present version is revalidated each time (RFC 9111 section 5.2.2.4). The version is read once per
process: restart it after a change to a static file.

Other sites embed the files of ``shop/`` alone: the shop's script (``SHOP_SCRIPT``) and its earlier versions. Its version is in
its name, because shops name its integrity hash: a change is a new file, and the old one stays.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import mimetypes
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from flask import Response, abort, request, send_from_directory, url_for
from werkzeug.http import http_date
from werkzeug.security import safe_join

if TYPE_CHECKING:
    from flask import Flask

SHOP_SCRIPT = "shop/signet-1.js"
_SHOP_FOLDER = "shop"
# Browsers and readers of link previews request these addresses by default.
_AT_THE_ROOT = {
    "/favicon.ico": "img/favicon.ico",
    "/apple-touch-icon.png": "img/apple-touch-icon.png",
}
_YEAR_S = 31_536_000
_VERSION_PREFIX = "v-"
_COMPRESSED = {".css", ".js", ".svg"}  # images and fonts are compressed already
_TYPES = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8"}


@lru_cache(maxsize=256)
def _digest(path: Path, _modified: float) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


@cache
def _version(folder: Path) -> str:
    """Return the path segment that identifies the present content of all files."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(folder)} {_digest(path, path.stat().st_mtime)}\n".encode())
    return f"{_VERSION_PREFIX}{digest.hexdigest()[:12]}"


def integrity_of(app: Flask, name: str) -> str:
    """Return the hash of a static file for the attribute ``integrity`` (W3C Subresource Integrity)."""
    content = (Path(str(app.static_folder)) / name).read_bytes()
    return f"sha384-{base64.b64encode(hashlib.sha384(content).digest()).decode()}"


@lru_cache(maxsize=256)
def _gzipped(path: Path, _modified: float) -> bytes:
    return gzip.compress(path.read_bytes(), 9, mtime=0)


def install(app: Flask) -> None:
    """Serve the static folder, and give templates ``asset_url``."""
    folder = Path(str(app.static_folder))

    def asset_url(name: str) -> str:
        """Return the URL of a static file under the present version of the folder."""
        return url_for("static", filename=f"{_version(folder)}/{name}")

    def serve(filename: str) -> Response:
        version, _, rest = filename.partition("/")
        name = rest if version.startswith(_VERSION_PREFIX) else filename
        found = safe_join(str(folder), name)
        if found is None or not Path(found).is_file():
            abort(404)
        path = Path(found)
        response = _answer(folder, name, path, path.stat().st_mtime)
        is_for_shops = path.parent == folder / _SHOP_FOLDER
        is_present = version == _version(folder) or is_for_shops
        if is_for_shops:
            response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
            response.headers["Access-Control-Allow-Origin"] = (
                "*"  # browsers check the hash of readable files only
            )
        response.cache_control.no_cache = None if is_present else True
        if is_present:
            response.cache_control.public = True
            response.cache_control.max_age = _YEAR_S
            response.cache_control.immutable = True
        return response

    for path, name in _AT_THE_ROOT.items():
        app.add_url_rule(path, "static", defaults={"filename": name})
    app.jinja_env.globals["asset_url"] = asset_url
    app.view_functions["static"] = serve


def _answer(folder: Path, filename: str, path: Path, modified: float) -> Response:
    """Return the file, gzipped if its type benefits and the browser accepts it (RFC 9110 section 12.5.3)."""
    if path.suffix not in _COMPRESSED:
        return send_from_directory(folder, filename, conditional=True)
    zipped = request.accept_encodings["gzip"] > 0
    content = _gzipped(path, modified) if zipped else path.read_bytes()
    response = Response(content, content_type=_TYPES.get(path.suffix) or mimetypes.guess_type(filename)[0])
    response.vary.add("Accept-Encoding")
    if zipped:
        response.content_encoding = "gzip"
    response.headers["Last-Modified"] = http_date(modified)
    response.set_etag(f"{_digest(path, modified)}{'-gzip' if zipped else ''}")
    response.make_conditional(request)
    return response
