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

from sqlalchemy import bindparam, case, select, union_all
from sqlalchemy.exc import SQLAlchemyError

from .. import shop_links
from ..accounts.models import Account, LinkForm
from ..affiliates.directory import account_of
from ..affiliates.models import Affiliate, AffiliateState, FormerCode
from ..db.prepared import PreparedStatement
from ..db.transaction import separate_reads
from ..state import get_state
from . import visitors, visits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from flask import Flask

PREFIX = "/r/"
_FOUND = (
    "signet.link_target"  # in the environ: what the middleware found, so that the view reads nothing again
)
_MAX_CACHED = 10_000
_ENDS = "/.,;:!?)\"'"  # that editors and sentences put after a link; no code has them
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
_COLUMNS = (
    "id",
    "slug",
    "name",
    "time_zone",
    "language",
    "approved_at",
    "shop_url",
    "link_form",
    "link_pattern",
)
_AFFILIATE, _FORMER = Affiliate.__table__.c, FormerCode.__table__.c


def _matches(code: Any, affiliate_id: Any, rank: int) -> Any:
    ranks = case((code == bindparam("code"), rank), else_=rank + 1).label("rank")
    return select(affiliate_id.label("id"), ranks).where(code.in_((bindparam("code"), bindparam("upper"))))


# A present code comes before one that an affiliate had before; the shop gets the present one.
_FOUND_CODES = union_all(
    _matches(_AFFILIATE.code, _AFFILIATE.id, 0), _matches(_FORMER.code, _FORMER.affiliate_id, 2)
).subquery()
_TARGET = PreparedStatement(
    select(
        _AFFILIATE.id,
        _AFFILIATE.state,
        _AFFILIATE.code,
        *(Account.__table__.c[name] for name in _COLUMNS),
    )
    .join_from(_FOUND_CODES, Affiliate.__table__, _AFFILIATE.id == _FOUND_CODES.c.id)
    .join(Account.__table__, Account.__table__.c.id == _AFFILIATE.account_id)
    .order_by(_FOUND_CODES.c.rank)
    .limit(1)
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
        code = path.removeprefix(PREFIX).rstrip(_ENDS)
        environ["PATH_INFO"] = PREFIX + code if code else path
        target = self._find(code, environ)
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

    def _find(self, code: str, environ: dict[str, Any]) -> LinkTarget | None:
        try:
            target = environ[_FOUND] = find_target(self._app, code)
        except SQLAlchemyError:
            return None  # the view meets the same trouble and renders its page
        return target


def find_target(app: Flask, code: str) -> LinkTarget | None:
    """Return what a code leads to; None for an unknown one. Case matters only if codes exist in both cases."""
    if not shop_links.CODE.fullmatch(code):
        return None
    state = get_state(app)
    cached, now = state.part(_LinkCache).by_code, time.monotonic()
    found = cached.get(code)
    if found is not None and now - found[0] < state.config.tuning.short_link_cache_s:
        return found[1]
    with app.app_context(), separate_reads():
        row = _TARGET.first(code=code, upper=code.upper())
        target = _target(row) if row else None
    if target is not None:
        if len(cached) >= _MAX_CACHED:
            cached.clear()
        cached[code] = (now, target)
    return target


def target_of(app: Flask, code: str, environ: Mapping[str, Any]) -> LinkTarget | None:
    """Return what the code of a request leads to, which the middleware has found already."""
    found: LinkTarget | None = environ[_FOUND] if _FOUND in environ else find_target(app, code)
    return found


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
    account = account_of(tuple(values), _COLUMNS)
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
        asks=account.approved_at is None,  # also with an own server, which a visitor can enter unchecked
    )
