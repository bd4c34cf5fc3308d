"""Reads single cells: addresses, dates, yes or no, and what a spreadsheet has done to a value."""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

from email_validator import EmailNotValidError, validate_email

from ..smtp.mailbox import MailboxError, parse_mailbox
from ..web.pasted_address import unwrap_address

if TYPE_CHECKING:
    from collections.abc import Mapping

_ERRORS = frozenset({"#REF!", "#NAME?", "#VALUE!", "#DIV/0!", "#N/A", "#NULL!", "#NUM!", "########"})
_NUMBER = re.compile(r"\d(?:[.,]\d+)?E\+\d{1,3}", re.IGNORECASE)
_TAMED = "=+-@\t\r"
_ISO = re.compile(r"(\d{4})([-/.])(\d{1,2})\2(\d{1,2})(?:[T ].*)?")
_DOTS = re.compile(r"(\d{1,2})\.\s?(\d{1,2})\.\s?(\d{4})(?: .*)?")
_SLASHES = re.compile(r"(\d{1,2})[/-](\d{1,2})[/-](\d{4})(?: .*)?")
_SERIAL = re.compile(r"(\d{5})(?:[.,]\d+)?")  # days since 30 December 1899, as Excel counts
_EPOCH = date(1899, 12, 30)
_EARLIEST = date(1990, 1, 1)
_YES_NO: Mapping[str, bool] = {
    **dict.fromkeys(("yes", "y", "true", "1", "x", "unsubscribed", "ja", "oui", "sí", "si"), True),
    **dict.fromkeys(("", "no", "n", "false", "0", "-", "subscribed", "nein", "non"), False),
}


def untamed(cell: str) -> str:
    """Return a cell without the apostrophe that CSV exports put before what a spreadsheet would run as a formula."""
    return cell[1:] if len(cell) > 1 and cell[0] == "'" and cell[1] in _TAMED else cell


def is_formula(cell: str) -> bool:
    """Return whether a cell holds a formula instead of its value."""
    return cell.startswith(("=", "@"))


def is_several_lines(cell: str) -> bool:
    """Return whether a cell has a line break or another control character.

    Spaces of any width and joiners are left to the rules of names and addresses: Japanese, Persian and Hindi names need them.
    """
    return any(unicodedata.category(c) in {"Cc", "Cs", "Zl", "Zp"} for c in cell)


def is_error(cell: str) -> bool:
    """Return whether a cell holds an error of the spreadsheet."""
    return cell.upper() in _ERRORS


def is_rounded_number(cell: str) -> bool:
    """Return whether a spreadsheet has written a long number as a power of ten, whose other digits are lost."""
    return _NUMBER.fullmatch(cell) is not None


def is_mailbox(cell: str) -> bool:
    """Return whether a cell looks like an email address."""
    return len(cell) <= 300 and read_mailbox(cell) is not None


def read_mailbox(cell: str) -> str | None:
    """Return the address of a cell in the form of the envelope, or None."""
    text = unwrap_address(cell) or ""
    try:
        found = validate_email(text, check_deliverability=False, strict=True)
        if found.ascii_email is None:
            return None
        return str(parse_mailbox(found.normalized))
    except (EmailNotValidError, MailboxError):
        return None


def has_accents_before_at(cell: str) -> bool:
    """Return whether a cell is an address but for letters other than a–z before the @, which few servers take."""
    local, at, domain = (unwrap_address(cell) or "").rpartition("@")
    plain = "".join("x" if c.isalpha() and not c.isascii() else c for c in local)
    return bool(at) and not local.isascii() and read_mailbox(f"{plain}@{domain}") is not None


def read_date(cell: str, now: datetime, *, month_first: bool) -> datetime | None:
    """Return the beginning of the day that a cell names, in UTC; None if it names none from 1990 to tomorrow."""
    day = _read_day(cell, month_first=month_first)
    if day is None or not _EARLIEST <= day <= (now + timedelta(days=1)).date():
        return None
    return min(datetime(day.year, day.month, day.day, tzinfo=UTC), now)


def _read_day(cell: str, *, month_first: bool) -> date | None:
    try:
        if found := _ISO.fullmatch(cell):
            return date(int(found[1]), int(found[3]), int(found[4]))
        if found := _DOTS.fullmatch(cell):
            return date(int(found[3]), int(found[2]), int(found[1]))
        if found := _SLASHES.fullmatch(cell):
            first, second = int(found[1]), int(found[2])
            month, day = (first, second) if month_first else (second, first)
            return date(int(found[3]), month, day)
        if found := _SERIAL.fullmatch(cell):
            return _EPOCH + timedelta(days=int(found[1]))
    except ValueError:
        pass
    return None


def read_yes_no(cell: str) -> bool | None:
    """Return what a cell answers, or None."""
    return _YES_NO.get(cell.casefold())
