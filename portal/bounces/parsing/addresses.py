"""Finds email addresses in reports, in linear time."""

from __future__ import annotations

import re

# Tried where a word begins only, so that a long word without an @ is read once. Local parts may be quoted.
ADDRESS = re.compile(
    r"(?<![^\s<>()\[\]{}:;,|'\"=])"
    r"(\"[^\"\s@<>]{1,64}\"|[^\s<>()\[\]{}:;,|\"@]{1,100})"
    r"@((?:[^\W_]|[.\-_])*(?:[^\W_]))"
)
_TYPE = re.compile(r"^\s*[\w-]{1,20}\s*;\s*")
_UNITEXT = re.compile(r"\\x\{([0-9A-Fa-f]{2,6})\}")
_ROLE = re.compile(
    r"(?:mailer-?daemon|post_?master|abuse|support|help-?desk|admin(?:istrator)?|no-?reply|hostmaster|webmaster|root)",
    re.IGNORECASE,
)


def addresses_in(text: str) -> list[str]:
    """Return the addresses of a text in order, each once."""
    return list(dict.fromkeys(f"{found[1].strip(chr(39))}@{found[2]}" for found in ADDRESS.finditer(text)))


def typed_address(value: str) -> str:
    """Return the address of a field such as ``rfc822; <ada@example.org>`` (RFC 3464), or ""."""
    bare = _UNITEXT.sub(_letter, _TYPE.sub("", value))
    found = addresses_in(bare)
    return found[0].lstrip("#|/") if found else ""


def _letter(found: re.Match[str]) -> str:
    code = int(found[1], 16)
    return chr(code) if code <= 0x10FFFF and not 0xD800 <= code <= 0xDFFF else ""


def same(one: str, other: str) -> bool:
    """Return whether two addresses are the same to a mail system in practice: case and quotes do not count."""
    return one.replace('"', "").casefold() == other.replace('"', "").casefold()


def is_role(address: str) -> bool:
    """Return whether the address is that of a mail system or its staff."""
    return bool(_ROLE.fullmatch(address.partition("@")[0]))
