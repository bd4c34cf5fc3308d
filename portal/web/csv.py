"""CSV for spreadsheets: a byte order mark, ISO dates in UTC, and no cell that a spreadsheet runs as a formula."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# Without the mark, Excel reads the file in the local encoding and garbles names; other programs skip the mark.
_BYTE_ORDER_MARK = "\ufeff"
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def csv_header(names: Sequence[str]) -> str:
    """Return the byte order mark and the header line."""
    return _BYTE_ORDER_MARK + csv_lines([names])


def csv_lines(rows: Iterable[Sequence[object]]) -> str:
    """Return rows as CSV lines (RFC 4180, so with CRLF)."""
    out = io.StringIO()
    csv.writer(out).writerows([[cell(value) for value in row] for row in rows])
    return out.getvalue()


def cell(value: object) -> str:
    """Return a value as the text of a cell; text that looks like a formula gets a leading apostrophe."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    if isinstance(value, int):
        return str(value)
    text = str(value).replace("\x00", "\ufffd")
    return f"'{text}" if text.lstrip(" ").startswith(_FORMULA_STARTS) else text
