"""Links of a text that lead nowhere in an email, and the address that was meant where it is certain."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from ..catalogue import VariableType
from .foreign import replace_placeholders
from .syntax import shorten

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ..catalogue import Notice

_WHOLE = re.compile(r"(?:https?://[^\s/]|mailto:(?:[^\s@]+@|\{[{%])|tel:[+(0-9{])", re.IGNORECASE)
_REFUSED_SCHEME = re.compile(
    r"(?:javascript|vbscript|data|file|ftp|sms|blob|about|cid|whatsapp):", re.IGNORECASE
)
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
    for entered in addresses:
        address = entered.strip()
        shown = shorten(address, 60)
        if address.startswith(("{{", "{%")):
            output = _OUTPUT.match(address)
            if output and not output.group(2) and types.get(output.group(1)) not in (None, VariableType.LINK):
                yield _describe_variable(address, output.group(1))
        elif not address:
            yield DeadLink(address, "a link has no address; enter one, or remove the link.")
        elif address.startswith("#"):
            yield DeadLink(
                address, f"the link “{shown}” leads nowhere in an email; enter an address with https://."
            )
        elif (replaced := replace_placeholders(address, notice, html=False)[0]) != address:
            sentence = (
                f"the link “{shown}” is another product’s placeholder; *Replace all* makes it {replaced}."
            )
            yield DeadLink(address, sentence, replaced)
        elif not _WHOLE.match(address) and not _REFUSED_SCHEME.match(address):
            suggestion = suggest_address(address)
            meant = (
                f"; write {shorten(suggestion, 80)}."
                if suggestion
                else "; enter the whole address, with https://."
            )
            yield DeadLink(address, f"the link “{shown}” leads nowhere in an email{meant}", suggestion)


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
        if _WHOLE.match(address) or not (new := suggest_address(address)):
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
        return DeadLink(
            address, f"the link “{shown}” is a mailbox; write mailto: before it.", f"mailto:{address}"
        )
    return DeadLink(address, f"the link “{shown}” holds no address; take a variable that is one.")
