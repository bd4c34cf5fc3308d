"""Amounts of money: the currencies of ISO 4217, exact units for tables and sums, and amounts written for people.

The codes are the active ones of list one as of 1 January 2026, without those for which the list gives no decimals because
they are not used for payments: precious metals, units of funds such as XDR, the testing code and the code for "no
currency". Their decimals are those of ISO 4217; CLDR rounds some of them, such as IQD, to what cash is paid in.

Tables hold amounts as units of 1/10,000, because no currency has more than four decimals and SQLite has no decimal type.
"""

from __future__ import annotations

from decimal import ROUND_DOWN, Decimal, InvalidOperation
from functools import cache, lru_cache
from typing import TYPE_CHECKING

from babel import Locale
from babel.numbers import NumberPattern, parse_pattern

if TYPE_CHECKING:
    from collections.abc import Mapping

_WITHOUT = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"
_TWO = """
AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE CHF CHW CNY COP COU
CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES
KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR
NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP
TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XAD XCD XCG YER ZAR ZMW ZWG
"""
_THREE = "BHD IQD JOD KWD LYD OMR TND"
_FOUR = "CLF UYW"

BY_DECIMALS: Mapping[int, tuple[str, ...]] = {
    decimals: tuple(codes.split())
    for decimals, codes in enumerate((_WITHOUT, "", _TWO, _THREE, _FOUR))
    if codes
}
CODES: tuple[str, ...] = tuple(sorted(code for codes in BY_DECIMALS.values() for code in codes))
_DECIMALS = {code: decimals for decimals, codes in BY_DECIMALS.items() for code in codes}
_UNIT_DECIMALS = 4
_USUAL_DECIMALS = 2  # of a code that the list does not have
_MAX_CHARS = 24  # longer than any amount of money
_EXPONENTS = range(-8, 19)  # of ten: beyond these, no amount of money
DEFAULT_LOCALE = "en"


def parse_amount(text: object) -> Decimal | None:
    """Return an amount of money, or None if the text is not one."""
    written = str(text)
    if len(written) > _MAX_CHARS:
        return None
    try:
        amount = Decimal(written)
    except InvalidOperation:
        return None
    return amount if amount.is_finite() and _exponent(amount) in _EXPONENTS else None


def to_units(amount: Decimal) -> int:
    """Return an amount in units of 1/10,000. Further decimals, which no currency has, are cut off."""
    return int(amount.scaleb(_UNIT_DECIMALS).to_integral_value(ROUND_DOWN))


def from_units(units: int) -> Decimal:
    """Return the amount of so many units, exactly."""
    return Decimal(units).scaleb(-_UNIT_DECIMALS)


def plain_number(amount: Decimal, currency: str) -> str:
    """Return an amount for programs, with the decimals of its currency: ``1234.50``; zero has no sign."""
    return f"{_with_decimals(amount, currency):f}"


def format_number(amount: Decimal, currency: str, locale: str = DEFAULT_LOCALE) -> str:
    """Return an amount as a language writes it, with the decimals of its currency: ``1,234.50``."""
    exact = _with_decimals(amount, currency)
    decimals = max(0, -_exponent(exact))
    return _write(exact, decimals, locale)


def format_money(amount: Decimal, currency: str, locale: str = DEFAULT_LOCALE) -> str:
    """Return an amount with the code of its currency, which no language reads as another one: ``1,234.50 EUR``."""
    return f"{format_number(amount, currency, locale)} {currency}".strip()


def format_count(count: Decimal, locale: str = DEFAULT_LOCALE) -> str:
    """Return a number that is no money as a language writes it: ``1,234``."""
    decimals = max(0, -_exponent(count))
    return _write(count, decimals, locale)


@lru_cache(maxsize=10_000)
def format_integer(number: int, locale: str = DEFAULT_LOCALE) -> str:
    """Return a whole number as a language groups its digits: ``12,345``."""
    return format_count(Decimal(number), locale)


def format_rate(rate: float, locale: str = DEFAULT_LOCALE) -> str:
    """Return a rate in percent as a language writes decimals, ``5.0 %``; two digits below one percent."""
    return f"{_write(Decimal(rate) * 100, 2 if rate < 0.01 else 1, locale)} %"


def _write(number: Decimal, decimals: int, locale: str) -> str:
    return str(_pattern(locale, decimals).apply(number, _locale(locale)))


def _with_decimals(amount: Decimal, currency: str) -> Decimal:
    """Return the amount with at least the decimals of its currency; none that it has is lost."""
    decimals = max(_DECIMALS.get(currency, _USUAL_DECIMALS), -_exponent(amount.normalize()))
    scaled = int(amount.scaleb(decimals))
    return Decimal(scaled).scaleb(-decimals)  # an integer zero has no sign


def _exponent(amount: Decimal) -> int:
    exponent = amount.as_tuple().exponent
    return exponent if isinstance(exponent, int) else 0


@cache
def _pattern(locale: str, decimals: int) -> NumberPattern:
    """Return how a language groups digits, with so many decimals."""
    pattern = parse_pattern(_locale(locale).decimal_formats[None].pattern)
    pattern.frac_prec = (decimals, decimals)
    return pattern


@cache
def _locale(name: str) -> Locale:
    return Locale.parse(name)
