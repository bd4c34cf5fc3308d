"""Banners about sending on every page of an account: the findings of its status that concern each page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import url_for

from ..web.banners import Banner
from .sending import status_of

if TYPE_CHECKING:
    from .model import Link, StatusItem


def banners(account_id: int) -> list[Banner]:
    """Return a banner for each finding that every page shows."""
    return [_banner(one) for one in status_of(account_id).missing if one.is_banner]


def _banner(finding: StatusItem) -> Banner:
    links = [(link.label, _url(link)) for link in finding.links]
    first = links[0] if links else ("", "")
    return Banner(finding.tone.value, finding.sentence, finding.detail, *first, more=tuple(links[1:]))


def _url(link: Link) -> str:
    return url_for(link.endpoint, **dict(link.values))
