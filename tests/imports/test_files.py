"""Files as spreadsheets write them: encodings, separators, cells, limits."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from portal.imports import cells
from portal.imports.checking import read_lines
from portal.imports.columns import Choices, ColumnField, guess
from portal.imports.reading import MAX_BYTES, FileRefused, decode, read_rows

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
TABLE = "Name;Email\nJosé Müller;jose@x.example\n"
WANTED = [["Name", "Email"], ["José Müller", "jose@x.example"]]
ENCODINGS = {
    "UTF-8": TABLE.encode(),
    "UTF-8 with a mark": b"\xef\xbb\xbf" + TABLE.encode(),
    "UTF-16 little endian": b"\xff\xfe" + TABLE.encode("utf-16-le"),
    "UTF-16 big endian": b"\xfe\xff" + TABLE.encode("utf-16-be"),
    "UTF-16 without a mark": TABLE.encode("utf-16-le"),
    "Windows-1252": TABLE.encode("cp1252"),
    "CRLF": TABLE.replace("\n", "\r\n").encode(),
    "CR": TABLE.replace("\n", "\r").encode(),
    "tabs": TABLE.replace(";", "\t").encode(),
    "commas": TABLE.replace(";", ",").encode(),
    "sep= of Excel": b"sep=;\n" + TABLE.encode(),
    "empty lines and columns": b";\n" + TABLE.encode() + b";\n;\n",
}


@pytest.fixture(autouse=True)
def translations(app):
    """Sentences need an app."""


@pytest.mark.parametrize("octets", ENCODINGS.values(), ids=ENCODINGS.keys())
def test_the_same_table_is_read_from_every_encoding(octets):
    assert [row.cells for row in read_rows(decode(octets))] == WANTED


def test_quoted_cells_hold_separators_quotes_and_line_breaks_and_lines_are_numbered():
    text = 'Name,Email\n"Hopper, ""Grace""\nB.",grace@x.example\nAda,ada@x.example\n'
    rows = read_rows(text)
    assert [(row.number, row.cells[0]) for row in rows] == [
        (1, "Name"),
        (3, 'Hopper, "Grace"\nB.'),
        (4, "Ada"),
    ]


REFUSED = {
    b"PK\x03\x04 xlsx": "workbook",
    b"\xd0\xcf\x11\xe0 xls": "workbook",
    b"": "empty",
    b" \n\n": "empty",
    b"a\x00b,c": "not a text file",
    b"\xff\xfea": "damaged",
    b'Name,Email\n"Grace,grace@x.example\n': "quotation mark that is not closed",
    b"a," * 80: "more than 60 columns",
    b"a@x.example\n" * 10_002: "more than 10,000",
    b"a" * (MAX_BYTES + 1): "larger than 5 MB",
    b'a,"' + b"b" * 200_000 + b'"\n': "cannot be read",
}


@pytest.mark.parametrize(
    "octets", REFUSED, ids=[sentence + str(n) for n, sentence in enumerate(REFUSED.values())]
)
def test_a_file_that_is_no_table_is_refused_with_a_sentence(octets):
    with pytest.raises(FileRefused, match=REFUSED[octets]):
        read_rows(decode(octets))


@pytest.mark.parametrize(
    ("cell", "day"),
    [
        ("2026-03-04", "2026-03-04"),
        ("2026-03-04T10:11:12Z", "2026-03-04"),
        ("4.3.2026", "2026-03-04"),
        ("2026/3/4 10:11", "2026-03-04"),
        ("04/03/2026", "2026-03-04"),
        ("46085", "2026-03-04"),
        ("31/12/2026", None),
        ("2026-02-30", None),
        ("1970-01-01", None),
        ("yesterday", None),
    ],
)
def test_dates_are_read_as_spreadsheets_write_them(cell, day):
    found = cells.read_date(cell, NOW, month_first=False)
    assert (f"{found:%Y-%m-%d}" if found else None) == day


def test_the_order_of_day_and_month_is_the_owners_choice():
    assert cells.read_date("03/04/2026", NOW, month_first=True).month == 3
    assert cells.read_date("13/04/2026", NOW, month_first=True) is None


def test_columns_are_guessed_by_headings_or_by_their_cells():
    found = guess(read_rows("First Name,Last name,E-mail,Affiliate Code,Opt-in date\nA,B,a@x.example,C,\n"))
    assert found.columns == {"first_name": 0, "last_name": 1, "mailbox": 2, "code": 3, "consented_at": 4}
    bare = guess(read_rows("Grace,grace@x.example\nAda,ada@x.example\n"))
    assert (bare.columns, bare.has_headings) == ({"mailbox": 1}, False)
    for headings in ("Vorname;Name;E-Mail-Adresse;Abgemeldet", "Prénom;Nom;Adresse e-mail;Désinscrit",
                     "Nombre;Apellidos;Correo electrónico;Unsubscribed"):  # fmt: skip
        other = guess(read_rows(f"{headings}\nA;B;a@x.example;\n")).columns
        assert other == {"first_name": 0, "last_name": 1, "mailbox": 2, "unsubscribed": 3}, headings
    rows = read_rows("First name,Name,Email\nAda,Ada Lovelace,a@x.example\nAda,King,k@x.example\n")
    assert [one.name for one in read_lines(rows, guess(rows), NOW)] == ["Ada Lovelace", "Ada King"]


def test_one_line_in_another_encoding_changes_no_other_line():
    octets = "Name,Email\nJosé,j@x.example\nZoë,z@x.example\n".encode() + b"Ad\xe4,a@x.example\n"
    columns = {"name": 0, "mailbox": 1}
    jose, zoe, ada = read_lines(read_rows(decode(octets)), Choices(columns=columns), NOW)
    assert (jose.name, zoe.name, jose.problems + zoe.problems) == ("José", "Zoë", [])
    assert "without the character" in " ".join(ada.problems)


FAULTS = [
    ("Grace,,,", "missing"),
    ("Grace,grace at x,,", "not an email address"),
    ("José,josé@x.example,,", "letters other than a–z before the @"),
    ("=1+1,f@x.example,,", "formula"),
    ("'=1+1,f@x.example,,", "formula"),
    ("#REF!,f@x.example,,", "spreadsheet error"),
    ("Grace,f@x.example,1.23E+10,", "rounded"),
    ("Grace,f@x.example,two words,", "32 letters"),
    ("Win at www.spam.example,f@x.example,,", "The name"),
    ("Grace,f@x.example,,2099-01-01", "date of the consent"),
    (f"{'x' * 61},f@x.example,,", "60 characters"),
    ('"Gra\nce",f@x.example,,', "line break"),
    ("Other,FIRST@x.example,,", "The same address is in line 2"),
    ("Other,f@x.example,code1,", "The same code is in line 2"),
]

_ORDER = (ColumnField.NAME, ColumnField.MAILBOX, ColumnField.CODE, ColumnField.CONSENTED_AT)
COLUMNS = {one.value: index for index, one in enumerate(_ORDER)}


@pytest.mark.parametrize(("line", "problem"), FAULTS)
def test_each_fault_is_named_beside_its_line(line, problem):
    text = f"Name,Email,Code,Consent\nFirst,first@x.example,CODE1,2026-01-02\n{line}\n"
    good, bad = read_lines(read_rows(text), Choices(columns=COLUMNS, consent_source="our old system"), NOW)
    assert good.problems == []
    assert problem in " ".join(bad.problems)


def test_what_people_paste_is_understood_and_exports_of_this_portal_are_read_again():
    text = "Name,Email,Code\n'-Dash Blog,<Ada@X.example>,'-abc\n,mailto:no.name@x.example,\n"
    dash, nameless = read_lines(read_rows(text), Choices(columns=COLUMNS), NOW)
    assert (dash.name, dash.mailbox, dash.code) == ("-Dash Blog", "Ada@x.example", "-abc")
    assert (nameless.name, nameless.problems) == ("no name", [])


def test_names_are_those_of_the_sign_up_page_also_with_wide_spaces_and_joiners():
    names = ("山田\u3000太郎", "Grace\u00a0Hopper", "محمد\u200cرضا پهلوی", "Acme GmbH & Co. KG")
    lines = "".join(f"{name},n{number}@x.example\u200b,\n" for number, name in enumerate(names))
    found = read_lines(read_rows(f"Name,Email,Code\n{lines}"), Choices(columns=COLUMNS), NOW)
    assert [line.problems for line in found] == [[]] * len(names)
    assert [line.name for line in found[:2]] == ["山田 太郎", "Grace Hopper"]
    assert found[0].mailbox == "n0@x.example"
    [hidden] = read_lines(
        read_rows("Grace\u200bHopper,g@x.example,"), Choices(COLUMNS, has_headings=False), NOW
    )
    assert "invisible" in " ".join(hidden.problems)
