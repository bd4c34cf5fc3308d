"""Every email of the catalogue: declared in full, with texts that say what they should and arrive."""

from __future__ import annotations

import re
import shutil
import subprocess
from email.utils import format_datetime

import html5lib
import pytest

from portal.accounts.models import Account
from portal.clock import utcnow
from portal.events.types import Occasion
from portal.notices import rendering, validation
from portal.notices.catalogue import CATALOGUE, CONFIRM_SIGN_UP, Audience, Category, Type, caused_by
from portal.notices.defaults import FOLDER, default_text
from portal.notices.validation import faults_of
from portal.outbox.sending.mime import mailbox_header, serialise

EVERY = pytest.mark.parametrize("notice", CATALOGUE.values(), ids=lambda notice: notice.kind)
ACCOUNT = Account(name="Brightleaf", slug="brightleaf")
AMONG_WORDS = re.compile(r"https?://[^\s)\"<>]+")


def _mail(notice, **values):
    samples = rendering.sample_values(notice, ACCOUNT) | values
    out = "https://signet.example/unsubscribe/sample"
    return rendering.render(notice, ACCOUNT, samples, unsubscribe_url=out, preferences_url=out)


def _raw(notice) -> bytes:
    mail = _mail(notice)
    headers = {
        "From": mailbox_header("Brightleaf", "info@brightleaf.example"),
        "To": mailbox_header("Ada Lovelace", "ada@lovelace.example"),
        "Subject": mail.subject,
        "Date": format_datetime(utcnow()),
        "Message-ID": "<4f7d2c91a0@brightleaf.example>",
    }
    return serialise(headers, mail.text, mail.html)


@EVERY
def test_every_email_has_its_folder_of_texts(notice):
    missing = [name for name in ("subject.txt", "html.html") if not (FOLDER / notice.kind / name).is_file()]
    assert not missing, f"templates/mail/{notice.kind} lacks {', '.join(missing)}"


def test_every_folder_of_texts_is_declared():
    folders = {path.name for path in FOLDER.iterdir() if path.is_dir()}
    assert folders == set(CATALOGUE), (
        "a folder without its declaration in catalogue.py, or the other way round"
    )


def test_every_occasion_causes_an_email_to_somebody():
    assert [one for one in Occasion if not caused_by(one)] == []
    named = {occasion for notice in CATALOGUE.values() for occasion in notice.occasions}
    assert named <= {one.value for one in Occasion}


@EVERY
def test_every_email_says_in_words_what_it_is(notice):
    assert notice.when.endswith(".")
    assert notice.because.endswith(".")
    names = [variable.name for variable in notice.variables]
    assert len(names) == len(set(names))
    for variable in notice.variables:
        assert variable.description, variable.name
        assert variable.sample, variable.name
        if variable.type is Type.LINK:
            assert variable.sample.startswith("https://")


@EVERY
def test_the_shipped_text_has_no_fault_and_needs_no_cleaning(context, notice):
    words = default_text(notice)
    for part, html in ((words.subject, False), (words.html, True), (words.text, False)):
        assert list(faults_of(part, notice, html=html)) == []
    judged = validation.judge(notice, ACCOUNT, words)
    assert (judged.text, judged.removed, judged.converted) == (words, (), ())


@EVERY
def test_every_link_is_absolute_and_stands_in_both_parts(context, notice):
    mail = _mail(notice)
    body = html5lib.parse(mail.html, namespaceHTMLElements=False).find("body")
    links = {a.get("href") for a in body.iter("a")}
    assert all(link.startswith(("https://", "http://")) for link in links)
    assert links <= set(AMONG_WORDS.findall(mail.text))


@EVERY
def test_both_parts_say_the_same(context, notice):
    mail = _mail(notice)
    body = html5lib.parse(re.sub(r"<!--.*?-->", "", mail.html, flags=re.DOTALL), namespaceHTMLElements=False)
    body = body.find("body")
    body.remove(body.find("div"))
    seen = set(re.findall(r"\w+", " ".join(body.itertext())))
    said = set(re.findall(r"\w+", mail.text))
    assert seen <= said
    assert said - seen <= set(re.findall(r"\w+", " ".join(AMONG_WORDS.findall(mail.text)))) | {"________"}


@EVERY
def test_a_value_that_may_be_empty_leaves_no_hole(context, notice):
    empty = {variable.name: "" for variable in notice.variables if variable.optional}
    mail = _mail(notice, **empty)
    for hole in ("  ", " .", " ,", ": \n", "()", "None,"):
        assert hole not in mail.text.replace("\n\n", "\n"), hole


@EVERY
def test_the_html_is_valid_light_and_fetches_nothing(context, notice):
    html = _mail(notice).html
    parser = html5lib.HTMLParser(tree=html5lib.getTreeBuilder("etree"))
    parser.parse(html)
    assert parser.errors == []
    assert len(html.encode()) < 30_000
    assert not re.search(r"<(img|script|link|form|iframe)\b|url\(|@import", html)


@EVERY
def test_no_line_on_the_wire_is_too_long(context, notice):
    assert max(map(len, _raw(notice).split(b"\r\n"))) <= 998


@EVERY
def test_mail_that_is_no_necessity_can_be_unsubscribed_from(context, notice):
    mail = _mail(notice)
    assert ("Unsubscribe" in mail.html) is (notice.category is not Category.TRANSACTIONAL)
    assert ("Unsubscribe:" in mail.text) is (notice.category is not Category.TRANSACTIONAL)


def test_the_confirmation_holds_nothing_a_visitor_typed():
    assert CONFIRM_SIGN_UP.fixed
    assert [variable.name for variable in CONFIRM_SIGN_UP.variables] == ["programme", "confirm_link"]


def test_leads_addresses_are_shown_only_where_the_shop_sent_them(context):
    lead = CATALOGUE["new-lead"]
    assert lead.audience is Audience.AFFILIATE
    assert "Email address" not in _mail(lead, lead_email="").text


@pytest.mark.thorough
def test_spam_filters_find_nothing_in_any_of_them(context):
    """SpamAssassin's own rules, without asking anybody on the network; all in one box, since it starts slowly."""
    program = shutil.which("spamassassin")
    if program is None:
        pytest.skip("spamassassin is not installed here")
    box = b"".join(
        b"From signet Mon Nov 23 00:00:00 2026\n" + _raw(one).replace(b"\r\n", b"\n") + b"\n"
        for one in CATALOGUE.values()
    )
    done = subprocess.run([program, "-L", "--mbox"], input=box, capture_output=True, timeout=280, check=False)
    found = re.findall(rb"^X-Spam-Status:.*?score=(-?[\d.]+)", done.stdout, re.MULTILINE)
    scores = dict(zip(CATALOGUE, map(float, found), strict=True))
    assert max(scores.values()) < 2.0, scores
