"""docs/security.md has every requirement of ASVS 5.0 (levels 1 and 2) in exactly one table, and names tests that exist."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from portal.accounts import passwords

ROOT = Path(__file__).parents[1]
# How many requirements of levels 1 and 2 each section has. They are numbered from 1, those of level 3 come last.
SECTIONS = {
    "1.1": 2, "1.2": 9, "1.3": 11, "1.4": 3, "1.5": 2, "2.1": 3, "2.2": 3, "2.3": 4, "2.4": 1, "3.2": 2, "3.3": 4,
    "3.4": 6, "3.5": 5, "3.7": 2, "4.1": 3, "4.2": 1, "4.3": 2, "4.4": 4, "5.1": 1, "5.2": 3, "5.3": 2, "5.4": 3,
    "6.1": 3, "6.2": 12, "6.3": 4, "6.4": 4, "6.5": 5, "6.6": 3, "6.8": 4, "7.1": 3, "7.2": 4, "7.3": 2, "7.4": 5,
    "7.5": 2, "7.6": 2, "8.1": 2, "8.2": 3, "8.3": 1, "8.4": 1, "9.1": 3, "9.2": 4, "10.1": 2, "10.2": 2, "10.3": 4,
    "10.4": 11, "10.5": 5, "10.6": 2, "10.7": 3, "11.1": 2, "11.2": 3, "11.3": 3, "11.4": 4, "11.5": 1, "11.6": 1,
    "12.1": 3, "12.2": 2, "12.3": 4, "13.1": 1, "13.2": 5, "13.3": 2, "13.4": 5, "14.1": 2, "14.2": 4, "14.3": 3,
    "15.1": 3, "15.2": 3, "15.3": 7, "16.1": 1, "16.2": 5, "16.3": 4, "16.4": 3, "16.5": 3, "17.1": 1, "17.2": 4,
    "17.3": 2,
}  # fmt: skip


def chapter() -> str:
    text = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    return text.partition("## OWASP ASVS 5.0, level 2")[2].partition("\nUse Python")[0]


def test_each_requirement_is_in_exactly_one_table():
    rows = re.findall(r"^\| ([0-9., ]+) \|", chapter(), re.M)
    listed = Counter(number for row in rows for number in row.split(", "))
    expected = {
        f"{section}.{number}" for section, count in SECTIONS.items() for number in range(1, count + 1)
    }
    assert len(expected) == 253
    assert set(listed) == expected
    assert [number for number, count in listed.items() if count > 1] == []


def test_each_test_that_is_named_exists():
    named = re.findall(r"`(tests/[^`]+)`", chapter())
    assert len(named) > 50
    assert [name for name in named if not (ROOT / name).is_file()] == []


def test_the_number_of_refused_passwords_is_that_of_the_list():
    found = re.search(r"list of refused passwords has (\d+) entries", chapter())
    assert int(found[1]) == len(passwords._common_passwords())
