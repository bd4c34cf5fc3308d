"""The public sign-up form: accepted and refused input. A refusal keeps the input."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wtforms.validators import ValidationError

from portal.enrolment.forms import normalize_name, validate_name

NAMES = [
    "Ada",
    "Ng",
    "Ó",
    "Grace Hopper",
    "Grace Brewster Murray Hopper",
    "D’Arcy O'Neill",
    "Anne-Marie Slaughter",
    "Jean‑Luc Picard",
    "J. R. R. Tolkien",
    "J.R.R. Tolkien",
    "Dr. Ada Lovelace",
    "Ph.D. Grace Hopper",
    "Lovelace, Ada",
    "Martin Luther King, Jr.",
    "José Ángel de la Cruz-Fernández y Rodríguez",
    "Gal·la Placídia",
    "Łukasz Żółć",
    "Nguyễn Thị Minh Khai",
    "Björk Guðmundsdóttir",
    "İbrahim Çelik",
    "Ştefan Ţepeş",
    "Þórður",
    "Søren Ærø",
    "Hawaiʻi Kaʻahumanu",
    "Анна Каренина",
    "Ελένη Παπαδοπούλου",
    "Գայանե Խաչատրյան",
    "თამარ მეფე",
    "שרה כהן",
    "ג׳ורג׳ כהן",
    "أحمد بن محمد",
    "محمد\u200cرضا پهلوی",
    "فاطمة الزهراء",
    "श्री\u200dमती शर्मा",
    "क्\u200dष विद्या",
    "অমর্ত্য সেন",
    "தமிழ்ச்செல்வி",
    "ශ්\u200dරී ලංකා",
    "สมชาย ใจดี",
    "ཚེ་རིང་".replace("་", " "),
    "မောင်မောင်",
    "ភូមិ",
    "김민준",
    "남궁 민수",
    "山田 太郎",
    "山田　太郎",
    "さくら",
    "マイケル・ジャクソン",
    "王小明",
    "歐陽 娜娜",
    "ምኒልክ",
    "ᏍᏏᏉᏯ",
    "Zoë Brontë",
    "X Æ A",
    "Nana Kwame Adjei-Brenyah",
    "María-José",
    "Siân",
    "Ọlá Ọlọ́runtóbi",
]

SPAM = [
    "http://evil.example",
    "https://evil.example/win",
    "www evil example",
    "WWW.evil.com",
    "evil.com",
    "Ada evil.com",
    "bit.ly",
    "t.me",
    "Visit evil.shop now",
    "evil。com",
    "evil．com",
    "ada@example.org",
    "@ada",
    "+49 170 1234567",
    "1000 free",
    "Win $1000",
    "€500",
    "BTC 0.5",
    "Ada <b>bold</b>",
    "<script>",
    "{{ 7*7 }}",
    "{first_name}",
    "%s",
    "Ada | Bob",
    "Ada; DROP TABLE",
    "Ada\\Bob",
    "Ada/Bob",
    "#1 Casino",
    "★ Casino ★",
    "😀",
    "Ada 😀",
    "=?utf-8?q?Ada?=",
    "'; --",
    "....",
    "- -",
    "'",
    "１２３",
    "٣٤٥",
    "Ada [click]",
    "Ada: click",
    "Ada! Click!",
    "Ada?",
    "“Ada”",
    "Ada & Bob",
    "Ada_Bob",
    "~Ada~",
    "^",
    "Ada\u00a9",
    "\u3164",
    "\uffa0",
    "A\u115fda",
    "Z" + "\u0301" * 30,
    "\u200d\u200c",
    "a\u0338" + "\u0489" * 9,
    "Ada * Bob",
    "Ada=Bob",
    "Ada “evil.com”",
]


class _Field:
    def __init__(self, data):
        self.data = data


@pytest.mark.parametrize("name", NAMES)
def test_a_name_in_any_script_is_accepted(join, stored, name):
    assert join(name=name).status_code == 303
    assert [row.name for row in stored().affiliates] == [normalize_name(name)]


@pytest.mark.parametrize("name", SPAM)
def test_input_that_is_not_a_name_is_refused(name):
    with pytest.raises(ValidationError):
        validate_name(None, _Field(normalize_name(name)))


@given(st.text(max_size=60))
def test_no_accepted_name_can_become_a_link_or_markup(name):
    normalized = normalize_name(name)
    try:
        validate_name(None, _Field(normalized))
    except ValidationError:
        return
    assert not set(normalized) & set('<>&@:/\\{}[]|=$%#*"_~^+?!;0123456789')
    assert any(c.isalpha() for c in normalized)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": ""}, "Enter your name."),
        ({"name": "   "}, "Enter your name."),
        ({"name": "\u3000\u00a0 "}, "Enter your name."),
        ({"name": "A" * 61}, "Use 60 characters or fewer."),
        ({"name": "A" * 100_000}, "Use 60 characters or fewer."),
        ({"name": "Ada\r\nBcc: eve@example.net"}, "This held invisible characters"),
        ({"name": "Ada\x00Lovelace"}, "This held invisible characters"),
        ({"name": "Ada\x1b[31m"}, "This held invisible characters"),
        ({"name": "Ada\x85Bob"}, "This held invisible characters"),
        ({"name": "Ada\u2028Bob"}, "This held invisible characters"),
        ({"name": "Ada\u202eecalevoL"}, "This held invisible characters"),
        ({"name": "evil.com"}, "Enter your name without links"),
        ({"mailbox": ""}, "Enter your email address."),
        ({"mailbox": "grace"}, "Enter an email address like name@example.com."),
        ({"mailbox": "grace@localhost"}, "Enter an email address like name@example.com."),
        ({"mailbox": "grace@exa mple.org"}, "Enter an email address like name@example.com."),
        ({"mailbox": "grace@example.org,eve@example.net"}, "Enter an email address like name@example.com."),
        ({"mailbox": "alice@example.org)bob@example.com"}, "Enter an email address like name@example.com."),
        ({"mailbox": "Grace <grace@example.org>"}, "Enter an email address like name@example.com."),
        ({"mailbox": '"grace hopper"@example.org'}, "Enter an email address like name@example.com."),
        ({"mailbox": "grace@[127.0.0.1]"}, "Enter an email address like name@example.com."),
        ({"mailbox": "x" * 65 + "@example.org"}, "Enter an email address like name@example.com."),
        ({"mailbox": "x" * 300 + "@example.org"}, "Use 254 characters or fewer."),
        ({"mailbox": "grace\u200b@example.org"}, "This held invisible characters"),
        ({"mailbox": "grace@example.org\r\nBcc: eve@example.net"}, "This held invisible characters"),
        ({"mailbox": "grâce@example.org"}, "only plain letters"),
        ({"mailbox": "=?utf-8?q?eve?=@example.org"}, "not a real email address"),
        ({"consent": ""}, "Tick this box to sign up"),
    ],
)
def test_a_refusal_is_shown_beside_the_field_and_stores_no_affiliate(join, stored, changes, message):
    answer = join(**changes)
    page = answer.get_data(as_text=True)
    assert answer.status_code == 422
    assert page.count(message) >= 2, "once in the summary, once beside the field"
    assert "<title>Error: " in page
    assert not stored().affiliates
    assert not stored().messages


def test_all_problems_are_shown_at_once(client, programme):
    answer = client.submit("/join/brightleaf", {})
    page = answer.get_data(as_text=True)
    assert answer.status_code == 422
    for message in ("Enter your name.", "Enter your email address.", "Tick this box"):
        assert message in page


def test_a_refusal_keeps_the_input(join):
    page = join(name='"><script>alert(1)</script>', mailbox="grace@example.org").get_data(as_text=True)
    assert "&#34;&gt;&lt;script&gt;" in page
    assert 'value="grace@example.org"' in page
    assert "checked" in page


def test_the_domain_of_a_mailbox_is_stored_in_a_labels(join, stored):
    join(mailbox="grace@Bücher.example")
    assert stored().messages[0].recipient == "grace@xn--bcher-kva.example"


def test_spaces_around_and_within_a_name_are_normalized(join, stored):
    join(name="  Grace \u3000 Hopper ")
    assert stored().affiliates[0].name == "Grace Hopper"
