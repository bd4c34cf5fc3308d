"""Redirect targets within the site, and the network a request comes from."""

from __future__ import annotations

import pytest
from flask import Request
from hypothesis import given
from hypothesis import strategies as st

from portal.web.requests import network_of, same_site_path

OFF_SITE = [
    "http://evil.example",
    "https://evil.example/",
    "//evil.example",
    "///evil.example",
    "////evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "\\/evil.example",
    "/\\/evil.example",
    "/\t/evil.example",
    "/\n/evil.example",
    "/\r/evil.example",
    "\t//evil.example",
    " //evil.example",
    "\x00//evil.example",
    "/ /evil.example",
    "/\x0b/evil.example",
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    "data:text/html,x",
    "http:evil.example",
    "https:/evil.example",
    "evil.example",
    "@evil.example",
    "?next=//evil.example",
    "#x",
    ".",
    "..//evil.example",
    "account",
    "",
    "/x\\evil.example",
    "/x\r\nSet-Cookie: a=b",
    "/x\x7f",
    "/x\x85",
    "http:\\\\evil.example",
    "/" + "x" * 2001,
    "ftp://evil.example",
    "/\x1f/evil.example",
    "\u00a0//evil.example",
    "／／evil.example",
    "file:///etc/passwd",
]
ON_SITE = [
    "/",
    "/account",
    "/deliveries?status=failed&x=1",
    "/x//y",
    "/x/../y",
    "/%2F/evil.example",
    "/%5Cevil.example",
    "/@evil.example",
    "/:80",
    "/?next=//evil.example",
    "/ü",
    "/a#b",
    "/.//evil.example".replace(".//", "x//"),
]


@pytest.mark.parametrize("target", OFF_SITE)
def test_a_target_off_the_site_is_rejected(target):
    assert same_site_path(target) is None


@pytest.mark.parametrize("target", ON_SITE)
def test_a_path_of_the_site_is_accepted(target):
    assert same_site_path(target) == target


def test_a_missing_target_is_none():
    assert same_site_path(None) is None


@given(st.text(st.sampled_from("/\\.:@?#x \t\n\r%\x00"), max_size=8))
def test_a_browser_reads_every_accepted_target_as_a_path(target):
    """A browser drops tabs and line breaks, trims controls and spaces, and reads a backslash as a slash."""
    if same_site_path(target):
        seen = (
            target.strip("".join(map(chr, range(33)))).translate(dict.fromkeys(b"\t\n\r")).replace("\\", "/")
        )
        assert seen == target
        assert seen.startswith("/")
        assert not seen.startswith("//")


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
        ("", "unknown"),
        ("not an address", "unknown"),
    ],
)
def test_the_network_is_an_ipv4_address_or_an_ipv6_64(address, network):
    assert network_of(Request({"REMOTE_ADDR": address})) == network
    assert network_of(Request({"REMOTE_ADDR": address, "HTTP_X_FORWARDED_FOR": "198.51.100.1"})) == network
