"""CSV for spreadsheets: a byte order mark, ISO dates in UTC, and no cell that a spreadsheet runs as a formula."""

from __future__ import annotations

import csv
import io
import unicodedata
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from flask import Response, stream_with_context

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# Without the mark, Excel reads the file in the local encoding and garbles names; other programs skip the mark.
_BYTE_ORDER_MARK = "\ufeff"
# In their usual, full-width and small forms (Unicode blocks FF00 and FE50), which spreadsheets may take for the usual one.
_FORMULA_STARTS = frozenset("=+-@\t\r\n＝＋－＠﹦﹢﹣﹫")


class Number(str):
    """The text of a number. Its cell gets no apostrophe, so that a negative one stays a number."""

    __slots__ = ()


def csv_download(name: str, lines: Iterable[str]) -> Response:
    """Answer with a CSV file, which is made while it is sent."""
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(stream_with_context(iter(lines)), mimetype="text/csv", headers=headers)


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
    if isinstance(value, int | Number):
        return str(value)
    text = str(value).replace("\x00", "\ufffd")
    return f"'{text}" if _looks_like_formula(text) else text


def _looks_like_formula(text: str) -> bool:
    """Return whether a text starts like a formula, after any spaces and invisible characters."""
    for char in text:
        if char in _FORMULA_STARTS:
            return True
        if unicodedata.category(char)[0] not in "ZC":  # separators; control and format characters
            return False
    return False
