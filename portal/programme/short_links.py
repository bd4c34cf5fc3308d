"""Short links: /r/CODE redirects to the shop of the affiliate's programme and counts the visit.

Most visits are answered here, before Flask reads the request: at 300 visits a second the work of a Flask request would delay
sign-ups. What a code leads to is read from the database at most every two seconds (``Tuning.short_link_cache_s``), and anew
after the settings were saved in this process. Flask's views answer the rest: unknown codes, programmes without a shop
address, and accounts whose links ask before they leave the portal.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, select
from sqlalchemy.exc import SQLAlchemyError

from .. import shop_links
from ..accounts.models import Account, LinkForm
from ..accounts.standing import is_limited
from ..affiliates.models import Affiliate, AffiliateState, FormerCode
from ..db.prepared import PreparedStatement
from ..db.transaction import read_snapshot
from ..state import get_state
from . import visitors, visits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from flask import Flask

PREFIX = "/r/"
_MAX_CACHED = 10_000
_HEADERS = (
    ("Cache-Control", "no-store"),
    (
        "Referrer-Policy",
        "strict-origin-when-cross-origin",
    ),  # the shop may see which site the visitor came from
    ("X-Content-Type-Options", "nosniff"),
    ("X-Robots-Tag", "noindex, nofollow"),
    ("Content-Length", "0"),
)
# The script asks from another origin, without cookies, and may know that its report arrived.
_REPORT_HEADERS = (("Access-Control-Allow-Origin", "*"), ("Cache-Control", "no-store"))
_COLUMNS = ("id", "slug", "name", "time_zone", "approved_at", "shop_url", "link_form", "link_pattern")
_TARGETS = select(
    Affiliate.__table__.c.id,
    Affiliate.__table__.c.state,
    Affiliate.__table__.c.code,
    *(Account.__table__.c[name] for name in _COLUMNS),
).join_from(
    Affiliate.__table__, Account.__table__, Account.__table__.c.id == Affiliate.__table__.c.account_id
)
_TARGET = PreparedStatement(_TARGETS.where(Affiliate.__table__.c.code == bindparam("code")))
# A code that the affiliate had before; the shop gets the present one.
_FORMER_TARGET = PreparedStatement(
    _TARGETS.join(
        FormerCode.__table__, FormerCode.__table__.c.affiliate_id == Affiliate.__table__.c.id
    ).where(FormerCode.__table__.c.code == bindparam("code"))
)


@dataclass(frozen=True)
class LinkTarget:
    """What a code leads to. ``location`` is empty while there is no shop address.

    ``counts``: the affiliate takes part, so the code is passed on and the visit counted. ``is_reported``: visits of
    this account's links are those that the shop's script reports. ``asks``: a page asks before the visitor leaves the
    portal, because no operator has approved the account.
    """

    affiliate_id: int
    account: Account
    location: str
    counts: bool
    is_reported: bool
    asks: bool


@dataclass
class _LinkCache:
    by_code: dict[str, tuple[float, LinkTarget]] = field(default_factory=dict)


class ShortLinks:
    """WSGI middleware that redirects short links and takes the reports of shops' scripts, where it can do so at once."""

    def __init__(self, app: Flask, wsgi: Callable[..., Iterable[bytes]]) -> None:
        self._app, self._wsgi = app, wsgi

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path, method = environ.get("PATH_INFO", ""), environ["REQUEST_METHOD"]
        if not path.startswith(PREFIX):
            return self._wsgi(environ, start_response)
        target = self._find(path.removeprefix(PREFIX))
        if method == "POST":  # the answer is the same for every code
            if target is not None:
                count_report(self._app, target, environ)
            start_response("204 No Content", list(_REPORT_HEADERS))
            return [b""]
        if target is not None and target.location and not target.asks and method in {"GET", "HEAD"}:
            count_visit(self._app, target, environ)
            start_response("302 Found", [("Location", target.location), *_HEADERS])
            return [b""]
        return self._wsgi(environ, start_response)

    def _find(self, code: str) -> LinkTarget | None:
        try:
            return find_target(self._app, code)
        except SQLAlchemyError:
            return None  # the view meets the same trouble and renders its page


def find_target(app: Flask, code: str) -> LinkTarget | None:
    """Return what a code leads to; None for an unknown one. Case matters only if codes exist in both cases."""
    if not shop_links.CODE.fullmatch(code):
        return None
    state = get_state(app)
    cached, now = state.part(_LinkCache).by_code, time.monotonic()
    found = cached.get(code)
    if found is not None and now - found[0] < state.config.tuning.short_link_cache_s:
        return found[1]
    with app.app_context(), read_snapshot():
        row = _first(_TARGET, code) or _first(_FORMER_TARGET, code)
        target = _target(row) if row else None
    if target is not None:
        if len(cached) >= _MAX_CACHED:
            cached.clear()
        cached[code] = (now, target)
    return target


def _first(statement: PreparedStatement, code: str) -> Any:
    return statement.first(code=code) or statement.first(code=code.upper())


def leads_to_shop(app: Flask, code: str, slug: str) -> bool:
    """Return whether a code of the programme with this slug leads to a shop."""
    target = find_target(app, code)
    return target is not None and target.account.slug == slug.lower() and bool(target.location)


def forget_targets(app: Flask) -> None:
    """Let the next visit of each link read its settings anew."""
    get_state(app).discard(_LinkCache)


def count_visit(app: Flask, target: LinkTarget, environ: dict[str, Any]) -> None:
    """Count a request for a short link if its affiliate takes part."""
    if target.counts:
        person = visitors.is_person(environ)
        zone = target.account.time_zone
        visits.buffer_of(app).count(app, target.affiliate_id, zone, environ, is_person=person)


def count_report(app: Flask, target: LinkTarget, environ: dict[str, Any]) -> None:
    """Count a visit that the shop's script reports, where visits do not come through short links."""
    if target.counts and target.is_reported and visitors.sends_as_browser(environ):
        buffer, zone = visits.buffer_of(app), target.account.time_zone
        buffer.count(app, target.affiliate_id, zone, environ, is_person=True)
        buffer.note_report(app, target.account.id)


def _target(row: tuple[Any, ...]) -> LinkTarget:
    affiliate_id, state, code, *values = row
    account = Account(**dict(zip(_COLUMNS, values, strict=True)))
    takes_part = state == AffiliateState.ACTIVE
    is_reported = shop_links.form_in_use(account) is not LinkForm.SHORT
    location = account.shop_url
    if location and takes_part:
        location = shop_links.landing_url(account, code)
        if is_reported:
            location = shop_links.with_parameter(location, shop_links.COUNTED, "1")
    return LinkTarget(
        affiliate_id=affiliate_id,
        account=account,
        location=location,
        counts=takes_part and bool(account.shop_url),
        is_reported=is_reported,
        asks=is_limited(account),
    )
