"""Values of the template variables that describe an affiliate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..settings.routing import reply_mailbox
from ..shop_links import affiliate_link
from . import links
from .greeting import split_name

if TYPE_CHECKING:
    from ..accounts.models import Account
    from ..config import Config
    from .models import Affiliate


def affiliate_values(affiliate: Affiliate, account: Account, config: Config) -> dict[str, str]:
    """Return the values by variable name, for notices to affiliates and to owners."""
    first, last = split_name(affiliate.name)
    return {
        "first_name": first,
        "last_name": last,
        "name": affiliate.name,
        "email": affiliate.mailbox,
        "code": affiliate.code,
        # Without a shop address, owners' own texts still get the link: it leads to the shop once there is an address.
        "link": affiliate_link(account, affiliate.code, config),
        "has_shop": "yes" if account.shop_url else "",
        "dashboard": links.dashboard_url(affiliate, config),
        "reply_to": reply_mailbox(account.id),
        "affiliate_name": affiliate.name,
        "affiliate_email": affiliate.mailbox,
        "affiliate_page": links.owner_page_url(affiliate, config),
    }
