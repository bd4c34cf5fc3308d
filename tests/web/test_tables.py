"""Every table of a page has rows of one line where there is room, except those that are listed here with a reason."""

from __future__ import annotations

import re

from portal.about import ROOT

TEMPLATES = ROOT / "templates"
_CALL = re.compile(r"\{%-? call ui\.table\((.*)\) -?%\}")
_IN_FULL = "lines=false"
# Tables whose texts are read and compared in full, so that their rows have several lines: how many a template has, and why.
SEVERAL_LINES = {
    "api/reference.html": (3, "a reference that is read from the beginning, in sentences"),
    "arrival/index.html": (1, "values as sent and as received, which are compared in full"),
    "domains/_result.html": (1, "a verdict of two rows with its reasons"),
    "rehearsal/faults.html": (3, "a reference of failures, with sentences and replies"),
    "settings/_fix.html": (1, "values before and after a fix, which are read in full before it is applied"),
}


def _sources():
    for path in sorted(TEMPLATES.rglob("*.html")):
        name = path.relative_to(TEMPLATES).as_posix()
        if not name.startswith("mail/"):
            yield name, path.read_text(encoding="utf-8")


def test_every_table_is_made_by_the_component():
    assert [name for name, text in _sources() if "<table" in text] == ["components/table.html"]


def test_only_tables_with_a_reason_have_rows_of_several_lines():
    calls = {name: _CALL.findall(text) for name, text in _sources()}
    assert sum(map(len, calls.values())) > 40
    in_full = {name: sum(_IN_FULL in one for one in found) for name, found in calls.items()}
    assert {name: number for name, number in in_full.items() if number} == {
        name: number for name, (number, _why) in SEVERAL_LINES.items()
    }


def test_cells_of_a_fold_have_labels():
    cell = re.compile(r"<td\b[^>]*>")
    for name, text in _sources():
        if "ui.table(" in text or name == "money/_commission_cells.html":
            assert [found for found in cell.findall(text) if "data-label=" not in found] == [], name
