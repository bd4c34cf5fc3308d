"""The public sign-up form: accepted and refused input. A refusal keeps the input."""

from __future__ import annotations

import re

import pytest
from email_validator import EmailNotValidError, validate_email
from hypothesis import given
from hypothesis import strategies as st
from wtforms.validators import ValidationError

from portal.accounts.names import holds_link
from portal.enrolment.forms import normalize_name, validate_name
from portal.web import fields
from tests.cases import in_one_test

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
    "Acme GmbH & Co. KG",
    "Studio 54",
    "TeaBlog24",
    "50 Cent",
    "100% Cotton",
    "Sarah – Travel Blog",
    "Peter “Pete” Jones",
    "Ada Lovelace (Brightleaf)",
    "Dr.Müller",
    "St.Gallen Tee",
    "J.R.R.Tolkien",
    "AC/DC Fans",
    "Yahoo! Tips",
    "P!nk #1 Fan",
    "¡Hola! ¿Qué tal?",
    "№ 1 Чай",
    "Tea | Blog",
    "tea_lover_24",
    "Tea: A Blog",
    "C&A [Berlin]",
    "Acme™ Tea",
    "3M+",
    "Λ-Club",
    "ПРОдажи 24",
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
    "Win $1000",
    "€500",
    "Ada <b>bold</b>",
    "<script>",
    "{{ 7*7 }}",
    "{first_name}",
    "%s",
    "Ada; DROP TABLE",
    "Ada\\Bob",
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
    "~Ada~",
    "^",
    "\u3164",
    "\uffa0",
    "A\u115fda",
    "Z" + "\u0301" * 30,
    "\u200d\u200c",
    "a\u0338" + "\u0489" * 9,
    "Ada * Bob",
    "Ada=Bob",
    "Ada “evil.com”",
    "Dr.Com",
    "T.Me",
    "St.Online",
    "Ada evil[.]com",
    "Ada evil (dot) com",
    "evil․com",
    "hxxps evil",
    "10.0.0.1",
    "Call 030 1234567",
    "Call +49 (170) 123-45-67",
    "Аda Lovelace",
    "ΑPPLE",
    "Рaypal",
    "evil.сom",
    "A\u0338d\u0338a",
    "a\u0301\u0302\u0303\u0304da",
    "A\u20dd",
    "Ada\u2066",
    "@ada_lovelace",
    "Ada $$$",
]


class _Field:
    def __init__(self, data):
        self.data = data


@pytest.mark.parametrize("name", NAMES)
def test_a_name_in_any_script_is_accepted(name):
    validate_name(None, _Field(normalize_name(name)))


@pytest.mark.parametrize("name", NAMES[::20])
def test_a_name_is_stored_as_it_was_typed(join, stored, name):
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
    without_percentages = re.sub(r"\d ?%(?!\w)", "", normalized)
    assert not set(without_percentages) & set("<>@\\{}=$%*~^;")
    assert not holds_link(normalized)
    assert any(c.isalpha() for c in normalized)


@in_one_test(
    ("changes", "message"),
    [
        ({"name": ""}, "Enter your name."),
        ({"name": "   "}, "Enter your name."),
        ({"name": "\u3000\u00a0 "}, "Enter your name."),
        ({"name": "A" * 61}, "Use 60 characters or fewer."),
        ({"name": "A" * 100_000}, "Use 60 characters or fewer."),
        ({"name": "Ada\r\nBcc: eve@example.net"}, "This field contained invisible characters"),
        ({"name": "Ada\x00Lovelace"}, "This field contained invisible characters"),
        ({"name": "Ada\x1b[31m"}, "This field contained invisible characters"),
        ({"name": "Ada\x85Bob"}, "This field contained invisible characters"),
        ({"name": "Ada\u2028Bob"}, "This field contained invisible characters"),
        ({"name": "Ada\u202eecalevoL"}, "This field contained invisible characters"),
        ({"name": "evil.com"}, "Enter your name without links"),
        ({"name": "Ada < Bob"}, "Enter your name without the character &lt;."),
        ({"name": "1234"}, "Enter your name with at least one letter."),
        ({"name": "Аda"}, "“Аda” mixes letters that look alike"),
        ({"mailbox": ""}, "Enter your email address."),
        ({"mailbox": "grace"}, "Enter an email address like name@example.com."),
        ({"mailbox": "grace@localhost"}, "Enter an email address like name@example.com."),
        ({"mailbox": "grace@exa mple.org"}, "Enter an email address like name@example.com."),
        ({"mailbox": "grace@example.org,eve@example.net"}, "Enter an email address like name@example.com."),
        ({"mailbox": "alice@example.org)bob@example.com"}, "Enter an email address like name@example.com."),
        ({"mailbox": "Grace <grace@example.org> x"}, "Enter an email address like name@example.com."),
        ({"mailbox": '"grace hopper"@example.org'}, "Enter an email address like name@example.com."),
        ({"mailbox": "grace@[127.0.0.1]"}, "Enter an email address like name@example.com."),
        ({"mailbox": "x" * 65 + "@example.org"}, "Enter an email address like name@example.com."),
        ({"mailbox": "x" * 300 + "@example.org"}, "Use 254 characters or fewer."),
        ({"mailbox": "grace\u200b@example.org"}, "This field contained invisible characters"),
        (
            {"mailbox": "grace@example.org\r\nBcc: eve@example.net"},
            "This field contained invisible characters",
        ),
        ({"mailbox": "grâce@example.org"}, "without accents and without letters other than a–z"),
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


@pytest.mark.parametrize(
    "typed",
    ["<grace@example.org>", "mailto:grace@example.org?subject=Hi", "Grace <grace@example.org>", "grace@example.org.",
     "\u00a0grace@example.org, ", "“grace@example.org”", "grace @ example.org"],
)  # fmt: skip
def test_a_pasted_address_is_understood_and_shown_for_checking(join, stored, client, typed):
    answer = join(mailbox=typed)
    assert answer.status_code == 303
    assert [row.mailbox for row in stored().affiliates] == ["grace@example.org"]
    assert "You signed up as grace@example.org." in client.get(answer.location).get_data(as_text=True)


def test_a_typing_error_is_asked_about_once(join, stored, client):
    answer = join(mailbox="Grace <grace@gmial.com>")
    page = answer.get_data(as_text=True)
    assert answer.status_code == 422
    assert page.count("Did you mean grace@gmail.com?") >= 2
    assert 'name="take" value="grace@gmail.com"' in page
    assert 'value="grace@gmial.com"' in page
    assert not stored().affiliates
    assert join(mailbox="grace@gmial.con", checked="grace@gmial.com").status_code == 422
    assert join(mailbox="grace@gmial.com", checked="grace@gmial.com").status_code == 303
    assert [row.mailbox for row in stored().affiliates] == ["grace@gmial.com"]


def test_the_suggested_address_is_taken_by_a_button(join, stored, client):
    assert (
        join(mailbox="grace@gmial.com", checked="grace@gmial.com", take="eve@example.net").status_code == 303
    )
    assert join(mailbox="ada@gmial.com", checked="ada@gmial.com", take="ada@gmail.com").status_code == 303
    assert [row.mailbox for row in stored().affiliates] == ["grace@gmial.com", "ada@gmail.com"]


@pytest.mark.parametrize("mailbox", ["noreply@example.org", "postmaster@example.org", "5551234@vtext.com"])
def test_an_address_that_no_person_reads_is_asked_about(join, stored, mailbox):
    answer = join(mailbox=mailbox)
    assert answer.status_code == 422
    assert "send the form again" in answer.get_data(as_text=True)
    assert join(mailbox=mailbox, checked=mailbox).status_code == 303


@pytest.mark.parametrize(
    "domain", ["Mail.Example", "mail.example", "xn--bcher-kva.example", "bücher.example", "x", "a..b", ""]
)
@given(local=st.text('aZ9._+-é"', max_size=8) | st.just("a" * 65))
def test_a_usual_address_is_normalised_as_by_the_library(domain, local):
    usual = fields._usual_mailbox(f"{local}@{domain}")
    try:
        strictly = validate_email(f"{local}@{domain}", check_deliverability=False, strict=True).normalized
    except EmailNotValidError:
        strictly = None
    assert usual in (None, strictly)


def test_addresses_of_one_domain_need_the_library_once():
    assert fields._usual_mailbox("ada.l+x@Mail.Example") == "ada.l+x@mail.example"
    assert (
        fields._usual_mailbox("Info@mail.example") is None
    )  # the library knows names whose case does not matter
