"""Selectors in pasted headers of an email."""

from __future__ import annotations

import pytest

from portal.arrival.headers import Signature, find_signatures, holds_signature
from portal.smtp.providers import load_catalogue


@pytest.mark.parametrize(
    ("pasted", "found"),
    [
        ("DKIM-Signature: v=1; d=Shop.Example; s=K1; b=x", [("k1", "shop.example")]),
        ("dkim-signature: v=1;\r\n\td=shop.example.;\r\n\ts=k1;\r\nFrom: a", [("k1", "shop.example")]),
        ("v=1; a=rsa-sha256; d=shop.example; s=20260301pm; b=x=", [("20260301pm", "shop.example")]),
        (
            "DKIM-Signature: d=a.example; s=k1\nDKIM-Signature: d=b.example; s=k2",
            [("k1", "a.example"), ("k2", "b.example")],
        ),
        ("DKIM-Signature: v=1;\nh=from:to; d=shop.example; s=k1", [("k1", "shop.example")]),
        (
            "From: a\nSubject: d=x; s=y\nDKIM-Signature: d=shop.example; s=k1\nX-Tag: s=no",
            [("k1", "shop.example")],
        ),
        ("DKIM-Signature: d=shop.example", []),
        ("From: a", []),
    ],
)
def test_selector_and_domain_are_read(pasted: str, found: list[tuple[str, str]]) -> None:
    assert find_signatures(pasted) == [Signature(*one) for one in found]


@pytest.mark.parametrize("text", ["s1", "20260301pm._domainkey.shop.example", "two words", ""])
def test_a_selector_is_not_taken_for_headers(text: str) -> None:
    assert not holds_signature(text)


def test_selectors_of_a_card_are_patterns() -> None:
    catalogue = load_catalogue()
    mailgun, postmark = catalogue.get("mailgun"), catalogue.get("postmark")
    assert mailgun is not None
    assert {"k1", "k2", "pic"} <= set(mailgun.dns.further_selectors)
    assert postmark is not None
    assert postmark.dns.further_selectors == ()
    assert postmark.dns.selector_shapes[0] == "20260301pm"
