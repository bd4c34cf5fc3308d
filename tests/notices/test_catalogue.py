"""The catalogue of notices: how it is read, and the declaration and texts of every notice."""

from __future__ import annotations

import re
import shutil
import subprocess
from email.utils import format_datetime

import html5lib
import pytest

from portal.accounts.models import Account
from portal.clock import utcnow
from portal.events.types import EventType
from portal.notices import rendering, validation
from portal.notices.catalogue import (
    CATALOGUE,
    CONFIRM_SIGN_UP,
    FOLDER,
    Audience,
    Category,
    VariableType,
    notices_for,
    read_catalogue,
)
from portal.notices.texts import default_text
from portal.notices.validation import find_errors
from portal.outbox.sending.mime import mailbox_header, serialise
from portal.smtp.toml_tables import MalformedData

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


@pytest.fixture
def folder(tmp_path):
    """A folder with one notice, which a test spoils."""
    shutil.copytree(FOLDER / "new-purchase", tmp_path / "new-purchase")
    shutil.copy(FOLDER / "shared.toml", tmp_path)
    return tmp_path


def test_a_folder_declares_a_notice(folder):
    assert list(read_catalogue(folder).values()) == [CATALOGUE["new-purchase"]]


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ('name = "New purchase"', "", "new-purchase/notice.toml: name: is missing"),
        ('audience = "affiliate"', 'audience = "me"', "new-purchase/notice.toml: audience: 'me' is none of"),
        ("events = [", "event = [", "new-purchase/notice.toml: event: is not a known field"),
        ('reason = "affiliate"', 'reason = "fun"', "new-purchase/notice.toml: reason: 'fun' is none of"),
        ("purchase.*", "sale.*", "new-purchase/notice.toml: variables: 'sale.*' is not known"),
        (
            "purchase.*",
            "purchase.price",
            "new-purchase/notice.toml: variables: 'purchase.price' is not known",
        ),
        ("purchase.*", "affiliate.name", "new-purchase/notice.toml: variables: 'name' is listed twice"),
        ("name =", "name", "new-purchase/notice.toml: "),
    ],
)
def test_a_malformed_declaration_is_rejected_by_file_and_field(folder, old, new, error):
    path = folder / "new-purchase" / "notice.toml"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(MalformedData, match=re.escape(error)):
        read_catalogue(folder)


def test_a_variable_of_its_own_is_listed_and_complete(folder):
    path = folder / "new-purchase" / "notice.toml"
    text = path.read_text(encoding="utf-8")
    path.write_text(
        f'{text}\n[variable.colour]\ndescription = "A colour"\nsample = "red"\n', encoding="utf-8"
    )
    with pytest.raises(MalformedData, match=r"variables: 'colour' is declared but not listed"):
        read_catalogue(folder)
    path.write_text(f'{text}\n[variable.colour]\ndescription = "A colour"\n', encoding="utf-8")
    with pytest.raises(
        MalformedData, match=r"new-purchase/notice.toml: variable: colour: sample: is missing"
    ):
        read_catalogue(folder)


def test_two_notices_do_not_share_a_position(folder):
    shutil.copytree(folder / "new-purchase", folder / "another")
    with pytest.raises(MalformedData, match=r"new-purchase/notice.toml: position: is that of another, too"):
        read_catalogue(folder)


def test_every_occasion_causes_an_email_to_somebody():
    assert [one for one in EventType if not notices_for(one)] == []
    named = {occasion for notice in CATALOGUE.values() for occasion in notice.event_types}
    assert named <= {one.value for one in EventType}


@EVERY
def test_every_email_says_in_words_what_it_is(notice):
    assert notice.when.endswith(".")
    assert notice.reason_line.endswith(".")
    names = [variable.name for variable in notice.variables]
    assert len(names) == len(set(names))
    for variable in notice.variables:
        assert variable.description, variable.name
        assert variable.sample, variable.name
        if variable.type is VariableType.LINK:
            assert variable.sample.startswith("https://")


@EVERY
def test_the_shipped_text_has_no_fault_and_needs_no_cleaning(context, notice):
    words = default_text(notice)
    for part, html in ((words.subject, False), (words.html, True), (words.text, False)):
        assert list(find_errors(part, notice, html=html)) == []
    judged = validation.validate(notice, ACCOUNT, words)
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
    assert CONFIRM_SIGN_UP.locked
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
