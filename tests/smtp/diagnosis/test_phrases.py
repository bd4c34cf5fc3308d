"""The index of all phrases finds the same as the pattern of each list."""

from __future__ import annotations

import pytest

from portal.smtp.diagnosis.phrases import PhraseIndex, concept_phrases, concepts_in, fold, phrase_pattern
from tests.scanners.entries import HOSTILE

LISTS = {
    "word": ("quota", "mail$", "over * limit", "no"),
    "unspaced": ("認証", "smtp認証", "送信* 停止", "사용자"),
    "none": ("ip$",),
}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Quotas", {"word"}),
        ("subquota", set()),
        ("sub-quota", {"word"}),
        ("the mail.", {"word"}),
        ("mails", set()),
        ("over the limit", {"word"}),
        ("over" + " x" * 26 + " limit", set()),
        ("yes, no", {"word"}),
        ("前の認証です", {"unspaced"}),
        ("사용자를", {"unspaced"}),
        ("送信は停止、 停止", {"unspaced"}),
        ("ip no 認証", {"word", "unspaced", "none"}),
        ("", set()),
    ],
)
def test_the_lists_whose_phrases_occur_are_found(text: str, found: set[str]) -> None:
    folded = fold(text)
    assert PhraseIndex(LISTS).names_in(folded) == found
    assert {name for name, one in LISTS.items() if phrase_pattern(one).search(folded)} == found


@pytest.mark.thorough
def test_each_phrase_of_a_concept_is_found_as_by_its_pattern() -> None:
    patterns = {name: phrase_pattern(phrases) for name, phrases in concept_phrases().items()}
    phrases = [one.replace("*", "").rstrip("$") for several in concept_phrases().values() for one in several]
    hostile = (make(200) for make in HOSTILE.values())
    for text in ("x ".join(phrases[at : at + 9]) for at in range(0, len(phrases), 9)), hostile:
        for folded in map(fold, text):
            assert concepts_in(folded) == {name for name, one in patterns.items() if one.search(folded)}
