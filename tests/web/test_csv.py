"""CSV for spreadsheets."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime, timedelta, timezone

import pytest

from portal.web.csv import cell, csv_header, csv_lines


@pytest.mark.parametrize(
    "start",
    [
        "=",
        "+",
        "-",
        "@",
        "\t",
        "\r",
        "\n",
        " =",
        "＝",
        "﹦",
        "\u00a0=",
        "\u200b=",
        "\ufeff+",
        "\u2003 -",
        "\u00ad@",
    ],
)
def test_text_that_a_spreadsheet_would_run_gets_an_apostrophe(start):
    assert cell(f"{start}1") == f"'{start}1"


def test_other_values_keep_their_text():
    assert [cell(value) for value in ("a=1", "", -1, None, "é", " \u200b")] == [
        "a=1",
        "",
        "-1",
        "",
        "é",
        " \u200b",
    ]


def test_dates_are_written_in_utc():
    assert cell(datetime(2026, 11, 3, 9, 12, 5, tzinfo=UTC)) == "2026-11-03T09:12:05Z"
    assert cell(datetime(2026, 11, 3, 9, 12, tzinfo=timezone(timedelta(hours=2)))) == "2026-11-03T07:12:00Z"


def test_a_file_reads_back_as_it_was_written():
    text = csv_header(("Name", "Words")) + csv_lines([("Ada", 'a "b", c\nd'), ("Grace", "x\x00y")])
    assert text.startswith("\ufeffName")
    rows = list(csv.DictReader(io.StringIO(text.lstrip("\ufeff"), newline="")))
    assert rows == [{"Name": "Ada", "Words": 'a "b", c\nd'}, {"Name": "Grace", "Words": "x\ufffdy"}]
