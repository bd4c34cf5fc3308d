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
from portal.languages import LANGUAGES
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
    wording_of,
)
from portal.notices.checks.syntax import find_errors
from portal.notices.texts import default_text
from portal.outbox.sending.mime import mailbox_header, serialise
from portal.smtp.toml_tables import MalformedData

EVERY = pytest.mark.parametrize("notice", CATALOGUE.values(), ids=lambda notice: notice.kind)
ACCOUNT = Account(name="Brightleaf", slug="brightleaf")
URL_IN_TEXT = re.compile(r"https?://[^\s)\"<>]+")


def _mail(notice, account=ACCOUNT, **values):
    samples = rendering.sample_values(notice, account) | values
    out = "https://signet.example/unsubscribe/sample"
    return rendering.render(notice, account, samples, unsubscribe_url=out, preferences_url=out)


def _serialised(notice, account=ACCOUNT) -> bytes:
    mail = _mail(notice, account)
    headers = {
        "From": mailbox_header("Brightleaf", "info@brightleaf.example"),
        "To": mailbox_header("Ada Lovelace", "ada@lovelace.example"),
        "Subject": mail.subject,
        "Date": format_datetime(utcnow()),
        "Message-ID": "<4f7d2c91a0@brightleaf.example>",
    }
    return serialise(headers, mail.text, mail.html)


@EVERY
def test_every_notice_has_its_texts_in_its_folder(notice):
    missing = [name for name in ("subject.txt", "html.html") if not (FOLDER / notice.kind / name).is_file()]
    assert not missing, f"templates/mail/{notice.kind} lacks {', '.join(missing)}"


@pytest.fixture
def folder(tmp_path):
    """A folder with one notice, for a test to change."""
    shutil.copytree(FOLDER / "new-purchase", tmp_path / "new-purchase")
    shutil.copy(FOLDER / "shared.toml", tmp_path)
    return tmp_path


def test_a_folder_with_a_declaration_is_read(folder):
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
def test_the_error_of_a_malformed_declaration_names_file_and_field(folder, old, new, error):
    path = folder / "new-purchase" / "notice.toml"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(MalformedData, match=re.escape(error)):
        read_catalogue(folder)


def test_a_variable_declared_by_a_notice_must_be_listed_and_complete(folder):
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


def test_two_notices_with_the_same_position_are_rejected(folder):
    shutil.copytree(folder / "new-purchase", folder / "another")
    with pytest.raises(MalformedData, match=r"new-purchase/notice.toml: position: is that of another, too"):
        read_catalogue(folder)


def test_every_event_type_causes_a_notice():
    assert [one for one in EventType if not notices_for(one)] == []
    declared = {event_type for notice in CATALOGUE.values() for event_type in notice.event_types}
    assert declared <= {one.value for one in EventType}


@EVERY
def test_every_notice_has_sentences_and_described_variables(notice):
    assert notice.when.endswith(".")
    assert wording_of("en").reasons[notice.reason].endswith(".")
    names = [variable.name for variable in notice.variables]
    assert len(names) == len(set(names))
    for variable in notice.variables:
        assert variable.description, variable.name
        assert variable.sample, variable.name
        if variable.type is VariableType.LINK:
            assert variable.sample.startswith("https://")


@EVERY
def test_the_default_text_is_valid_and_already_sanitised(context, notice):
    default = default_text(notice)
    for part, html in ((default.subject, False), (default.html, True), (default.text, False)):
        assert list(find_errors(part, notice, html=html)) == []
    valid = validation.validate(notice, ACCOUNT, default, with_trials=True)
    assert (valid.text, valid.questions, valid.converted, valid.repaired) == (default, (), (), ())


@EVERY
def test_the_default_text_promises_no_email_that_an_owner_can_switch_off(context, notice):
    promise = re.compile(
        r"you get (?:an|another|one) (?:email|answer)|gets an email either way", re.IGNORECASE
    )
    assert promise.findall(default_text(notice).text) == []


@EVERY
def test_every_link_is_absolute_and_in_both_parts(context, notice):
    mail = _mail(notice)
    body = html5lib.parse(mail.html, namespaceHTMLElements=False).find("body")
    links = {a.get("href") for a in body.iter("a")}
    assert all(link.startswith(("https://", "http://")) for link in links)
    assert links <= set(URL_IN_TEXT.findall(mail.text))


@EVERY
def test_both_parts_have_the_same_words(context, notice):
    mail = _mail(notice)
    body = html5lib.parse(re.sub(r"<!--.*?-->", "", mail.html, flags=re.DOTALL), namespaceHTMLElements=False)
    body = body.find("body")
    body.remove(body.find("div"))
    in_html = set(re.findall(r"\w+", " ".join(body.itertext())))
    in_text = set(re.findall(r"\w+", mail.text))
    assert in_html <= in_text
    assert in_text - in_html <= set(re.findall(r"\w+", " ".join(URL_IN_TEXT.findall(mail.text)))) | {
        "________"
    }


@EVERY
def test_an_empty_optional_value_leaves_no_gap(context, notice):
    empty = {variable.name: "" for variable in notice.variables if variable.optional}
    mail = _mail(notice, **empty)
    for gap in ("  ", " .", " ,", ": \n", "()", "None,"):
        assert gap not in mail.text.replace("\n\n", "\n"), gap


@EVERY
def test_the_html_is_valid_small_and_without_external_resources(context, notice):
    html = _mail(notice).html
    parser = html5lib.HTMLParser(tree=html5lib.getTreeBuilder("etree"))
    parser.parse(html)
    assert parser.errors == []
    assert len(html.encode()) < 30_000
    assert not re.search(r"<(img|script|link|form|iframe)\b|url\(|@import", html)


@EVERY
def test_no_line_of_the_serialised_message_is_too_long(context, notice):
    assert max(map(len, _serialised(notice).split(b"\r\n"))) <= 998


@EVERY
def test_all_but_transactional_notices_have_an_unsubscribe_link(context, notice):
    mail = _mail(notice)
    assert ("Unsubscribe" in mail.html) is (notice.category is not Category.TRANSACTIONAL)
    assert ("Unsubscribe:" in mail.text) is (notice.category is not Category.TRANSACTIONAL)


def test_the_confirmation_has_no_variable_with_a_visitors_input():
    assert CONFIRM_SIGN_UP.always_on
    assert [variable.name for variable in CONFIRM_SIGN_UP.variables] == ["programme", "confirm_link"]


def test_the_address_of_a_lead_is_shown_only_if_the_event_has_one(context):
    lead = CATALOGUE["new-lead"]
    assert lead.audience is Audience.AFFILIATE
    assert "Email address" not in _mail(lead, lead_email="").text


@pytest.mark.thorough
def test_spamassassin_scores_every_notice_below_two(context):
    """Local rules of SpamAssassin, without network tests. All texts are in one mbox, because it starts slowly.

    ``tests/interop.sh`` installs the program where that is possible.
    """
    program = shutil.which("spamassassin")
    if program is None:
        pytest.skip("spamassassin is not installed")
    accounts = [
        Account(name="Brightleaf", slug="brightleaf", language=code, shop_url="https://brightleaf.example/")
        for code, language in LANGUAGES.items()
        if language.is_complete
    ]
    texts = [(notice, account) for account in accounts for notice in CATALOGUE.values()]
    mbox = b"".join(
        b"From signet Mon Nov 23 00:00:00 2026\n" + _serialised(*text).replace(b"\r\n", b"\n") + b"\n"
        for text in texts
    )
    done = subprocess.run(
        [program, "-L", "--mbox"], input=mbox, capture_output=True, timeout=600, check=False
    )
    found = re.findall(rb"^X-Spam-Status:.*?score=(-?[\d.]+)", done.stdout, re.MULTILINE)
    names = [f"{notice.kind} ({account.language})" for notice, account in texts]
    scores = dict(zip(names, map(float, found), strict=True))
    assert max(scores.values()) < 2.0, scores
