"""A short form of the registration relay of ``make security``."""

from __future__ import annotations

from tests.security import registration_relay


def test_a_stranger_who_registers_cannot_write_to_others_in_words_of_their_own(tmp_path):
    found = registration_relay.rows(tmp_path, posts=4)
    assert [row for row in found if not row.passed] == []
