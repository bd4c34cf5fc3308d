"""The editor: versions, validation errors, conversion, previews, test emails, and access to all of them."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape

import pytest
from sqlalchemy import func, select

from portal import rate_limit
from portal.affiliates import page_keys
from portal.affiliates.models import Affiliate
from portal.clock import utcnow
from portal.db import db
from portal.enrolment import confirmation_links
from portal.notices import texts
from portal.notices.catalogue import CATALOGUE, NEW_SIGN_UP
from portal.notices.models import NoticeDraft, TextVersion
from portal.notices.texts import default_text
from portal.outbox.models import OutboxMessage
from portal.web import owner_limits
from tests.cases import in_one_test
from tests.enrolment.support import messages, sign_up
from tests.notices.conftest import account_of, owner_of

PAGE = "/automated-emails/new-sign-up"
HTML = '<h1>Hi {{ first_name }}</h1>\n<p>Your link: <a href="{{ link }}">{{ link }}</a></p>'
PAGES = [PAGE, f"{PAGE}/html", f"{PAGE}/html?draft=1", f"{PAGE}/versions/1", f"{PAGE}/html?version=1"]
POSTS = [
    (PAGE, {}),
    (PAGE, {"operation": "preview"}),
    (PAGE, {"operation": "test"}),
    (f"{PAGE}/live-preview", {}),
    (f"{PAGE}/reset", {}),
    (f"{PAGE}/versions/1/restore", {}),
]


def _form(subject="Hello {{ first_name }}", html=HTML, text="", based_on=0, **more):
    return {"subject": subject, "html": html, "text": text, "based_on": str(based_on), **more}


def _save(browser, page=PAGE, **changes):
    return browser.submit(page, _form(**changes), page=page)


def _versions(slug="brightleaf"):
    rows = (
        select(TextVersion).where(TextVersion.account_id == account_of(slug).id).order_by(TextVersion.number)
    )
    return list(db.session.scalars(rows))


def test_a_save_adds_a_version_with_owner_and_time_that_is_sent_from_then_on(owner):
    answer = _save(owner)
    assert (answer.status_code, answer.location) == (303, PAGE)
    (version,) = _versions()
    assert (version.number, version.owner_name, version.owner_id) == (1, "Ada Fairweather", owner_of().id)
    assert version.created_at <= utcnow()
    page = owner.get(PAGE).get_data(as_text=True)
    assert "Saved as version 1." in page
    assert "Hello Ada" in page
    assert texts.current_text(account_of(), NEW_SIGN_UP).subject == "Hello {{ first_name }}"


def test_an_unchanged_text_adds_no_version(owner):
    default = default_text(NEW_SIGN_UP)
    _save(owner, subject=default.subject, html=default.html.replace("\n", "\r\n") + "\r\n")
    assert _versions() == []
    _save(owner)
    _save(owner, based_on=1)
    assert [version.number for version in _versions()] == [1]
    assert "no new version" in owner.get(PAGE).get_data(as_text=True)


def test_the_second_of_two_editors_gets_a_conflict_and_keeps_the_text(owner):
    _save(owner, subject="First")
    answer = _save(owner, subject="Second & mine", based_on=0)
    page = answer.get_data(as_text=True)
    assert answer.status_code == 409
    assert "saved version 1 while you were writing" in page
    assert "Second &amp; mine" in page
    assert [version.subject for version in _versions()] == ["First"]
    based_on = re.search(r'name="based_on"[^>]*value="(\d+)"|value="(\d+)"[^>]*name="based_on"', page)
    assert "1" in based_on.groups()
    assert _save(owner, subject="Second & mine", based_on=1).status_code == 303
    assert [version.subject for version in _versions()] == ["First", "Second & mine"]


def test_earlier_versions_and_the_default_are_shown_and_restored(owner):
    _save(owner, subject="One")
    _save(owner, subject="Two", based_on=1)
    page = owner.get(f"{PAGE}/versions/1").get_data(as_text=True)
    assert "One" in page
    assert "Hi Ada" in owner.get(f"{PAGE}/html?version=1").get_data(as_text=True)
    owner.submit(f"{PAGE}/versions/1/restore", {}, page=PAGE)
    assert [version.subject for version in _versions()] == ["One", "Two", "One"]
    owner.submit(f"{PAGE}/reset", {"based_on": "3"}, page=PAGE)
    assert _versions()[-1].shipped
    assert texts.current_text(account_of(), NEW_SIGN_UP) == default_text(NEW_SIGN_UP)
    owner.submit(f"{PAGE}/reset", {"based_on": "4"}, page=PAGE)
    assert len(_versions()) == 4


@in_one_test(
    ("field", "invalid", "sentence"),
    [
        ("subject", "", "Enter a subject."),
        ("subject", "x" * 201, "Shorten the subject to 200 characters"),
        (
            "subject",
            "{{ firstname }}",
            "There is no variable “firstname” in this email. Did you mean {{ first_name }}?",
        ),
        ("subject", "Hi {{ first_name", "A {{ is not closed"),
        ("html", "", "Write a text"),
        ("html", "<script>x</script>", "Write a text"),
        (
            "html",
            "a\n{{ dashbord }}",
            "Line 2: there is no variable “dashbord” in this email. Did you mean {{ dashboard }}?",
        ),
        ("html", "{% if name %}", "Line 1: {% if %} is not closed; write {% endif %}"),
        ("html", "a\n\n{{ a b }}", "Line 3: “{{ a b }}” is not understood."),
        ("html", "{{ name | shout }}", "there is no filter “shout”"),
        ("html", "{% for x in y %}{% endfor %}", "{% for %} is not a command that exists here."),
        ("html", '<p {% if name %}class="a"{% endif %}>x</p>', "cannot be inside a tag"),
        ("html", "$WEEKLY_VISITORS$", "$WEEKLY_VISITORS$ is not a variable of this email."),
        ("html", "$FIRSTNAME$", "Did you mean {{ first_name }}?"),
        ("html", "x" * 20_001, "Shorten this to 20,000 characters"),
        ("subject", "{{ last_name }}", "For recipients without {{ last_name }}, the subject is empty"),
        ("subject", "{% if last_name %}Hi{% endif %}", "without {{ last_name }}, the subject is empty"),
        ("subject", "<b>Hi</b>", "Write the subject without HTML: an inbox shows <b> as written."),
        ("html", "<p>Hi first_name }}</p>", "Line 1: a }} closes nothing; write {{ where it begins."),
        (
            "html",
            "a\n{{ contact.FIRSTNAME }}",
            "no variable “contact.FIRSTNAME” in this email. Did you mean {{ first_name }}?",
        ),
        ("html", '<p>\n<a href="">x</a></p>', "Line 2: a link has no address"),
        ("html", '<a href="#top">x</a>', "the link “#top” leads nowhere"),
        (
            "html",
            '<a href="/terms">x</a>',
            "the link “/terms” leads nowhere in an email; enter the whole address",
        ),
        (
            "html",
            '<a href="{{ email }}">x</a>',
            "the link “{{ email }}” is a mailbox; write mailto: before it.",
        ),
        ("html", "$AFFILIATE_NAME$", "Did you mean {{ name }}?"),
        ("text", "{{ nam }}", "Line 1: there is no variable “nam” in this email. Did you mean {{ name }}?"),
    ],
)
def test_an_error_is_shown_beside_its_field_and_the_text_is_kept(owner, field, invalid, sentence):
    answer = _save(owner, **{field: invalid})
    page = unescape(answer.get_data(as_text=True))
    assert answer.status_code == 422
    assert sentence in page
    assert page.index("There is a problem") < page.index("<h1>")
    assert f'id="{field}-error"' in page
    assert invalid in page
    assert _versions() == []


def test_placeholders_of_leaddyno_are_converted_and_reported(owner):
    html = (
        "<p>Hi $FIRST_NAME$, your link is $AFFILIATE_LINK$ "
        '(<a href="$AFFILIATE_DASHBOARD_URL$">dashboard</a>), code $AFFILIATE_CODE$.</p>'
    )
    _save(owner, subject="Welcome $DISPLAY_FIRST_NAME$", html=html)
    (version,) = _versions()
    assert version.subject == "Welcome {{ first_name }}"
    assert '<a href="{{ link }}">{{ link }}</a>' in version.html
    assert '<a href="{{ dashboard }}">dashboard</a>' in version.html
    page = owner.get(PAGE).get_data(as_text=True)
    assert "$AFFILIATE_CODE$ became {{ code }}" in page


def _accept(browser, page=PAGE, **changes):
    """Save a text, and accept what the editor asks about it; return what it asked."""
    asked = _save(browser, page=page, **changes)
    assert asked.status_code == 422
    html = asked.get_data(as_text=True)
    digest = re.search(r'name="accepted" value="([0-9a-f]+)"', html).group(1)
    assert _save(browser, page=page, accepted=digest, **changes).status_code == 303
    return unescape(html)


def test_forbidden_html_is_reported_with_its_reason_and_removed_once_accepted(owner):
    html = '<p onclick="x()" style="color:red;position:fixed">Hi <a href="ftp://x.example">you</a></p><script>x()</script>'
    asked = _save(owner, html=html)
    assert asked.status_code == 422
    assert _versions() == []
    assert _save(owner, html=html, accepted="0123456789").status_code == 422, "of another text"
    page = _accept(owner, html=html)
    for removed in (
        "onclick of <p>, <script> and what was in it: email apps do not run scripts",
        "the style “position” of <p>: Signet keeps styles",
        "the link “ftp://x.example”: a link may begin with https://",
    ):
        assert removed in page
    assert "position:fixed" in page, "nothing typed is lost"
    (version,) = _versions()
    assert version.html == '<p style="color:red">Hi <a>you</a></p>'


MAILCHIMP = {
    "subject": "Welcome *|FNAME|* &amp; friends",
    "html": '<p>Hi *|IF:FNAME|**|FNAME|**|ELSE:|*friend*|END:IF|*,</p>\n<p>share <a href="{referral_url}">it</a> at '
    '<a href="www.brightleaf.example">our shop</a>.</p>\n<p><a href="*|UNSUB|*">Unsubscribe</a></p>',
}


def test_placeholders_of_other_products_are_replaced_without_script_and_then_saved(owner):
    answer = _save(owner, **MAILCHIMP)
    page = unescape(answer.get_data(as_text=True))
    assert answer.status_code == 422
    assert "Write the subject without HTML: an inbox shows &amp; as written." in page
    assert (
        "the link “www.brightleaf.example” leads nowhere in an email; write https://www.brightleaf.example."
        in page
    )
    assert "Replace all" in page
    assert _versions() == []
    answer = owner.submit(PAGE, _form(**MAILCHIMP, operation="replace"), page=PAGE)
    assert answer.status_code == 303
    page = unescape(owner.get(answer.location).get_data(as_text=True))
    assert "*|FNAME|* became {{ first_name }}" in page
    assert "Nothing is saved yet".lower() in page.lower()
    assert _versions() == []
    draft = db.session.get(NoticeDraft, (owner_of().id, owner_of().account_id, "new-sign-up"))
    assert _save(owner, subject=draft.subject, html=draft.html).status_code == 303
    (version,) = _versions()
    assert version.subject == "Welcome {{ first_name }} & friends"
    assert version.html == (
        "<p>Hi {% if first_name %}{{ first_name }}{% else %}friend{% endif %},</p>\n<p>share "
        '<a href="{{ link }}">it</a> at <a href="https://www.brightleaf.example">our shop</a>.</p>\n<p></p>'
    )


def test_a_placeholder_of_another_product_is_asked_about_and_may_stay(owner):
    asked = _accept(owner, subject="Welcome {name}", html="<p>Hi *|FNAME|*, {{ link }}</p>")
    assert "Subject: “{name}” is another product’s placeholder" in asked
    assert (
        "Message, line 1: “*|FNAME|*” is another product’s placeholder and is sent unchanged. Here it is {{ first_name }}."
        in asked
    )
    assert [version.subject for version in _versions()] == ["Welcome {name}"]


def test_the_flash_after_saving_states_whether_the_text_is_sent(owner):
    _save(owner, subject="One")
    assert "It is sent from now on." in owner.get(PAGE).get_data(as_text=True)
    owner.submit(f"{PAGE}/switch", {"on": "0"}, page=PAGE)
    owner.get(PAGE)
    _save(owner, subject="Two", based_on=1)
    page = owner.get(PAGE).get_data(as_text=True)
    assert "Saved as version 2. This email is switched off. Switch it on to send it." in page
    assert "It is sent from now on." not in page


def test_a_version_that_could_not_be_sent_is_not_restored_but_opened(owner):
    _save(owner, subject="One")
    _versions()[0].subject = "{{ last_name }}"  # as an earlier release saved it
    db.session.commit()
    _save(owner, subject="Two", based_on=1)
    answer = owner.submit(f"{PAGE}/versions/1/restore", {}, page=PAGE)
    page = unescape(owner.get(answer.location).get_data(as_text=True))
    assert "Version 1 is not restored" in page
    assert "recipients without {{ last_name }}, the subject is empty" in page
    assert 'value="{{ last_name }}"' in page
    assert [version.subject for version in _versions()] == ["{{ last_name }}", "Two"]


MARKDOWN = "# Hi {{ first_name }}\n\nYour **link**:\n{{ link }}"


def test_a_text_is_written_saved_shown_again_and_restored_in_markdown_without_script(owner):
    form = _form(subject="One", format="markdown", markdown=MARKDOWN)
    del form["html"]
    previewed = owner.submit(PAGE, {**form, "operation": "preview"}, page=PAGE)
    assert "**link**" in owner.get(previewed.location).get_data(as_text=True)
    assert owner.submit(PAGE, form, page=PAGE).status_code == 303
    page = owner.get(PAGE).get_data(as_text=True)
    assert re.search(r"<textarea[^>]*name=\"markdown\"[^>]*>\s*# Hi \{\{ first_name \}\}", page)
    assert 'name="html"' not in page
    assert "Hi Ada" in owner.get(f"{PAGE}/html").get_data(as_text=True)
    assert "**link**" in owner.get(f"{PAGE}/versions/1").get_data(as_text=True)
    assert texts.current_text(account_of(), NEW_SIGN_UP).html.startswith("<h1>Hi {{ first_name }}</h1>")
    assert owner.submit(PAGE, {**form, "based_on": "1"}, page=PAGE).status_code == 303
    assert len(_versions()) == 1, "nothing changed"
    _save(owner, based_on=1)
    assert 'name="markdown"' not in owner.get(PAGE).get_data(as_text=True), "what is saved as HTML stays HTML"
    owner.submit(f"{PAGE}/versions/1/restore", {}, page=PAGE)
    assert [version.markdown for version in _versions()] == [MARKDOWN, None, MARKDOWN]
    answer = owner.submit(PAGE, {**form, "markdown": "Hi {{ nam }}", "based_on": "3"}, page=PAGE)
    assert answer.status_code == 422
    assert 'id="markdown-error"' in answer.get_data(as_text=True)
    assert "Hi {{ nam }}" in answer.get_data(as_text=True)


def test_the_format_of_a_text_changes_only_when_asked_and_only_in_the_draft(owner):
    answer = owner.submit(PAGE, _form(operation="format", format="html"), page=PAGE)
    page = owner.get(answer.location).get_data(as_text=True)
    assert "Nothing is saved yet" in page
    assert re.search(r"<textarea[^>]*name=\"markdown\"[^>]*>\s*# Hi \{\{ first_name \}\}", page)
    answer = owner.submit(PAGE, _form(operation="format", format="markdown", markdown=MARKDOWN), page=PAGE)
    page = unescape(owner.get(answer.location).get_data(as_text=True))
    assert "<h1>Hi {{ first_name }}</h1>" in page
    assert 'name="html"' in page
    answer = owner.submit(PAGE, _form(operation="format", format="html", html="{{ nam }}"), page=PAGE)
    assert answer.status_code == 422
    assert _versions() == []


def test_a_text_part_written_by_the_owner_is_used(owner):
    _save(owner, text="Plain {{ first_name }}: {{ link }}")
    page = owner.get(PAGE).get_data(as_text=True)
    assert "Plain Ada: http" in page


def test_a_preview_without_script_shows_the_unsaved_text(owner):
    answer = owner.submit(PAGE, _form(subject="Draft for {{ first_name }}", operation="preview"), page=PAGE)
    assert answer.status_code == 303
    page = owner.get(answer.location).get_data(as_text=True)
    assert "Draft for Ada" in page
    frame = re.search(r'src="([^"]+/html\?[^"]*)"', page).group(1).replace("&amp;", "&")
    shown = owner.get(frame)
    assert "Hi Ada" in shown.get_data(as_text=True)
    assert "sandbox" in shown.headers["Content-Security-Policy"]
    assert _versions() == []
    assert "Draft for Ada" not in owner.get(PAGE).get_data(as_text=True)


def test_live_previews_are_limited_per_account(owner, stranger, monkeypatch):
    limit = rate_limit.RateLimit("live-preview", 3, timedelta(minutes=1))
    assert owner_limits.LIVE_PREVIEWS.amount == 120
    monkeypatch.setattr(owner_limits, "LIVE_PREVIEWS", limit)
    for _ in range(3):
        assert owner.submit(f"{PAGE}/live-preview", _form(), page=PAGE).status_code == 200
    answer = owner.submit(f"{PAGE}/live-preview", _form(), page=PAGE)
    assert answer.status_code == 429
    assert "Wait " in answer.get_data(as_text=True)
    assert stranger.submit(f"{PAGE}/live-preview", _form(), page=PAGE).status_code == 200


def test_the_live_preview_shows_errors_and_stores_the_draft(owner):
    answer = owner.submit(f"{PAGE}/live-preview", _form(subject="{{ nam }}"), page=PAGE)
    assert answer.status_code == 200
    assert "Did you mean {{ name }}?" in answer.get_data(as_text=True)
    assert "{{ nam }}" in owner.get(f"{PAGE}?draft=1").get_data(as_text=True)


def _affiliate(slug, name):
    account = account_of(slug)
    row = Affiliate(
        account_id=account.id,
        name=name,
        mailbox=f"{name[0].lower()}@example.org",
        mailbox_key=f"{name[0].lower()}@example.org",
        code=f"C{name[0].upper()}123",
        created_at=utcnow(),
    )
    page_keys.assign(row)
    db.session.add(row)
    db.session.commit()
    return row.id


def test_a_preview_uses_the_values_of_an_affiliate_of_the_own_account_only(owner, stranger):
    ours, theirs = _affiliate("brightleaf", "Grace Hopper"), _affiliate("copperpot", "Mallory Strange")
    page = owner.get(f"{PAGE}?as={ours}").get_data(as_text=True)
    assert "Welcome to Brightleaf, Grace" in page
    assert "CG123" in owner.get(f"{PAGE}/html?as={ours}").get_data(as_text=True)
    page = owner.get(f"{PAGE}?as={theirs}&q=mall").get_data(as_text=True)
    assert "Mallory" not in page
    assert "Grace" in owner.get(f"{PAGE}?q=HOPP").get_data(as_text=True)
    for odd in ("x", "-1", "9" * 30, "%00"):
        assert owner.get(f"{PAGE}?as={odd}&q={odd}").status_code == 200


def test_a_test_email_of_the_unsaved_text_goes_to_the_owner(owner):
    answer = owner.submit(PAGE, _form(subject="Try {{ first_name }}", operation="test"), page=PAGE)
    assert answer.status_code == 303
    message = db.session.scalars(select(OutboxMessage)).one()
    assert (message.recipient, message.subject) == ("ada@brightleaf.example", "Try Ada")
    assert message.is_test
    assert message.key.startswith("test:")
    page = owner.get(answer.location).get_data(as_text=True)
    assert f"/deliveries/{message.id}" in page
    assert _versions() == []


def test_test_emails_are_rate_limited_and_an_invalid_text_does_not_count(owner):
    assert owner.submit(PAGE, _form(html="{{ nam }}", operation="test"), page=PAGE).status_code == 422
    for _ in range(11):
        answer = owner.submit(PAGE, _form(operation="test"), page=PAGE)
    assert "You have used all test emails" in owner.get(answer.location).get_data(as_text=True)
    assert db.session.scalar(select(func.count(OutboxMessage.id))) == 10


@pytest.mark.parametrize("path", PAGES)
def test_visitors_and_other_accounts_do_not_see_the_text(owner, stranger, client, path):
    _save(owner, subject="Our secret plan", html="<p>Our secret plan</p>")
    owner.submit(
        PAGE, _form(subject="Our secret plan", html="<p>Our secret plan</p>", operation="preview"), page=PAGE
    )
    assert client.get(path).status_code == 303
    answer = stranger.get(path)
    assert answer.status_code == (404 if "version" in path else 200)
    assert "secret plan" not in answer.get_data(as_text=True)


@pytest.mark.parametrize(("path", "fields"), POSTS)
def test_visitors_and_other_accounts_do_not_change_the_text(owner, stranger, client, path, fields):
    _save(owner)
    before = db.session.scalar(select(func.count(TextVersion.id)))
    assert client.post(path, data=_form(**fields)).status_code in (303, 400)
    stranger.submit(path, _form(subject="Theirs", **fields), page=PAGE)
    assert [version.subject for version in _versions()] == ["Hello {{ first_name }}"]
    assert before == 1
    assert owner.post(path, data=_form(**fields)).status_code == 400, "without a CSRF token"


def test_a_locked_notice_is_shown_and_cannot_be_edited_or_switched(owner):
    page = "/automated-emails/event-digest"
    shown = owner.get(page).get_data(as_text=True)
    assert "This email cannot be edited" in shown
    assert "<textarea" not in shown
    posts = {"": _form(), "/switch": {"on": "0"}, "/reset": {}, "/live-preview": _form()}
    for path, fields in posts.items():
        assert owner.submit(page + path, fields, page=PAGE).status_code == 400
    assert db.session.scalar(select(func.count(TextVersion.id))) == 0
    assert db.session.scalar(select(func.count()).select_from(NoticeDraft)) == 0


@pytest.mark.both_databases
def test_the_confirmation_is_sent_in_the_owners_words_and_cannot_be_switched_off(owner, client):
    page = "/automated-emails/confirm-sign-up"
    default = confirmation_links.render_confirmation(account_of()).mail.subject
    assert owner.submit(f"{page}/switch", {"on": "0"}, page=page).status_code == 400
    html = '<p>Bitte <a href="{{ confirm_link }}">bestätigen</a>, {{ programme }}.</p>'
    refused = owner.submit(page, _form(subject="Nur ein Klick", html="<p>Bitte</p>"), page=page)
    assert refused.status_code == 422
    assert "Keep {{ confirm_link }} in it" in refused.get_data(as_text=True)
    assert owner.submit(page, _form(subject="Nur ein Klick", html=html), page=page).status_code == 303
    assert account_of().confirm_version == 1
    sign_up(client)
    [mail] = messages("confirm-sign-up")
    assert mail.subject == "Nur ein Klick"
    assert "Bitte bestätigen" in mail.text
    assert re.search(r"/confirm-sign-up/[\w-]{20,}", mail.html)
    assert owner.submit(f"{page}/reset", {"based_on": "1"}, page=page).status_code == 303
    assert account_of().confirm_version == 0
    sign_up(client, mailbox="ada@example.org")
    assert messages("confirm-sign-up")[-1].subject == default


@in_one_test("kind", CATALOGUE)
def test_every_notice_has_an_editor_and_frames_in_both_schemes(owner, kind):
    page = owner.get(f"/automated-emails/{kind}").get_data(as_text=True)
    assert 'sandbox=""' in page
    light, dark = (
        owner.get(f"/automated-emails/{kind}/html?scheme={s}").get_data(as_text=True)
        for s in ("light", "dark")
    )
    assert "@media all" in dark
    assert "@media not all" in light


@pytest.mark.parametrize(
    "fields", [{}, {"based_on": "x"}, {"based_on": "-1"}, {"based_on": "9" * 40}, {"operation": "?"}]
)
def test_a_malformed_form_causes_no_error(owner, fields):
    assert owner.submit(PAGE, fields, page=PAGE).status_code in (303, 409, 422)
    assert owner.submit(f"{PAGE}/live-preview", fields, page=PAGE).status_code == 200
    assert owner.submit(f"{PAGE}/reset", fields, page=PAGE).status_code == 303
