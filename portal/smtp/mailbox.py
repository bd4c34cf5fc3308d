"""Mailboxes as submission needs them, and the gate that keeps foreign text out of header syntax."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from email.errors import HeaderParseError
from email.headerregistry import Address
from functools import lru_cache

from .network.guard import HostError, canonical_host

_ATOM = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+")  # RFC 5322 section 3.2.3
_DOT_ATOM = re.compile(rf"{_ATOM.pattern}(?:\.{_ATOM.pattern})*")
_SPACE = re.compile(r"\s")
_LOCAL_LIMIT = 64  # octets, RFC 5321 section 4.5.3.1.1
_ADDRESS_LIMIT = 254  # octets; the path of RFC 5321 section 4.5.3.1.3 counts its angle brackets too
# Controls (C0, C1), line and paragraph separators, lone surrogates, and the bidirectional controls: invisible,
# yet they turn a shown name around.
_TREACHEROUS = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


class MailboxError(ValueError):
    """The text is no mailbox we send to; the message is one plain sentence for the person who typed it."""


class HeaderError(ValueError):
    """A value holds characters that must not come near a header."""


@dataclass(frozen=True)
class Mailbox:
    """An address such as ``ada@example.org``; the domain is canonical (lower case, A-labels)."""

    local: str
    domain: str

    @property
    def is_ascii(self) -> bool:
        """Return whether the address travels without the SMTPUTF8 extension (RFC 6531)."""
        return self.local.isascii()

    def __str__(self) -> str:
        return f"{self.local}@{self.domain}"


def parse_mailbox(text: str) -> Mailbox:
    """Read one bare address, strictly: a dot-atom local part and a domain with at least one dot.

    ``email.utils.parseaddr`` guesses (CVE-2023-27043), so it is not asked. Comments, quoted strings and
    domain literals are legal and unused by real people; refusing them removes a whole class of confusion.
    Raises MailboxError.
    """
    typed = text.strip(" ")
    if not is_header_safe(typed) or _SPACE.search(typed):
        raise MailboxError("An email address contains no spaces or invisible characters.")
    if typed.count("@") != 1:
        raise MailboxError("An email address has exactly one @, as in ada@example.org.")
    local, _, domain = typed.partition("@")
    mailbox = Mailbox(_local_part(local), _domain(domain))
    if len(str(mailbox).encode()) > _ADDRESS_LIMIT:
        raise MailboxError("This email address is too long.")
    return mailbox


def _local_part(text: str) -> str:
    if _DOT_ATOM.fullmatch(text) and len(text) <= _LOCAL_LIMIT and "=?" not in text:
        return text  # nearly all there are
    local = unicodedata.normalize("NFC", text)
    if "" in local.split("."):
        raise MailboxError("The part before the @ is empty, or has a dot at an end or two in a row.")
    if not all(_ATOM.fullmatch(_ascii_shadow(atom)) for atom in local.split(".")):
        raise MailboxError("The part before the @ contains a character that email addresses cannot have.")
    if "=?" in local and "?=" in local:
        # An encoded word (RFC 2047) here means that a library mangled an address; it would go to a stranger.
        raise MailboxError("The part before the @ is not a real email address.")
    if len(local.encode()) > _LOCAL_LIMIT:
        raise MailboxError("The part before the @ is too long.")
    return local


def _ascii_shadow(atom: str) -> str:
    """Replace letters, marks and digits beyond ASCII, which RFC 6531 allows, by one the pattern knows."""
    return "".join("x" if not c.isascii() and unicodedata.category(c)[0] in "LMN" else c for c in atom)


@lru_cache(maxsize=1024)  # the same few domains come again with each message
def _domain(text: str) -> str:
    try:
        domain = canonical_host(text)
    except HostError:
        raise MailboxError("The part after the @ is not a domain such as example.org.") from None
    numeric = ":" in domain or domain.replace(".", "").isdigit()
    if "." not in domain or numeric or text.endswith("."):
        raise MailboxError("The part after the @ is not a domain such as example.org.")
    return domain


def is_header_safe(text: str) -> bool:
    """Return whether a value may go to a header: no C0, C1, line separator, bidi control, lone surrogate."""
    return _TREACHEROUS.search(text) is None


def check_header_safe(text: str, name: str = "This value") -> str:
    """Return ``text`` unchanged if it is header-safe; raise HeaderError naming the value otherwise."""
    if not is_header_safe(text):
        raise HeaderError(f"{name} contains a line break or an invisible control character.")
    return text


def format_address(display_name: str, mailbox: Mailbox) -> str:
    """Return a From or Reply-To value whose address is ``mailbox`` whatever the display name says.

    Raises HeaderError for names with controls. The name is quoted where its characters need it.
    """
    check_header_safe(display_name, "The display name")
    try:
        return str(Address(display_name=display_name.strip(), addr_spec=str(mailbox)))
    except (HeaderParseError, ValueError, IndexError):
        raise HeaderError("The display name cannot be put into a header.") from None
