"""The language of a programme: default texts, footer, direction, dates and amounts of its emails."""

from __future__ import annotations

import re
from string import Formatter

import html5lib
import pytest

from portal.accounts.models import Account
from portal.clock import utcnow
from portal.languages import LANGUAGES
from portal.notices import rendering, validation
from portal.notices.catalogue import (
    CATALOGUE,
    CONFIRM_SIGN_UP,
    NEW_SIGN_UP,
    Audience,
    read_wording,
    sample_of,
    wording_of,
)
from portal.notices.liquid import find_tokens
from portal.notices.texts import Text, default_text
from portal.web.translations import speaking_to
from tests.english import is_english

COMPLETE = [code for code, language in LANGUAGES.items() if language.is_complete and code != "en"]
TO_OWNERS = [notice for notice in CATALOGUE.values() if notice.audience is Audience.OWNER]
TO_AFFILIATES = [notice for notice in CATALOGUE.values() if notice.audience is Audience.AFFILIATE]
WEEK, PURCHASE = CATALOGUE["weekly-summary"], CATALOGUE["new-purchase"]
HEBREW = Text("שלום {{ first_name }}", "<p>שלום {{ first_name }}, {{ amount }} {{ currency }}.</p>")
MARK = "\u200f"


@pytest.fixture(autouse=True)
def _app(context):
    """Every test renders."""


def account(language="de", **more):
    return Account(
        id=7,
        name="Teehaus",
        slug="teehaus",
        language=language,
        approved_at=utcnow(),
        shop_url="https://tee.example/",
        **more,
    )


def names_in(text: Text) -> set[str]:
    tokens = [token.text for part in (text.subject, text.html) for token in find_tokens(part)]
    return {name for token in tokens for name in re.findall(r"[a-z_]+", re.sub(r'"[^"]*"', "", token))}


@pytest.mark.parametrize("language", COMPLETE)
def test_a_complete_language_has_every_text_and_sentence(language):
    english, own = read_wording("en"), read_wording(language)
    assert own.reasons.keys() == english.reasons.keys()
    for key, line in own.reasons.items():
        fields = {name for _, name, *_ in Formatter().parse(line) if name}
        assert fields == {name for _, name, *_ in Formatter().parse(english.reasons[key]) if name}
    assert own.names.keys() == {notice.kind for notice in TO_AFFILIATES}
    assert own.preferences != english.preferences
    for notice in TO_AFFILIATES:
        text = default_text(notice, language)
        assert text.language == language
        assert text != default_text(notice), notice.kind
        assert names_in(text) == names_in(default_text(notice)), notice.kind
        lines = {one.name for one in notice.variables if one.type == "lines"}
        assert lines - {"lines", "message"} <= own.samples.keys()
        valid = validation.validate(notice, account(language), text)
        assert not valid.removed
        assert not valid.sample.is_custom


@pytest.mark.parametrize("notice", TO_AFFILIATES, ids=lambda notice: notice.kind)
def test_emails_of_french_and_spanish_programmes_hold_no_english(notice):
    for language in ("fr", "es"):
        mail = rendering.render_sample(notice, account(language))
        assert f'<html lang="{language}" dir="ltr"' in mail.html
        words = re.sub(r"https?://\S+", "", mail.text)
        assert not re.search(r"\b(You|your|the|and|with|email|Order|affiliate|this)\b", words)


@pytest.mark.parametrize("notice", TO_AFFILIATES, ids=lambda notice: notice.kind)
def test_an_email_of_a_german_programme_is_german(notice):
    mail = rendering.render_sample(notice, account())
    tree = html5lib.parse(mail.html, namespaceHTMLElements=False)
    assert (tree.get("lang"), tree.get("dir")) == ("de", "ltr")
    assert "Du bekommst diese E-Mail, weil " in mail.text
    if not notice.always_on:
        assert "E-Mails auswählen: " in mail.text
    if notice.can_be_unsubscribed:
        assert "Abbestellen: " in mail.text
    assert not re.search(r"\b(You|your|the|and|with|email)\b", re.sub(r"https?://\S+", "", mail.text))


def test_dates_and_amounts_are_those_of_the_language():
    week = rendering.render_sample(WEEK, account())
    assert "vom 16. November 2026 bis zum 22. November 2026" in week.text
    assert "36,00 EUR" in week.text
    purchase = rendering.render_sample(
        PURCHASE, account(), values={"amount": "1234567.5", "commission": "12"}
    )
    assert "1.234.567,50 EUR" in purchase.text
    assert purchase.subject == "Du hast 12,00 EUR bei Teehaus verdient"
    assert "1 234 567,50 EUR" in " ".join(_purchase_in("fr").text.split())
    assert _purchase_in("fr").subject == "Vous avez gagné 12,00 EUR avec Teehaus"
    assert "1.234.567,50 EUR" in _purchase_in("es").text
    assert "du 16 novembre 2026 au 22 novembre 2026" in rendering.render_sample(WEEK, account("fr")).text
    assert "del 16 de noviembre de 2026 al 22" in rendering.render_sample(WEEK, account("es")).text
    english = rendering.render_sample(WEEK, account("en"))
    assert "from 16 November 2026 to 22 November 2026" in english.text
    assert rendering.render_sample(WEEK, account(None)).html == english.html


def _purchase_in(language):
    return rendering.render_sample(
        PURCHASE, account(language), values={"amount": "1234567.5", "commission": "12"}
    )


def test_one_is_not_written_as_several():
    french = rendering.render_sample(WEEK, account("fr"), values={"leads": "0", "purchases": "2"})
    assert french.subject.endswith("0 prospect, 2 achats")
    spanish = rendering.render_sample(WEEK, account("es"), values={"leads": "0", "purchases": "1"})
    assert spanish.subject.endswith("0 contactos, 1 compra")
    one = rendering.render_sample(WEEK, account(), values={"leads": "1", "purchases": "1"})
    assert one.subject == "Deine Woche mit Teehaus: 1 Lead, 1 Kauf"
    assert rendering.render_sample(WEEK, account(), values={"leads": "0", "purchases": "2"}).subject.endswith(
        "0 Leads, 2 Käufe"
    )


def test_an_own_text_of_a_german_programme_compares_amounts_as_numbers():
    text = Text("{{ amount }}", "<p>{% if amount > 999 %}viel{% else %}wenig{% endif %}</p>")
    mail = rendering.render_sample(PURCHASE, account(), values={"amount": "1000"}, text=text)
    assert mail.subject == "1.000,00"
    assert "viel" in mail.text


def test_a_text_from_right_to_left_has_its_direction_and_the_footer_its_own():
    mail = rendering.render_sample(PURCHASE, account("he"), text=HEBREW)
    tree = html5lib.parse(mail.html, namespaceHTMLElements=False)
    assert (tree.get("lang"), tree.get("dir")) == ("he", "rtl")
    outer = tree.find(".//table[@class='paper']")
    assert (outer.get("lang"), outer.get("dir")) == ("he", "rtl"), "webmail drops the attributes of html"
    footer = next(one for one in tree.iter("td") if "quiet" in one.get("class", ""))
    assert (footer.get("lang"), footer.get("dir")) == ("en", "ltr")
    assert "You receive this email because " in mail.text


def test_tables_and_quotes_are_laid_out_from_right_to_left():
    html = '<blockquote><p>א</p></blockquote><ul><li>ב</li></ul><table class="facts"><tr><th>ג</th><td>ד</td></tr></table>'
    mail = rendering.render_sample(PURCHASE, account("he"), text=Text("א", html))
    assert "text-align:right" in mail.html
    assert "text-align:left" not in mail.html
    assert "border-right:3px" in mail.html
    assert "padding:0 24px 0 0" in mail.html
    left = rendering.render_sample(PURCHASE, account("de"), text=Text("a", html)).html
    assert "text-align:right" not in left
    assert "border-left:3px" in left


def test_a_default_text_that_is_not_translated_is_marked_as_english():
    mail = rendering.render_sample(PURCHASE, account("ar"))
    assert '<html lang="en" dir="ltr">' in mail.html
    assert mail.text == rendering.render_sample(PURCHASE, account("en")).text


def test_marks_of_direction_stay_and_overrides_go():
    text = Text(
        f"{MARK}א 1!{MARK}", f'<p style="direction:rtl">א{MARK} (1)\u200e \u061c</p><p>b\u202ec\u2066</p>'
    )
    valid = validation.validate(PURCHASE, account("he"), text)
    assert valid.text.subject == text.subject
    assert f"א{MARK} (1)\u200e \u061c" in valid.text.html
    assert "direction:rtl" in valid.text.html
    assert "\u202e" not in valid.text.html
    assert valid.sample.subject == text.subject
    assert f"א{MARK} (1)" in valid.sample.text


def test_the_minus_of_an_amount_stays_before_it_between_words_from_right_to_left():
    notice = CATALOGUE["balance-corrected"]
    mail = rendering.render_sample(notice, account("he"), text=Text("{{ amount }}", "<p>{{ amount }}</p>"))
    assert mail.subject == "\u200e-5.00"
    assert rendering.render_sample(notice, account("de")).subject.endswith("-5,00 EUR")


@pytest.mark.parametrize("notice", TO_OWNERS, ids=lambda notice: notice.kind)
def test_a_notice_to_the_owner_is_in_the_language_of_its_reader(notice):
    english, german = default_text(notice, "en"), default_text(notice, "de")
    assert names_in(german) == names_in(english)
    assert default_text(notice, "fr") == english, "the portal does not exist in it"
    for programme in ("en", "de", "fr"):
        mail = rendering.render_sample(notice, account(programme))
        assert '<html lang="en"' in mail.html
        with speaking_to("de"):
            own = rendering.render_sample(notice, account(programme))
            assert not validation.validate(notice, account(programme), german).sample.is_custom
        assert '<html lang="de"' in own.html
        assert "Du bekommst diese E-Mail, weil " in own.text
        assert [line for line in (own.subject, *own.text.splitlines()) if is_english(line)] == []
        assert own.subject != mail.subject or notice.kind == "owner-event-digest"


def test_an_own_text_to_the_owner_is_read_in_the_language_of_the_reader():
    notice, text = CATALOGUE["owner-new-purchase"], Text("Neu", "<p>{{ amount }}</p>")
    assert "80.00" in rendering.render_sample(notice, account("de"), text=text).text
    with speaking_to("de"):
        for programme, language in (("en", "de"), ("de", "de"), ("ar", "ar")):
            own = rendering.render_sample(notice, account(programme), text=text)
            assert f'<html lang="{language}"' in own.html
            assert ("80,00" in own.text) is (language == "de")


def test_values_in_samples_follow_the_language():
    [period] = [one for one in CATALOGUE["payout-sent"].variables if one.name == "period"]
    assert (sample_of(period, "de"), sample_of(period, "ar")) == ("Oktober 2026", "October 2026")
    assert wording_of("xx") == wording_of("en")


def test_a_confirmation_without_its_link_is_refused():
    good = Text("Bitte bestätigen", '<p><a href="{{ confirm_link }}">Ja</a></p>', "Ja: {{ confirm_link }}")
    assert validation.validate(CONFIRM_SIGN_UP, account(), good)
    for text, fields in (
        (Text("x", "<p>Ja</p>"), {"html", "text"}),
        (Text("x", good.html, "Ja"), {"text"}),
        (Text("{{ confirm_link }}", good.html), {"subject"}),
        (Text("x", "{% if programme == 'x' %}" + good.html + "{% endif %}Ja"), {"html", "text"}),
        (Text("x", "<p>{{ first_name }} {{ confirm_link }}</p>"), {"html"}),
    ):
        with pytest.raises(validation.InvalidText) as refused:
            validation.validate(CONFIRM_SIGN_UP, account(), text)
        assert refused.value.by_field.keys() == fields
    assert validation.validate(NEW_SIGN_UP, account(), Text("x", "<p>x</p>"))


def test_the_link_of_a_test_email_is_marked_with_its_own_language():
    with speaking_to("de"):
        mail = rendering.render_sample(NEW_SIGN_UP, account("fr"), arrival_url="https://signet.example/a")
    link = mail.html.partition('href="https://signet.example/a"')[0]
    assert re.findall(r'lang="(\w+)"', link)[-1] == "de"
    assert '<html lang="fr"' in mail.html
