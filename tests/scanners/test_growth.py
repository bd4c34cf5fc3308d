"""The work of reading text from outside grows linearly with the text, whatever it contains."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.scanners.entries import GROUPS, HOSTILE
from tests.scanners.measure import growth_of

ROOT = Path(__file__).resolve().parents[2]


def _measure(group: str, length: int) -> list[str]:
    """Return a description of each hostile text that cost too much, measured in a process of its own."""
    command = [sys.executable, "-m", "tests.scanners.measure", group, str(length)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=1200, check=False)
    assert run.returncode == 0, run.stderr[-2000:]
    return [
        f"{entry}: {text!r}: {small * 1000:.1f} ms for {length} characters, {large * 1000:.1f} ms for twice as many"
        for entry, text, length, small, large in map(json.loads, run.stdout.splitlines())
    ]


@pytest.mark.parametrize("group", GROUPS)
def test_twice_the_text_costs_at_most_two_and_a_half_times_as_much(group):
    assert _measure(group, 2_000) == []


@pytest.mark.thorough
@pytest.mark.parametrize("length", [5_000, 200_000])
@pytest.mark.parametrize("group", GROUPS)
def test_the_same_holds_for_up_to_400_thousand_characters(group, length):
    assert _measure(group, length) == []


def is_found(read, name: str, length: int) -> bool:
    """Whether one of five measurements finds the growth, which a busy machine hides now and then."""
    return any(growth_of(read, HOSTILE[name], length) is not None for _ in range(5))


def test_a_quadratic_scanner_is_found():
    def quadratic(text: str) -> int:
        return sum(text.count("}}", index) for index in range(0, len(text), 2))

    assert is_found(quadratic, "{{", 5_000)


def test_a_scanner_that_begins_anew_at_each_tag_is_found():
    def restart(text: str) -> int:
        return sum(len(text[index:].split("<")) for index in range(0, len(text), 4))

    assert is_found(restart, "<a ", 2_000)
