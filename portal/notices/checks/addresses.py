"""Links of a text that lead nowhere in an email, and the address that was meant where it is certain."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import TYPE_CHECKING, NamedTuple

from flask_babel import gettext as _

from ..catalogue import VariableType
from .foreign import replace_in_addresses
from .syntax import shorten

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ..catalogue import Notice

_WHOLE = re.compile(r"(?:https?://[^\s/]|mailto:(?:[^\s@]+@|\{[{%])|tel:[+(0-9{])", re.IGNORECASE)
_REFUSED_SCHEME = re.compile(r"(?:data|ftp|sms|whatsapp|viber|tg|geo|webcal|facetime|skype):", re.IGNORECASE)
_TWO_SCHEMES = re.compile(r"https?:/*(?=https?:)", re.IGNORECASE)
_HOST = re.compile(r"https?://(?:[^/?#@\s]*@)?(\[[^\]]*\]|[^/?#:\s{}]*)([^/?#\s]*)", re.IGNORECASE)
_INTERNAL_ENDINGS = {
    "localhost", "localdomain", "local", "internal", "intranet", "lan", "home", "corp", "test", "invalid", "arpa",
}  # fmt: skip
_DOMAIN = re.compile(
    r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.){1,9}[a-z]{2,24}(?::[0-9]{1,5})?(?=[/?#]|\Z)", re.IGNORECASE
)
_PAGE_ENDINGS = {"html", "htm", "php", "asp", "aspx", "pdf", "jpg", "png"}  # of files, not of domains
_MAILBOX = re.compile(r"[^\s@/:]{1,64}@(?:[a-z0-9-]{1,63}\.){1,9}[a-z]{2,24}", re.IGNORECASE)
_OUTPUT = re.compile(r"\{\{-?\s{0,5}([A-Za-z_]\w{0,60})\s{0,5}(\|)?")
_HREF = re.compile(r"(href\s{0,5}=\s{0,5}[\"']|\]\()([^\"'()<>\s{}]{1,500})(?=[\"')\s])", re.IGNORECASE)
_MAILBOXES = ("email", "reply_to")


class DeadLink(NamedTuple):
    """A link that leads nowhere, with the reason as a sentence that begins with a small letter."""

    address: str
    sentence: str
    suggestion: str = ""


def find_dead_links(addresses: Iterable[str], notice: Notice) -> Iterator[DeadLink]:
    """Yield the addresses that lead nowhere. Those with a refused scheme are left to the sanitiser."""
    types = {variable.name: variable.type for variable in notice.variables}
    stripped = [entered.strip() for entered in addresses]
    meant = replace_in_addresses(stripped, notice)
    for address in stripped:
        if address.startswith(("{{", "{%")):
            output = _OUTPUT.match(address)
            if output and not output.group(2) and types.get(output.group(1)) not in (None, VariableType.LINK):
                yield _describe_variable(address, output.group(1))
        elif not address:
            yield DeadLink(address, _("a link has no address; enter one, or remove the link."))
        elif (replaced := meant[address]) != address:
            yield DeadLink(
                address,
                _(
                    "the link “%(link)s” is another product’s placeholder; *Replace all* makes it %(variable)s.",
                    link=shorten(address, 60),
                    variable=replaced,
                ),
                replaced,
            )
        elif _WHOLE.match(address):
            yield from _find_faults(address)
        elif not _REFUSED_SCHEME.match(address):
            yield _describe_incomplete(address)


def _find_faults(address: str) -> Iterator[DeadLink]:
    """Find what is wrong in an address that has its scheme."""
    shown = shorten(address, 60)
    two = _TWO_SCHEMES.match(address)
    host = _host_of(address)
    if two is not None:
        whole = address[two.end() :]
        sentence = _("the link “%(link)s” begins twice; write %(new)s.", link=shown, new=shorten(whole, 80))
        yield DeadLink(address, sentence, whole)
    elif _HOST.match(address) and " " in _without_tokens(address):  # in tel: and mailto: they do no harm
        yield _describe_spaces(address)
    elif host and not host.startswith("[") and not all(host.split(".")):
        sentence = _("the link “%(link)s” leads nowhere in an email; its domain is not complete.", link=shown)
        yield DeadLink(address, sentence)


def _describe_incomplete(address: str) -> DeadLink:
    shown, suggestion = shorten(address, 60), suggest_address(address)
    if address.startswith("#"):
        meant = _("enter an address with https://.")
    elif suggestion:
        meant = _("write %(new)s.", new=shorten(suggestion, 80))
    else:
        meant = _("enter the whole address, with https://.")
    sentence = _("the link “%(link)s” leads nowhere in an email; %(remedy)s", link=shown, remedy=meant)
    return DeadLink(address, sentence, suggestion)


def find_internal_addresses(addresses: Iterable[str]) -> Iterator[str]:
    """Yield the addresses that only the owner's own computer or network knows: localhost, private networks, bare names."""
    for address in addresses:
        host = _host_of(address)
        if host and _is_internal(host):
            yield address


def _host_of(address: str) -> str:
    """Return the host of a web address in lower case; an empty string where a placeholder makes it."""
    match = _HOST.match(address.strip())
    if match is None or "{" in match.group(2):
        return ""
    return match.group(1).rstrip(".").lower()


def _is_internal(host: str) -> bool:
    try:
        return not ip_address(host.strip("[]")).is_global
    except ValueError:
        is_word = "." not in host
        return is_word or host.rpartition(".")[2] in _INTERNAL_ENDINGS


def _without_tokens(address: str) -> str:
    return re.sub(r"\{\{.{0,200}?\}\}|\{%.{0,200}?%\}", "", address, flags=re.DOTALL)


def _describe_spaces(address: str) -> DeadLink:
    shown = shorten(address, 60)
    host = _HOST.match(address)
    if host is not None and address[host.end() : host.end() + 1] == " ":
        return DeadLink(address, _("the link “%(link)s” has a space in its domain.", link=shown))
    parts = re.split(r"(\{\{.{0,200}?\}\}|\{%.{0,200}?%\})", address, flags=re.DOTALL)
    whole = "".join(part if number % 2 else part.replace(" ", "%20") for number, part in enumerate(parts))
    sentence = _("the link “%(link)s” has a space in it; write %(new)s.", link=shown, new=shorten(whole, 80))
    return DeadLink(address, sentence, whole)


def suggest_address(address: str) -> str:
    """Return the whole address for one without its scheme, or an empty string."""
    address = address.removeprefix("//")
    if _MAILBOX.fullmatch(address):
        return f"mailto:{address}"
    domain = _DOMAIN.match(address)
    if domain is None:
        return ""
    ending = domain.group().partition(":")[0].rpartition(".")[2].lower()
    return "" if ending in _PAGE_ENDINGS else f"https://{address}"


def complete_addresses(source: str) -> tuple[str, list[tuple[str, str]]]:
    """Return HTML or Markdown with ``https://`` or ``mailto:`` before addresses that lack it, and the pairs."""
    pairs: dict[str, str] = {}

    def complete(match: re.Match[str]) -> str:
        before, address = match.groups()
        two = _TWO_SCHEMES.match(address)
        new = address[two.end() :] if two else "" if _WHOLE.match(address) else suggest_address(address)
        if not new:
            return match.group()
        pairs[address] = new
        return f"{before}{new}"

    return _HREF.sub(complete, source), list(pairs.items())


def line_of(source: str, address: str) -> int:
    """Return the line of the first link with this address; 1 if it is not found."""
    quoted = (f'"{address}"', f"'{address}'", f"({address})") if address else ('href=""', "href=''", "]()")
    index = next((at for at in map(source.find, (*quoted, address)) if at > 0), 0)
    return source.count("\n", 0, index) + 1


def _describe_variable(address: str, name: str) -> DeadLink:
    shown = shorten(address, 60)
    if any(word in name for word in _MAILBOXES):
        sentence = _("the link “%(link)s” is a mailbox; write mailto: before it.", link=shown)
        return DeadLink(address, sentence, f"mailto:{address}")
    sentence = _("the link “%(link)s” contains no address; use a variable that is one.", link=shown)
    return DeadLink(address, sentence)
