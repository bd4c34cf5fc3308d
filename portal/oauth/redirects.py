"""The address to which an authorization server sends the browser back, and whether the provider registers such a one.

Sources: learn.microsoft.com, "Redirect URI (reply URL) best practices and limitations"; developers.google.com, "Using OAuth 2.0
for Web Server Applications", section "Redirect URI validation rules".
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from flask_babel import gettext as _

from ..state import current_config, get_state
from . import issuers

if TYPE_CHECKING:
    from flask import Flask

    from .models import Purpose

Finish = Callable[[str, Mapping[str, str]], Any]  # issuer and the parameters of its answer -> a response

# Names below these are of no public registry (RFC 6761, RFC 6762, RFC 9476 and common private ones).
_PRIVATE_ENDINGS = frozenset(
    {"local", "localhost", "internal", "lan", "home", "corp", "test", "invalid", "example", "alt"}
)


@dataclass
class _Finishes:
    """What finishes a consent, by its purpose. One address serves all, because each has to be registered at the provider."""

    by_purpose: dict[Purpose, Finish] = field(default_factory=dict)


def register_finish(app: Flask, purpose: Purpose, finish: Finish) -> None:
    """Let this function answer the callbacks of consents for a purpose."""
    get_state(app).part(_Finishes).by_purpose[purpose] = finish


def finish_for(purpose: Purpose) -> Finish:
    """Return what answers the callbacks of consents for a purpose."""
    return get_state().part(_Finishes).by_purpose[purpose]


def redirect_uri(issuer: str) -> str:
    """Return the address to which an issuer sends the browser back, from the configured base URL."""
    return f"{current_config().base_url}/oauth/callback/{issuer}"


def problem(issuer: str, opened_at: str) -> str:
    """Return why no connection can be made by consent at the portal's address; empty if nothing is known against it.

    Args:
        opened_at: the host name under which the page was opened.
    """
    config = current_config()
    if refuses(issuer, config.base_url):
        name = issuers.name_of(issuer)
        if config.is_local:
            port = urlsplit(config.base_url).port
            better = f"http://localhost:{port}" if port else "http://localhost"
            return str(
                _(
                    "%(name)s does not accept this redirect address. On your own machine it accepts "
                    "only localhost. Start the portal with SIGNET_BASE_URL=%(better)s, and open that "
                    "address.",
                    name=name,
                    better=better,
                )
            )
        return str(
            _(
                "%(name)s does not accept this redirect address. It needs a public host name. The "
                "operator of this portal sets it in SIGNET_BASE_URL.",
                name=name,
            )
        )
    if opened_at != config.host_name:
        return str(
            _(
                "You opened this portal at %(here)s, but you would return to %(there)s, where you are "
                "not logged in. Open %(base)s and connect there.",
                here=opened_at,
                there=config.host_name,
                base=config.base_url,
            )
        )
    return ""


def refuses(issuer: str, base_url: str) -> bool:
    """Return whether a provider is known to register no redirect address below a base URL, which is https or of this machine."""
    parts = urlsplit(base_url)
    host = parts.hostname or ""
    if issuer == issuers.MICROSOFT:
        return parts.scheme == "http" and host != "localhost"
    if issuer == issuers.GOOGLE:
        return not _is_public_name(host) and not _is_loopback(host)
    return False


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_public_name(host: str) -> bool:
    _, dot, ending = host.rpartition(".")
    return bool(dot) and not ending.isdigit() and ending not in _PRIVATE_ENDINGS
