"""The forms of affiliates' links, and what an owner may enter as an address or a pattern."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from portal.accounts.models import LinkForm
from portal.clock import utcnow
from portal.shop_links import (
    InvalidShopAddress,
    affiliate_link,
    clean_address,
    clean_pattern,
    parameter_in_use,
    with_parameter,
)

CONFIG = SimpleNamespace(base_url="https://signet.example")


def account(shop_url="https://shop.example/", link_form=LinkForm.SHORT, link_pattern=""):
    return SimpleNamespace(
        id=1,
        approved_at=utcnow(),
        shop_url=shop_url,
        link_form=link_form,
        link_pattern=link_pattern,
    )


@pytest.mark.parametrize(
    ("changes", "link"),
    [
        ({}, "https://signet.example/r/ADA7"),
        ({"shop_url": "", "link_form": LinkForm.PARAMETER}, "https://signet.example/r/ADA7"),
        ({"link_form": LinkForm.PARAMETER}, "https://shop.example/?ref=ADA7"),
        (
            {"link_form": LinkForm.PARAMETER, "shop_url": "https://shop.example/a?b=1#c"},
            "https://shop.example/a?b=1&ref=ADA7#c",
        ),
        ({"link_form": LinkForm.PATTERN, "link_pattern": "/p/{code}"}, "https://shop.example/p/ADA7"),
        (
            {"link_form": LinkForm.PATTERN, "link_pattern": "https://go.example/{code}"},
            "https://go.example/ADA7",
        ),
    ],
)
def test_a_link_has_the_form_that_the_owner_chose(app, changes, link):
    assert affiliate_link(account(**changes), "ADA7", CONFIG) == link


def test_the_links_of_an_unapproved_account_are_short_ones(app):
    limited = account(link_form=LinkForm.PARAMETER)
    limited.approved_at = None
    assert affiliate_link(limited, "ADA7", CONFIG) == "https://signet.example/r/ADA7"


@pytest.mark.parametrize(
    ("typed", "stored"),
    [
        ("", ""),
        ("  shop.example ", "https://shop.example/"),
        ("HTTPS://Shop.Example", "https://shop.example/"),
        ("http://shop.example:8080/a b".replace(" ", "%20"), "http://shop.example:8080/a%20b"),
        ("https://bücher.example/regal?q=ä#ö", "https://xn--bcher-kva.example/regal?q=%C3%A4#%C3%B6"),
        ("http://[2001:db8::1]:81/x", "http://[2001:db8::1]:81/x"),
        ("shop.example/a?b=1&c=2", "https://shop.example/a?b=1&c=2"),
    ],
)
def test_an_address_is_stored_in_one_form(app, typed, stored):
    assert clean_address(typed) == stored


@pytest.mark.parametrize(
    "typed",
    [
        "javascript:alert(1)",
        "javascript://shop.example/%0aalert(1)",
        "data:text/html,x",
        "ftp://shop.example/",
        "//shop.example",
        "https://",
        "https:///path",
        "https://shop.example\r\nX-Evil: 1",
        "https://shop.example/\x00",
        "https://shop example/",
        "https://shop.example\\@evil.example/",
        "https://user:secret@shop.example/",
        "https://shop.example:0/",
        "https://shop.example:99999/",
        "https://[::1",
        "https://-shop.example/",
        "https://shop.example/\u202e",
        "https://shop.example/{code}",
        "https://x/" + "a" * 400,
    ],
)
def test_what_is_no_web_address_is_refused(app, typed):
    with pytest.raises(InvalidShopAddress):
        clean_address(typed)


def test_the_portal_is_no_shop(app):
    with pytest.raises(InvalidShopAddress, match="this portal"):
        clean_address("https://signet.example/r/ADA7", taken=CONFIG.base_url)
    with pytest.raises(InvalidShopAddress, match="this portal"):
        clean_address("https://signet.example:443/r/ADA7", taken=CONFIG.base_url)
    with pytest.raises(InvalidShopAddress, match="this portal"):
        clean_pattern("https://signet.example/r/{code}", "https://shop.example/", taken=CONFIG.base_url)
    assert clean_address("http://127.0.0.1:9000", taken="http://127.0.0.1:8000")


@pytest.mark.parametrize(
    ("typed", "stored"),
    [
        ("/?partner={code}", "/?partner={code}"),
        ("/?partner={{ code }}&x=1", "/?partner={code}&x=1"),
        ("/p/{CODE}#{code}", "/p/{code}#{code}"),
        ("https://shop.example/p/{code}", "/p/{code}"),
        ("https://shop.example?partner={code}", "/?partner={code}"),
        ("go.example/{code}", "https://go.example/{code}"),
        ("https://shop.example.net/{code}", "https://shop.example.net/{code}"),
        ("https://shop.example:8443/{code}", "https://shop.example:8443/{code}"),
    ],
)
def test_a_pattern_at_the_shop_follows_the_shop_address(app, typed, stored):
    assert clean_pattern(typed, "https://shop.example/start") == stored


@pytest.mark.parametrize(
    "typed",
    ["", "/?ref=", "https://{code}.shop.example/", "/{code}\r\nX: 1", "javascript:{code}", "/{code}/{other}"],
)
def test_a_pattern_without_a_code_or_with_one_in_the_host_is_refused(app, typed):
    with pytest.raises(InvalidShopAddress):
        clean_pattern(typed, "https://shop.example/")


def test_the_parameter_that_the_script_reads(app):
    assert parameter_in_use(account()) == "ref"
    of_pattern = account(link_form=LinkForm.PATTERN, link_pattern="/?x=1&partner={code}")
    assert parameter_in_use(of_pattern) == "partner"
    assert parameter_in_use(account(link_form=LinkForm.PATTERN, link_pattern="/p/{code}")) == ""


def test_a_parameter_replaces_one_of_its_name():
    assert with_parameter("https://a.example?ref=1&b=2&ref", "ref", "X") == "https://a.example/?b=2&ref=X"
