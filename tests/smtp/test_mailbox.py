"""Strict parsing of addresses, and the texts that a header may hold."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.smtp.mailbox import (
    HeaderError,
    MailboxError,
    check_header_safe,
    is_header_safe,
    parse_mailbox,
)

ACCEPTED = {
    "ada@example.org": "ada@example.org",
    " ada@Example.ORG ": "ada@example.org",
    "Ada.Lovelace+news@example.co.uk": "Ada.Lovelace+news@example.co.uk",
    "o'brien@example.org": "o'brien@example.org",
    "a@münchen.de": "a@xn--mnchen-3ya.de",
    "jürgen@example.org": "jürgen@example.org",
    "a!#$%&'*+-/=?^_`{|}~b@example.org": "a!#$%&'*+-/=?^_`{|}~b@example.org",
    "x" * 64 + "@example.org": "x" * 64 + "@example.org",
}
REFUSED = [
    "", "ada", "@", "@example.org", "ada@", "ada@@example.org", "ada@b@example.org", "ada@localhost",
    "ada@example..org", "ada@.example.org", "ada@example.org.", ".ada@example.org", "ada.@example.org",
    "a..b@example.org", "a b@example.org", "ada@exam ple.org", "ada@example.org\r\nRCPT TO:<x@y.z>",
    "ada\n@example.org", "ada@example.org\0", "\tada@example.org", "<ada@example.org>",
    "Ada <ada@example.org>", "ada@example.org (home)", "(c)ada@example.org", '"ada"@example.org',
    '"a b"@example.org', "ada@[127.0.0.1]", "ada@127.0.0.1", "ada@[IPv6:::1]", "ada@2001:db8::1",
    "a,b@example.org", "a;b@example.org", "a:b@example.org", "a\\b@example.org",
    "alice@example.org)bob@example.com", "a@b.org, c@d.org", "x" * 65 + "@example.org",
    "a@" + "b" * 63 + "." + "c" * 63 + "." + "d" * 63 + "." + "e" * 60 + ".org", "ü" * 33 + "@example.org",
    "ada@exa_mple.org", "ada@-example.org", "ada@example.123", "=?utf-8?q?=61?=@example.org",
    "a\u202eb@example.org", "a\u2028b@example.org", "a\u200bb@example.org", "a\ud800b@example.org",
    "a\u00a0b@example.org", "a\x85b@example.org", "ada＠example.org", "a💥b@example.org", "ada%example.org",
    "ada@example.org@", "mailto:ada@example.org", "ada@https://example.org", "postmaster",
    "ada@ example.org", "ada@example.org/x", "ada@example.org?x=y", "a@xn--a.org", "a>b@example.org",
]  # fmt: skip


@pytest.mark.parametrize(("typed", "canonical"), ACCEPTED.items())
def test_a_valid_address_has_one_canonical_form(typed: str, canonical: str) -> None:
    assert str(parse_mailbox(typed)) == canonical
    assert parse_mailbox(canonical) == parse_mailbox(typed)


@pytest.mark.parametrize("typed", REFUSED, ids=ascii)
def test_an_invalid_address_is_refused_with_a_sentence(typed: str) -> None:
    with pytest.raises(MailboxError) as refusal:
        parse_mailbox(typed)
    assert str(refusal.value).endswith(".")


def test_only_a_non_ascii_local_part_needs_smtputf8() -> None:
    assert parse_mailbox("a@münchen.de").is_ascii
    assert not parse_mailbox("jürgen@example.org").is_ascii


@pytest.mark.parametrize(
    "c",
    [
        "\r",
        "\n",
        "\0",
        "\x1b",
        "\x7f",
        "\x85",
        "\x9b",
        "\u2028",
        "\u2029",
        "\u202e",
        "\u2066",
        "\u200f",
        "\udc80",
    ],
)
def test_controls_are_refused_in_a_header(c: str) -> None:
    assert not is_header_safe(f"a{c}b")
    with pytest.raises(HeaderError, match="The subject"):
        check_header_safe(f"a{c}b", "The subject")


@given(st.text(max_size=80))
def test_any_text_is_either_a_mailbox_or_a_mailbox_error(text: str) -> None:
    try:
        mailbox = parse_mailbox(text)
    except MailboxError:
        return
    assert parse_mailbox(str(mailbox)) == mailbox
