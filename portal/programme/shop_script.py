"""The tag with which a shop embeds Signet's script, ``static/shop/signet-1.js``."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from ..shop_links import PARAMETER, parameter_in_use
from ..web.static_files import SHOP_SCRIPT, integrity_of

if TYPE_CHECKING:
    from flask import Flask

    from ..accounts.models import Account
    from ..config import Config


def script_tag(app: Flask, account: Account, config: Config) -> str:
    """Return the HTML that a shop puts into its pages; empty if the owner's pattern has no parameter to read."""
    parameter = parameter_in_use(account)
    if not parameter:
        return ""
    attributes = {
        "src": f"{config.base_url}/static/{SHOP_SCRIPT}",
        "integrity": integrity_of(app, SHOP_SCRIPT),
        "crossorigin": "anonymous",
        "data-days": str(account.visit_days),
        **({"data-parameter": parameter} if parameter != PARAMETER else {}),
    }
    written = " ".join(f'{name}="{escape(value)}"' for name, value in attributes.items())
    return f"<script {written} async></script>"
