"""Rendered emails: subject, text and HTML agree, and no name or value can break them."""

from __future__ import annotations

import re
from email import message_from_bytes
from email.policy import SMTP

import html5lib
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from portal.accounts.models import Account
from portal.affiliates.greeting import first_name_of
from portal.enrolment.forms import normalize_name, validate_name
from portal.notices import rendering
from portal.notices.catalogue import CATALOGUE, NEW_SIGN_UP
from portal.outbox.sending.mime import MessageRefused, mailbox_header, serialise
from portal.smtp.mailbox import is_header_safe
from portal.web.fields import one_line
from tests.notices.conftest import account_of

LINK = "https://signet.example/r/K7MPQ2XA"
DASHBOARD = "https://signet.example/affiliate/abc_-123"
NASTY = "<img src=x onerror=alert(1)> \"&' {link} {{ 7*7 }} {% raw %}"
# Characters of many scripts, with separators from real names and from attacks.
TEXTS = st.text(
    st.one_of(
        st.characters(),
        st.sampled_from(
            "aZé ñ'’-.,\"<>&@=?_%{}\u200d\u200c\u0301\u202e\u2028\x1b\r\n\x00\x85山अमم א\U0001f600\ud800"
        ),
    ),
    max_size=100,
)

# Values that the form accepts, so that many examples reach the serialiser.
LIKELY_NAMES = st.text(
    st.one_of(st.characters(categories=("L", "M")), st.sampled_from(" '’-.,·\u200c\u200d")), max_size=60
)
LIKELY_PROGRAMMES = st.text(st.characters(exclude_categories=("C", "Zl", "Zp")), max_size=100)


def _mail(programme="Brightleaf", first_name="Grace"):
    values = {"programme": programme, "first_name": first_name, "link": LINK, "dashboard": DASHBOARD}
    values["has_shop"] = "yes"
    more = {"name": "Grace Hopper", "email": "grace@example.org", "code": "K7MPQ2XA"}
    return rendering.render(NEW_SIGN_UP, Account(name=programme, slug="brightleaf"), values | more)


def _body(html: str):
    return html5lib.parse(html, namespaceHTMLElements=False).find("body")


def _visible_text(html: str) -> str:
    """Return the visible text of an email's HTML, without the hidden preheader."""
    body = _body(re.sub(r"<!--.*?-->", "", html, flags=re.DOTALL))
    body.remove(body.find("div"))
    return " ".join("".join(body.itertext()).split())


def test_text_and_html_have_the_same_content(context):
    mail = _mail()
    visible = _visible_text(mail.html).replace("Open your dashboard", f"Open your dashboard: {DASHBOARD}")
    text = " ".join(mail.text.replace("________", "").split())
    assert visible == text


def test_text_and_html_have_the_same_links(context):
    mail = _mail()
    links = {a.get("href") for a in _body(mail.html).iter("a")}
    assert links == {LINK, DASHBOARD}
    assert set(re.findall(r"https?://\S+", mail.text)) == links


def test_the_html_has_no_external_resources_and_no_scripts(context):
    html = _mail().html
    for forbidden in (
        "<img",
        "<script",
        "<link",
        "<form",
        "url(",
        "@import",
        "@font-face",
        "src=",
        "http-equiv",
    ):
        assert forbidden not in html


def test_the_html_is_valid_and_short_enough_for_inboxes(context):
    html = _mail().html
    parser = html5lib.HTMLParser(tree=html5lib.getTreeBuilder("etree"))
    parser.parse(html)
    assert parser.errors == []
    assert len(html.encode()) < 102_400, "Gmail cuts off longer messages"
    for table in _body(html).iter("table"):
        assert table.get("role") == "presentation"


def test_the_preheader_is_hidden_and_begins_with_the_first_paragraph(context):
    hidden = _body(_mail().html).find("div")
    assert "display:none" in hidden.get("style").replace(" ", "")
    assert "".join(hidden.itertext()).strip().startswith("You are now an affiliate of Brightleaf.")


def test_names_are_escaped_in_html_and_plain_in_text(context):
    mail = _mail(programme=NASTY, first_name=NASTY)
    assert "<img" not in mail.html
    assert "{{ 7*7 }}" in mail.html
    assert NASTY in mail.text
    assert NASTY in mail.subject


@pytest.mark.parametrize(
    "evil", ["a\r\nBcc: eve@example.net", "a\nb", "a\x00b", "a\x85b", "a\u2028b", "a\u202eb", "a\x1b[31mb"]
)
def test_the_subject_is_one_line_for_any_name(context, evil):
    subject = _mail(programme=evil, first_name=evil).subject
    assert is_header_safe(subject)
    assert len(subject.splitlines()) == 1


def test_a_long_subject_ends_with_an_ellipsis(context):
    subject = _mail(programme="P" * 150, first_name="N" * 60).subject
    assert len(subject) == 200
    assert subject.endswith("…")


def test_braces_in_a_name_are_not_interpreted(context):
    assert _mail(programme="{link}{0}{first_name.__class__}").subject.startswith(
        "Welcome to {link}{0}{first_name.__class__},"
    )


def test_the_error_names_missing_values(context):
    with pytest.raises(KeyError, match="new-sign-up needs code, dashboard, email, link, name"):
        rendering.render(NEW_SIGN_UP, Account(name="A", slug="a"), {"programme": "A", "first_name": "B"})


def test_an_email_does_not_contain_the_logged_in_user(owner, app):
    with app.test_request_context("/"):
        assert "csrf" not in _mail().html
        assert "ada@brightleaf.example" not in _mail().html


@pytest.mark.parametrize("notice", CATALOGUE.values(), ids=lambda notice: notice.kind)
def test_every_notice_has_samples_of_all_its_variables(owner, notice):
    account = account_of()
    values = rendering.sample_values(notice, account)
    assert {variable.name for variable in notice.variables} == set(values)
    mail = rendering.render_sample(notice, account)
    assert mail.subject
    assert mail.text.endswith("\n")
    for url in re.findall(r"https?://\S+", mail.text):
        assert url.startswith("http://127.0.0.1/")


class _Field:
    def __init__(self, data):
        self.data = data


def _accepted(*rules, value: str) -> bool:
    try:
        for rule in rules:
            rule(None, _Field(value))
    except Exception:
        return False
    return True


@settings(
    max_examples=400,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(name=st.one_of(LIKELY_NAMES, TEXTS), programme=st.one_of(LIKELY_PROGRAMMES, TEXTS))
@example(name="Grace Hopper", programme="=?utf-8?q?Bcc?= =?utf-8?b?QmNj?=")
@example(name="Grace", programme="P" * 100)
@example(name="ª ª", programme="00¡𐀀𐀀𐀀𐀀𐀀𐀀𐀀")  # email.policy.default loses a space here
@example(name="é" * 60, programme="山" * 100)
@example(name="क्\u200dष", programme='a, "b" <c@example.org>')
@example(name="Grace", programme="  ")
@example(name="أحمد بن محمد", programme="\u0301" * 100)
def test_any_name_is_refused_by_the_form_or_makes_a_message_that_parses_back(context, name, programme):
    name, programme = normalize_name(name), programme.strip()
    if not (name and programme and len(name) <= 60):
        return
    if not (_accepted(one_line, validate_name, value=name) and _accepted(one_line, value=programme)):
        return
    mail = _mail(programme=programme, first_name=first_name_of(name))
    headers = {
        "From": mailbox_header("Brightleaf", "info@brightleaf.example"),
        "To": mailbox_header(name, "grace@example.org"),
        "Subject": mail.subject,
        "Message-ID": "<abc@brightleaf.example>",
    }
    raw = serialise(headers, mail.text, mail.html)
    assert max(len(line) for line in raw.split(b"\r\n")) <= 998
    parsed = message_from_bytes(raw, policy=SMTP)
    assert [str(address.addr_spec) for address in parsed["To"].addresses] == ["grace@example.org"]
    assert str(parsed["Subject"]) == mail.subject
    text, html = parsed.get_body(("plain",)).get_content(), parsed.get_body(("html",)).get_content()
    assert LINK in text
    assert LINK in html
    assert first_name_of(name) in text


def test_a_header_with_a_line_break_is_refused():
    with pytest.raises(MessageRefused):
        serialise({"Subject": "a\nBcc: eve@example.net"}, "x", "")
