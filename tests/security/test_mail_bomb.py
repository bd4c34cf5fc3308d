"""A short form of the mail bombs of ``make security``."""

from __future__ import annotations

from tests.security import mail_bomb


def test_no_victim_of_a_mail_bomb_gets_more_emails_than_the_bounds_allow(tmp_path):
    found = mail_bomb.rows(tmp_path, posts=24)
    assert [row for row in found if not row.passed] == []
    assert len(found) == 13
