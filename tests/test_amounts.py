"""Amounts of money: exact in tables and sums, and written with the decimals of their currency in any language."""

from __future__ import annotations

from decimal import Decimal

import pytest
from babel.localedata import locale_identifiers
from hypothesis import given
from hypothesis import strategies as st

from portal import amounts

AMOUNTS = st.decimals(
    min_value=-999_999_999_999, max_value=999_999_999_999, places=4, allow_nan=False, allow_infinity=False
)


@pytest.mark.parametrize(
    ("amount", "currency", "locale", "written"),
    [
        ("12.5", "EUR", "en", "12.50"),
        ("00012.5", "EUR", "en", "12.50"),
        ("-0.00", "EUR", "en", "0.00"),
        ("-0.00", "JPY", "en", "0"),
        ("-3", "EUR", "en", "-3.00"),
        ("1.5", "KWD", "en", "1.500"),
        ("3", "IQD", "en", "3.000"),
        ("1.2345", "CLF", "en", "1.2345"),
        ("1200", "JPY", "en", "1,200"),
        ("1E+3", "EUR", "en", "1,000.00"),
        ("12.505", "EUR", "en", "12.505"),  # nothing that an amount has is lost
        ("1234567.50", "EUR", "de", "1.234.567,50"),
        ("1234567.50", "INR", "hi", "12,34,567.50"),
        ("1234567.5", "CHF", "de_CH", "1’234’567.50"),
    ],
)
def test_an_amount_is_written_with_the_decimals_of_its_currency(amount, currency, locale, written):
    assert amounts.format_number(Decimal(amount), currency, locale) == written


@given(AMOUNTS)
def test_an_amount_survives_the_tables_exactly(amount):
    assert amounts.from_units(amounts.to_units(amount)) == amount
    plain = amounts.plain_number(amount, "EUR")
    assert Decimal(plain) == amount
    assert not (amount == 0 and plain.startswith("-"))


@pytest.mark.parametrize("text", ["", "abc", "NaN", "Infinity", "1e99", "1e-99", "9" * 60, None, "1,5"])
def test_what_is_no_amount_of_money_is_none(text):
    assert amounts.parse_amount(text) is None


@pytest.mark.thorough
@given(AMOUNTS)
def test_every_language_can_write_every_amount(amount):
    for locale in locale_identifiers():
        assert amounts.format_number(amount, "EUR", locale)
