"""Which passwords are accepted, and how they are hashed."""

from __future__ import annotations

import unicodedata
from dataclasses import replace
from pathlib import Path

import pytest

from portal import create_app
from portal.accounts import passwords
from portal.accounts.passwords import DEMO_PASSWORD, PasswordRefused, check_password, hasher
from portal.db import db
from portal.state import get_state

LIST = Path(passwords.__file__).with_name("common_passwords.txt")
ABOUT = ("Brightleaf", "Ada Fairweather", "ada@brightleaf.example")


@pytest.mark.parametrize(
    "password",
    [
        "correct horse battery staple",
        "seven purple kettles",
        " " * 3 + "spaces stay" + " " * 3,
        "žluťoučký kůň",
        "密码密码密码密码密码密码 a b",
        "0b5f9e1c7d3a",
        "x" * 6 + "y" * 6 + "z",
        "a1" * 63 + "bc",
        "🐎🔋📎✅🐎🔋📎✅🌱🌲🌳🌴",
    ],
)
def test_there_are_no_composition_rules(password):
    check_password(password, *ABOUT)


@pytest.mark.parametrize(
    "password", ["", "x", "elevenchars", "é" * 11, unicodedata.normalize("NFD", "éàüöñîéàüöñ")]
)
def test_fewer_than_twelve_characters_are_refused(password):
    with pytest.raises(PasswordRefused, match="12 characters or more"):
        check_password(password)


def test_more_than_128_characters_are_refused():
    check_password("abc" * 42 + "de")
    with pytest.raises(PasswordRefused, match="128"):
        check_password("abc" * 43)


@pytest.mark.parametrize(
    "password",
    [
        "Password1234",
        "qwertyuiop123",
        "PASSWORDpassword",
        "aaaaaaaaaaaa",
        "abababababab",
        "１２３４５６７８９０１２",
    ],
)
def test_common_passwords_are_refused(password):
    with pytest.raises(PasswordRefused, match="too easy to guess"):
        check_password(password)


@pytest.mark.parametrize(
    "password",
    [
        "brightleafbrightleaf",
        "Brightleaf2026",
        "BRIGHT-LEAF--2026!",
        "ada@brightleaf.example",
        "adafairweather",
        "Ada.Fairweather1",
        "fairweatherada!",
    ],
)
def test_a_password_made_of_known_words_is_refused(password):
    with pytest.raises(PasswordRefused, match="too similar"):
        check_password(password, *ABOUT)


def test_a_short_name_does_not_forbid_passwords_that_contain_it():
    check_password("a quick brown lad", "A", "Ed", "a@ab.example")


def test_the_list_contains_only_passwords_of_sufficient_length():
    lines = [line for line in LIST.read_text(encoding="utf-8").splitlines() if not line.startswith("# ")]
    assert len(lines) > 250
    assert len(lines) == len(set(lines))
    assert [line for line in lines if len(line) < passwords.MIN_CHARS] == []


def test_composed_and_decomposed_letters_are_the_same_password(app):
    stored = hasher().hash(unicodedata.normalize("NFD", "žluťoučký kůň"))
    assert hasher().verify(stored, unicodedata.normalize("NFC", "žluťoučký kůň"))


@pytest.mark.parametrize("password", ["a\x00b" * 6, "\ud800" * 12, "\x7f" * 12, " " * 12])
def test_control_characters_and_surrogates_are_hashed_like_others(app, password):
    stored = hasher().hash(password)
    assert hasher().verify(stored, password)
    assert not hasher().verify(stored, password[:-1])


def test_the_password_of_an_unknown_owner_is_always_wrong(app):
    assert not hasher().verify(None, "the password of an unknown owner")


def test_hashing_within_a_transaction_raises(app):
    db.session.begin()
    with pytest.raises(RuntimeError, match="transaction"):
        hasher().hash("x" * 12)
    with pytest.raises(RuntimeError, match="transaction"):
        hasher().verify(None, "x" * 12)


def test_outside_tests_the_cost_is_the_default_of_the_library(app):
    real = create_app(replace(get_state(app).config, testing=False))
    stored = get_state(real).part(passwords.Hasher).hash("x" * 12)
    assert stored.startswith("$argon2id$v=19$m=65536,t=3,p=4$")


def test_the_published_password_of_the_demo_is_refused_outside_a_rehearsal(app):
    check_password(DEMO_PASSWORD, *ABOUT)
    state = get_state(app)
    state.config = replace(state.config, rehearsal=False)
    with pytest.raises(PasswordRefused, match="too easy to guess"):
        check_password(DEMO_PASSWORD, *ABOUT)
