"""DKIM keys (RFC 6376, 8301, 8463): fetch the key of a selector and check whether receivers accept it."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key

from .resolver import LookupStatus, Resolver

_LABEL = r"[a-z0-9][a-z0-9_-]*+(?<![_-])"
SELECTOR = re.compile(rf"{_LABEL}(?:\.{_LABEL})*+", re.IGNORECASE)
_MIN_RSA_BITS, _ADVISED_RSA_BITS = 1024, 2048  # RFC 8301: receivers reject shorter keys, and advise 2048 bits
_MAX_SHOWN_CHARS = 700


class KeyState(StrEnum):
    """State of the key of one selector. The values are part of the command's JSON."""

    GOOD = "good"
    WEAK = "weak"  # accepted, but a longer key is advised
    TESTING = "testing"
    REVOKED = "revoked"
    BROKEN = "broken"
    MISSING = "missing"
    UNKNOWN = "unknown"  # could not be looked up


@dataclass(frozen=True)
class DkimKey:
    """The key of one selector. ``aliases`` are the targets of its CNAMEs."""

    selector: str
    name: str
    state: KeyState
    sentence: str
    text: str = ""
    aliases: tuple[str, ...] = ()

    @property
    def usable(self) -> bool:
        return self.state in (KeyState.GOOD, KeyState.WEAK, KeyState.TESTING)

    def as_dict(self) -> dict[str, Any]:
        return {
            "selector": self.selector,
            "name": self.name,
            "state": self.state.value,
            "sentence": self.sentence,
            "record": self.text[:_MAX_SHOWN_CHARS],
            "aliases": list(self.aliases),
        }


def fetch_key(resolver: Resolver, domain: str, selector: str) -> DkimKey:
    """Look up the key of a selector. Raises nothing."""
    name = f"{selector}._domainkey.{domain}"
    answer = resolver.query(name, "TXT")
    if answer.status is LookupStatus.CNAME_LOOP:
        return DkimKey(
            selector, name, KeyState.BROKEN, "Its CNAME leads back to itself, so receivers cannot read a key."
        )
    if not answer.answered:
        return DkimKey(selector, name, KeyState.UNKNOWN, "We could not check it just now.")
    if not answer.records:
        return DkimKey(
            selector, name, KeyState.MISSING, _missing_sentence(answer.aliases), aliases=answer.aliases
        )
    if len(answer.records) > 1:
        sentence = (
            f"There are {len(answer.records)} records with this name, so receivers cannot find the key."
        )
        return DkimKey(selector, name, KeyState.BROKEN, sentence, answer.records[0], answer.aliases)
    text = answer.records[0]
    state, sentence = classify_key(text)
    return DkimKey(selector, name, state, sentence, text, answer.aliases)


def _missing_sentence(aliases: tuple[str, ...]) -> str:
    if aliases:
        return f"Its CNAME points to {aliases[-1]}, where no key is published."
    return "There is no record."


def classify_key(text: str) -> tuple[KeyState, str]:
    """Return the state of a key record, and a sentence that explains it."""
    tags = parse_tags(text)
    if tags is None or "p" not in tags or tags.get("v", "DKIM1") != "DKIM1":
        return KeyState.BROKEN, "The record is not a DKIM key (it needs v=DKIM1 and p=)."
    if not tags["p"]:
        return KeyState.REVOKED, "The key is revoked (p= is empty), so every signature made with it fails."
    if "sha256" not in tags.get("h", "sha256").lower().split(":"):
        return KeyState.BROKEN, "The key allows only SHA-1 (h=), which receivers no longer accept."
    if not {"*", "email"} & set(tags.get("s", "*").lower().split(":")):
        return KeyState.BROKEN, "The key is not for email (s=)."
    state, sentence = _classify_key_data(tags.get("k", "rsa").lower(), tags["p"])
    if "y" in tags.get("t", "").lower().split(":"):
        sentence += " It says that it is being tested (t=y); some receivers then ignore it."
        state = state if state is KeyState.BROKEN else KeyState.TESTING
    return state, sentence


def parse_tags(text: str) -> dict[str, str] | None:
    """Parse a tag list (RFC 6376 section 3.2) without the white space in values. None if it is not a tag list."""
    tags: dict[str, str] = {}
    for part in text.split(";"):
        name, equals, value = part.partition("=")
        if not part.strip():
            continue
        if not equals or name.strip() in tags:
            return None
        tags[name.strip()] = re.sub(r"\s", "", value)
    return tags


def _classify_key_data(kind: str, encoded: str) -> tuple[KeyState, str]:
    try:
        raw = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        return (
            KeyState.BROKEN,
            "The key is damaged (p= is not valid base64). Perhaps it was cut off or pasted with quotation marks.",
        )
    if kind == "ed25519":
        if len(raw) == 32:
            return KeyState.GOOD, "An Ed25519 key."
        return KeyState.BROKEN, "The key is damaged. An Ed25519 key has 32 bytes."
    if kind != "rsa":
        return KeyState.BROKEN, f"Receivers do not support keys of the type {kind[:20]!r}."
    return _classify_rsa_key(raw)


def _classify_rsa_key(raw: bytes) -> tuple[KeyState, str]:
    try:
        key = load_der_public_key(raw)
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, RSAPublicKey):
        return (
            KeyState.BROKEN,
            "The key is damaged (p= does not contain an RSA key). Often its end is missing.",
        )
    bits = key.key_size
    if bits < _MIN_RSA_BITS:
        return (
            KeyState.BROKEN,
            f"The RSA key has {bits} bits. Receivers refuse keys with fewer than {_MIN_RSA_BITS}.",
        )
    if bits < _ADVISED_RSA_BITS:
        return (
            KeyState.WEAK,
            f"An RSA key of {bits} bits. It works, but {_ADVISED_RSA_BITS} bits are recommended.",
        )
    return KeyState.GOOD, f"An RSA key of {bits} bits."
