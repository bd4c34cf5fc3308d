"""The links of affiliates: their form, where the short one redirects to, and what an owner may enter for them.

A link is derived from the account's settings and the affiliate's code each time it is shown, so a changed shop address
changes every link at once.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Protocol
from urllib.parse import SplitResult, quote, urlsplit, urlunsplit

import idna
from flask_babel import gettext as _

from .accounts.models import LinkForm
from .accounts.standing import Approvable, is_limited

if TYPE_CHECKING:
    from .config import Config

PARAMETER = "ref"  # carries the code to the shop
COUNTED = "ref_counted"  # in the shop's address: the short link has counted this visit
CODE = re.compile(r"[A-Za-z0-9_-]{1,32}")
LIMIT_CHARS = 300
_PLACEHOLDER = "{code}"
_PLACEHOLDERS = re.compile(r"\{\{?\s*code\s*\}?\}", re.IGNORECASE)
# What a URI may hold unquoted (RFC 3986 section 2), and the sign of what is quoted already.
_KEPT = "!#$%&'()*+,/:;=?@[]~"
_DEFAULT_PORTS = {"http": 80, "https": 443}


class LinkedAccount(Approvable, Protocol):
    """An account as a row, or as the logged-in owner's."""

    @property
    def shop_url(self) -> str: ...
    @property
    def link_form(self) -> LinkForm: ...
    @property
    def link_pattern(self) -> str: ...


class InvalidShopAddress(ValueError):
    """The text is no address that a link may lead to. The message is one sentence for the owner."""


def affiliate_link(account: LinkedAccount, code: str, config: Config) -> str:
    """Return the link of the affiliate with this code. Without a shop address it leads to a page that states it."""
    if form_in_use(account) is LinkForm.SHORT:
        return f"{config.base_url}/r/{code}"
    return landing_url(account, code)


def form_in_use(account: LinkedAccount) -> LinkForm:
    """Return the form of an account's links.

    It is the short one while there is no shop address, and while the account is limited: no email through the
    platform's sender holds an address that a visitor chose.
    """
    chosen = account.link_form or LinkForm.SHORT
    if chosen is LinkForm.SHORT or not account.shop_url or is_limited(account):
        return LinkForm.SHORT
    return chosen


def landing_url(account: LinkedAccount, code: str) -> str:
    """Return the address in the shop with a code, as the owner's form of the link writes it."""
    if account.link_form is LinkForm.PATTERN and account.link_pattern:
        filled = account.link_pattern.replace(_PLACEHOLDER, code)
        return filled if not filled.startswith("/") else f"{_origin(account.shop_url)}{filled}"
    return with_parameter(account.shop_url, PARAMETER, code)


def parameter_in_use(account: LinkedAccount) -> str:
    """Return the name of the parameter that carries the code to the shop; empty if a pattern has it elsewhere."""
    if form_in_use(account) is not LinkForm.PATTERN:
        return PARAMETER
    pairs = (pair.partition("=") for pair in urlsplit(account.link_pattern).query.split("&"))
    return next((name for name, _equals, value in pairs if value == _PLACEHOLDER), "")


def with_parameter(url: str, name: str, value: str) -> str:
    """Return an address with one more parameter in its query; one of the same name is replaced."""
    parts = urlsplit(url)
    kept = [one for one in parts.query.split("&") if one and one.partition("=")[0] != name]
    return urlunsplit(parts._replace(path=parts.path or "/", query="&".join([*kept, f"{name}={value}"])))


def host_of(url: str) -> str:
    """Return the host of an address, with its port if it names one."""
    return urlsplit(url).netloc


def clean_address(text: str, *, taken: str = "") -> str:
    """Return a web address as it is stored: ASCII, with a scheme. An empty text stays empty.

    ``taken`` is the portal's own address, which a shop cannot have. Raises InvalidShopAddress.
    """
    text = text.strip()
    if not text:
        return ""
    cleaned = urlunsplit(_parse(text if "://" in text else f"https://{text}"))
    if len(cleaned) > LIMIT_CHARS:
        raise InvalidShopAddress(_("Use an address of at most %(limit)s characters.", limit=LIMIT_CHARS))
    if taken and host_of(cleaned) == host_of(taken):
        raise InvalidShopAddress(_("This is the address of this portal. Enter that of your shop."))
    return cleaned


def clean_pattern(text: str, shop_url: str, *, taken: str = "") -> str:
    """Return a pattern as it is stored. One at the shop's own host begins with its path and follows the shop address.

    ``taken`` is the portal's own address, as for ``clean_address``. Raises InvalidShopAddress.
    """
    pattern = _PLACEHOLDERS.sub(_PLACEHOLDER, text.strip())
    if _PLACEHOLDER not in pattern:
        raise InvalidShopAddress(
            _("Write {code} where the affiliate’s code belongs, as in /?partner={code}.")
        )
    # A code is a word of letters and digits, so the pattern is read with such a word in the place of {code}.
    mark = next(mark for mark in (f"code{number}x" for number in range(LIMIT_CHARS)) if mark not in pattern)
    marked = pattern.replace(_PLACEHOLDER, mark)
    address = f"{_origin(shop_url)}{marked}" if marked.startswith("/") else marked
    cleaned = clean_address(address, taken=taken)
    if mark in host_of(cleaned):
        raise InvalidShopAddress(_("Write {code} after the host name, not in it."))
    path = cleaned.removeprefix(_origin(shop_url))
    # Another host or port may begin with the shop's: https://shop.example:8443/, https://shop.example.net/
    return (path if path.startswith("/") else cleaned).replace(mark, _PLACEHOLDER)


def _parse(url: str) -> SplitResult:
    """Return the parts of an address, quoted and with the host in A-labels. Raises InvalidShopAddress."""
    wrong = InvalidShopAddress(_("Enter a web address such as https://shop.example/."))
    if any(c <= " " or c == "\x7f" or c in '\\<>"^`{|}' or not c.isprintable() for c in url):
        raise wrong
    try:
        parts = urlsplit(url)
        port = parts.port
        host = _ascii_host(parts.hostname or "")
    except ValueError:  # also idna.IDNAError
        raise wrong from None
    if parts.scheme.lower() not in {"http", "https"} or not host or port == 0:
        raise wrong
    if "@" in parts.netloc:
        raise InvalidShopAddress(_("Enter the address without a username."))
    netloc = host if port in {None, _DEFAULT_PORTS[parts.scheme.lower()]} else f"{host}:{port}"
    path, query, fragment = (quote(part, safe=_KEPT) for part in (parts.path, parts.query, parts.fragment))
    return SplitResult(parts.scheme.lower(), netloc, path or "/", query, fragment)


def _ascii_host(host: str) -> str:
    if ":" in host:
        return f"[{host}]"
    if host.isascii():
        return host.lower() if re.fullmatch(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?\.?", host) else ""
    return idna.encode(host, uts46=True).decode()


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
