"""Reads a file as spreadsheets write it: its encoding, its separator, its cells. All of it takes linear time."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass

from flask_babel import gettext as _

MAX_BYTES = 5 * 1024 * 1024
MAX_LINES = 10_000
MAX_COLUMNS = 60
MAX_CELL_CHARS = 2000
_SEPARATORS = ",;\t|"
_MARKS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
_WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")  # .xlsx and .ods; .xls
_SAMPLE_CHARS = 20_000


class FileRefused(Exception):
    """The file cannot be read as a table. The message is one sentence for the owner."""


@dataclass(frozen=True)
class Row:
    """One row of the table; ``number`` is the line of the file at which it ends."""

    number: int
    cells: list[str]


def decode(octets: bytes) -> str:
    """Return the text of a file in UTF-8, UTF-16 or Windows-1252. Raises FileRefused."""
    if len(octets) > MAX_BYTES:
        raise FileRefused(_("The file is larger than 5 MB. Split it."))
    if octets.startswith(_WORKBOOKS):
        raise FileRefused(_("This is a workbook. In the spreadsheet, choose Save as, CSV UTF-8."))
    text = _decode(octets)
    if "\x00" in text:
        raise FileRefused(_("This is not a text file."))
    if not text.strip():
        raise FileRefused(_("The file is empty."))
    return text


def _decode(octets: bytes) -> str:
    try:
        for mark, encoding in _MARKS:
            if octets.startswith(mark):
                return octets.decode(encoding)
        sample = octets[:2000]
        if sample[1::2].count(0) > len(sample) // 4:  # UTF-16 without a mark: every other octet of Latin text
            return octets.decode("utf-16-le")
        if sample[::2].count(0) > len(sample) // 4:
            return octets.decode("utf-16-be")
    except UnicodeDecodeError:
        raise FileRefused(_("The file is damaged: it is not in the encoding that its start names.")) from None
    text = octets.decode("utf-8", "replace")
    wrong = text.count("\ufffd")
    # A file that was put together from two: most letters are UTF-8, and the lines of the others are named as faulty.
    if wrong * 2 <= sum(not c.isascii() for c in text):
        return text
    return octets.decode("cp1252", "replace")


def read_rows(text: str) -> list[Row]:
    """Return the rows that hold anything. Raises FileRefused."""
    separator, text = _separator(text)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    rows: list[Row] = []
    last = 0
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                rows.append(_row(reader.line_num, cells))
            last = reader.line_num
            if len(rows) > MAX_LINES + 1:
                raise FileRefused(_("The file has more than 10,000 lines. Split it."))
    except csv.Error:
        raise FileRefused(
            _(
                "Line %(number)s cannot be read: look for a quotation mark that is not closed.",
                number=last + 1,
            )
        ) from None
    return rows


def _row(number: int, cells: list[str]) -> Row:
    if len(cells) > MAX_COLUMNS:
        raise FileRefused(_("Line %(number)s has more than 60 columns.", number=number))
    return Row(number, [cell.strip()[:MAX_CELL_CHARS] for cell in cells])


def _separator(text: str) -> tuple[str, str]:
    """Return the separator, and the text without a line ``sep=;`` that Excel reads at the beginning."""
    first, newline, rest = text.partition("\n")
    named = first.strip().lower()
    if newline and named.startswith("sep=") and len(named) == 5 and named[4] in _SEPARATORS:
        return named[4], rest
    if newline and named == "sep=":  # a tab, which was stripped
        return "\t", rest
    counts = dict.fromkeys(_SEPARATORS, 0)
    is_quoted = False
    for character in text[:_SAMPLE_CHARS]:
        if character == '"':
            is_quoted = not is_quoted
        elif not is_quoted and character in counts:
            counts[character] += 1
        elif not is_quoted and character in "\r\n" and any(counts.values()):
            break  # the first line with a separator decides
    return max(counts, key=lambda one: counts[one]), text
