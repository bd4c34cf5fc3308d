"""Looking at DKIM keys (RFC 6376, 8301, 8463): is there one under a selector, and would receivers take it?"""

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

from .resolver import Asker, Status

SELECTOR = re.compile(
    r"[a-z0-9](?:[a-z0-9_-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9_-]*[a-z0-9])?)*", re.IGNORECASE
)
_WEAK, _STRONG = 1024, 2048  # bits of RSA: shorter is refused (RFC 8301), longer is advised
_SHOWN = 700


class KeyState(StrEnum):
    """What became of one selector."""

    GOOD = "good"
    WEAK = "weak"  # receivers take it, yet a longer one is advised
    TESTING = "testing"
    REVOKED = "revoked"
    BROKEN = "broken"
    MISSING = "missing"
    UNKNOWN = "unknown"  # could not be looked up


@dataclass(frozen=True)
class Key:
    """One selector's key. ``aliases`` are the CNAME's targets."""

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
            "record": self.text[:_SHOWN],
            "aliases": list(self.aliases),
        }


def look_at(asker: Asker, domain: str, selector: str) -> Key:
    """Look a selector's key up. Raises nothing."""
    name = f"{selector}._domainkey.{domain}"
    found = asker.ask(name, "TXT")
    if found.status is Status.LOOP:
        return Key(selector, name, KeyState.BROKEN, "Its CNAME leads in a circle, so nobody can read a key.")
    if not found.looked:
        return Key(selector, name, KeyState.UNKNOWN, "It could not be looked up just now.")
    if not found.records:
        return Key(selector, name, KeyState.MISSING, _missing(found.aliases), aliases=found.aliases)
    if len(found.records) > 1:
        sentence = (
            f"There are {len(found.records)} records in one place; receivers cannot tell which is the key."
        )
        return Key(selector, name, KeyState.BROKEN, sentence, found.records[0], found.aliases)
    text = found.records[0]
    state, sentence = judge(text)
    return Key(selector, name, state, sentence, text, found.aliases)


def _missing(aliases: tuple[str, ...]) -> str:
    if aliases:
        return f"Its CNAME points to {aliases[-1]}, where no key is published."
    return "There is no record."


def judge(text: str) -> tuple[KeyState, str]:
    """Say whether receivers would take a key record."""
    tags = read_tags(text)
    if tags is None or "p" not in tags or tags.get("v", "DKIM1") != "DKIM1":
        return KeyState.BROKEN, "What stands there is no DKIM key (it needs v=DKIM1 and p=)."
    if not tags["p"]:
        return KeyState.REVOKED, "The key is revoked: p= is empty, so every signature made with it fails."
    if "sha256" not in tags.get("h", "sha256").lower().split(":"):
        return KeyState.BROKEN, "The key allows only SHA-1 (h=), which receivers no longer take."
    if not {"*", "email"} & set(tags.get("s", "*").lower().split(":")):
        return KeyState.BROKEN, "The key is not meant for email (s=)."
    state, sentence = _material(tags.get("k", "rsa").lower(), tags["p"])
    if "y" in tags.get("t", "").lower().split(":"):
        sentence += " It says that it is being tested (t=y); some receivers then ignore it."
        state = state if state is KeyState.BROKEN else KeyState.TESTING
    return state, sentence


def read_tags(text: str) -> dict[str, str] | None:
    """Read a tag list (RFC 6376 section 3.2); None where it is none. White space within values is dropped."""
    tags: dict[str, str] = {}
    for part in text.split(";"):
        name, equals, value = part.partition("=")
        if not part.strip():
            continue
        if not equals or name.strip() in tags:
            return None
        tags[name.strip()] = re.sub(r"\s", "", value)
    return tags


def _material(kind: str, encoded: str) -> tuple[KeyState, str]:
    try:
        raw = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        return (
            KeyState.BROKEN,
            "The key is damaged: p= is no base64. Perhaps it was cut or pasted with quotes.",
        )
    if kind == "ed25519":
        if len(raw) == 32:
            return KeyState.GOOD, "An Ed25519 key."
        return KeyState.BROKEN, "The key is damaged: an Ed25519 key has 32 octets."
    if kind != "rsa":
        return KeyState.BROKEN, f"Receivers know no keys of the type {kind[:20]!r}."
    return _rsa(raw)


def _rsa(raw: bytes) -> tuple[KeyState, str]:
    try:
        key = load_der_public_key(raw)
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, RSAPublicKey):
        return KeyState.BROKEN, "The key is damaged: p= holds no RSA key. Often its end is missing."
    bits = key.key_size
    if bits < _WEAK:
        return KeyState.BROKEN, f"The RSA key has {bits} bits; receivers refuse fewer than {_WEAK}."
    if bits < _STRONG:
        return KeyState.WEAK, f"An RSA key of {bits} bits: it works, but {_STRONG} are advised."
    return KeyState.GOOD, f"An RSA key of {bits} bits."
