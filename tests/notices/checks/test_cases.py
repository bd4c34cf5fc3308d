"""Texts as owners bring them from other products and editors: what is refused, asked, repaired, kept and removed."""

from __future__ import annotations

import re

import pytest

from portal.accounts.models import Account
from portal.notices import rendering, validation
from portal.notices.catalogue import CATALOGUE, NEW_SIGN_UP
from portal.notices.checks.braces import repair
from portal.notices.checks.names import nearest_variable, variable_meant
from portal.notices.checks.replacing import replace_all
from portal.notices.texts import Text

ACCOUNT = Account(name="Brightleaf", slug="brightleaf")
PURCHASE = CATALOGUE["new-purchase"]
SPELLINGS = [
    "*|FNAME|*", "*|fname|*", "{name}", "{first_name}", "{ first_name }", "{$name}", "{!firstname}", "%first_name%",
    "%FIRSTNAME%", "%%first_name%%", "%%=v(@firstname)=%%", "%recipient.first_name%", "[first_name]", "[FNAME]",
    "[firstname,fallback=there]", '[[FIRSTNAME OR "friend"]]', "[subscriber:firstname | default:reader]", "${first_name}",
    "#{first_name}", "$[FNAME]$", "$first_name$", "-first_name-", "<%= first_name %>", "&lt;%= first_name %&gt;",
    "##first_name##", "@@FIRST_NAME@@", "<first_name>", "&lt;first_name&gt;", "#recipient:firstname#",
    "«first_name»", "&lt;&lt;First Name&gt;&gt;", "{FIRST NAME}", "[First Name]", "[Your Name]", "[%first_name | default:'x'%]",
    "{first_name | friend}", "{fname fallback=there}", "%FIRST_NAME|friend%", "[$first_name]", "[*first_name*]", "$first_name",
    "$FNAME", "@first_name", "@Model.FirstName", "%first_name", "%(first_name)s", "~first_name~", "__first_name__",
    "(first_name)", "||first_name||", "first_name", "<?= $first_name ?>", "&lt;?php echo $name; ?&gt;",
    "{&quot;first_name&quot;}",
    "{firstname:there}",
]  # fmt: skip
ORDINARY = [
    "50% off, 20% more, 100%.", "[sic] and [1]", "[here](https://a.example)", "a - b - c, well-known-fact", "{ }",
    "price: 5 $ or 6 $", "#hashtag #2", "https://a.example/?q=a%20b%e2%80%93c%C3%A9d", "a *b* | c", "<b>x</b>",
    "<style>@media x{a{color:red}}</style>", "<!-- *|FNAME|* -->", "{{ first_name }} {% if last_name %}x{% endif %}",
    "{{ first_name | default: '[name]' }}", "x < y && z", "Tom & Jerry's", "ready -set- go",
    "«Bonjour», [Update] (link) $5 or US$, 5 % name, write to a@name.example", "**link** *name* _code_ ~order~", "[our shop]",
    "with your **username** (username), der **Shopname**",
    '<p class="first_name" title="x">y</p>', "https://a.example/?first_name=x&amp;ref_code=y#order_id",
]  # fmt: skip


def _validate(html: str, notice=NEW_SIGN_UP, subject: str = "Hi", text: str = "") -> validation.ValidText:
    return validation.validate(notice, ACCOUNT, Text(subject, html, text), with_trials=True)


def _errors(html: str, notice=NEW_SIGN_UP, subject: str = "Hi") -> str:
    with pytest.raises(validation.InvalidText) as refused:
        _validate(html, notice, subject)
    return "\n".join(one for sentences in refused.value.by_field.values() for one in sentences)


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_placeholder_of_another_product_is_found_and_replaced(context, spelling):
    html = f"<p>One</p>\n<p>Hi {spelling}!</p>"
    warnings = "\n".join(_validate(html).warnings)
    assert f"Message, line 2: “{spelling}” is another product’s placeholder" in warnings, warnings
    assert "Here it is {{ first_name }}." in warnings
    replaced = replace_all(NEW_SIGN_UP, Text("Hi", html)).text
    assert replaced.html == "<p>One</p>\n<p>Hi {{ first_name }}!</p>"
    assert _validate(replaced.html).questions == ()


BROKEN = [
    ("*|<b>FNAME</b>|*", "{{ first_name }}"),
    ("*|FN\u00adAME|*", "{{ first_name }}"),
    ("{first&shy;_name}", "{{ first_name }}"),
    ("<i>[</i>first_name]", "<i></i>{{ first_name }}"),
    ("%%first<wbr>_name%%", "{{ first_name }}"),
    ("{&nbsp;first_name&nbsp;}", "{{ first_name }}"),
]


@pytest.mark.parametrize(("typed", "replaced"), BROKEN)
def test_a_placeholder_of_another_product_that_an_editor_broke_is_found(context, typed, replaced):
    html = f"<p>Hi {typed}!</p>"
    assert "is another product’s placeholder" in _validate(html).warnings[0]
    assert replace_all(NEW_SIGN_UP, Text("Hi", html)).text.html == f"<p>Hi {replaced}!</p>"


@pytest.mark.parametrize(
    "spelling",
    ["\\*\\|FNAME\\|\\*", "\\[first\\_name\\]", "{first\\_name}", "*|FNAME|*", "\\<first\\_name\\>"],
)
def test_a_placeholder_of_another_product_is_found_behind_the_escapes_of_markdown(context, spelling):
    text = Text("Hi", "", "", f"Hello {spelling}, welcome")
    valid = validation.validate(NEW_SIGN_UP, ACCOUNT, text)
    assert (
        "is another product’s placeholder and is sent unchanged. Here it is {{ first_name }}."
        in valid.warnings[0]
    )
    assert replace_all(NEW_SIGN_UP, text).text.markdown == "Hello {{ first_name }}, welcome"
    first = Text("Hi", "", "", f"{spelling}, welcome")
    assert replace_all(NEW_SIGN_UP, first).text.markdown == "{{ first_name }}, welcome"


def test_conditions_of_handlebars_are_replaced_together_or_not_at_all():
    html = "{{#if FNAME}}a{{else}}b{{/if}}{{#unless lname}}c{{/unless}}{{^order}}d{{/order}}"
    new = "{% if first_name %}a{% else %}b{% endif %}{% unless last_name %}c{% endunless %}{% unless order %}d{% endunless %}"
    assert replace_all(PURCHASE, Text("x", html)).text.html == new
    for kept in (
        "{{#if CITY}}a{{/if}}",
        "{{#if FNAME}}a",
        "{{#if FNAME}}a{{/unless}}",
        "{{/if}}",
        "{{else}}",
    ):
        assert replace_all(PURCHASE, Text("x", kept)).text.html == kept


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_text_is_not_taken_for_a_placeholder(context, text):
    assert _validate(f"<p>Hi {text}</p>").warnings == ()
    assert replace_all(NEW_SIGN_UP, Text("Hi", f"<p>{text}</p>")).conversions == ()


@pytest.mark.parametrize(
    ("kind", "name", "variable"),
    [
        ("new-sign-up", "referral_url", "link"),
        ("new-sign-up", "AFFILIATE_NAME", "name"),
        ("new-sign-up", "contact.FIRSTNAME", "first_name"),
        ("new-sign-up", "subscriber.last_name", "last_name"),
        ("new-sign-up", "EMAIL", "email"),
        ("new-sign-up", "LIST:COMPANY", "programme"),
        ("new-sign-up", "user_name", "name"),
        ("new-purchase", "PURCHASE_CODE", "order"),
        ("new-purchase", "order_id", "order"),
        ("new-purchase", "referral_amount", "commission"),
        ("new-purchase", "total", "amount"),
        ("owner-new-purchase", "name", "affiliate_name"),
        ("owner-new-purchase", "affiliate_email", "affiliate_email"),
        ("new-sign-up", "UNSUB", ""),
        ("new-sign-up", "CURRENT_YEAR", ""),
    ],
)
def test_names_of_other_products_mean_variables(kind, name, variable):
    assert variable_meant(name, CATALOGUE[kind]) == variable
    assert not variable or nearest_variable(name, CATALOGUE[kind]) == variable


def test_conditions_of_mailchimp_are_replaced_together_or_not_at_all():
    html = "*|IF:LNAME|*a*|ELSEIF:FNAME|*b*|ELSE:|*c*|END:IF|*"
    replaced = "{% if last_name %}a{% elsif first_name %}b{% else %}c{% endif %}"
    assert replace_all(NEW_SIGN_UP, Text("x", html)).text.html == replaced
    assert replace_all(NEW_SIGN_UP, Text("x", f"*|IF:CITY|*{html}")).text.html == f"*|IF:CITY|*{html}"


def test_what_the_footer_has_is_removed_and_what_is_unknown_stays(context):
    html = '<p>Hi *|CITY|*</p><p><a href="*|UNSUB|*">Leave</a> <a href="*%7CARCHIVE%7C*">Browser</a></p>'
    replaced = replace_all(NEW_SIGN_UP, Text("x", html))
    assert replaced.text.html == "<p>Hi *|CITY|*</p><p> </p>"
    assert "Remove it, or put one of the variables" in _validate(replaced.text.html).warnings[0]
    assert "leads nowhere" in _errors(html)


@pytest.mark.parametrize(
    ("typed", "saved"),
    [
        ("<p>Hi {{ first_name | default: “friend” }}</p>", '<p>Hi {{ first_name | default: "friend" }}</p>'),
        ("<p>{{&nbsp;first_name&nbsp;}}</p>", "<p>{{ first_name }}</p>"),
        (
            "<p>{{ first_name | default: &quot;friend&quot; }}</p>",
            '<p>{{ first_name | default: "friend" }}</p>',
        ),
        ("<p>{{ <b>first_name</b> }}</p>", "<p>{{ first_name }}</p>"),
        ("<p>{{ <i>first_name }}</i></p>", "<p><i>{{ first_name }}</i></p>"),
        ("<p><b>Hi {{ </b>first_name }}</p>", "<p><b>Hi </b>{{ first_name }}</p>"),
        ("<p><span>{</span>{ first_name }}</p>", "<p><span></span>{{ first_name }}</p>"),
        ("<p>{{ first_name }<u>}</u></p>", "<p>{{ first_name }}<u></u></p>"),
        ("<p>{{ first_name\u200b }}</p>", "<p>{{ first_name }}</p>"),
        ("<p>{{ first\\_name }}</p>", "<p>{{ first_name }}</p>"),
        ("<p>&#123;&#123; first_name &#125;&#125;</p>", "<p>{{ first_name }}</p>"),
        (
            "<p>{% if last_name == “Lovelace” %}x{% endif %}y</p>",
            '<p>{% if last_name == "Lovelace" %}x{% endif %}y</p>',
        ),
        ('<p><a href="%7B%7B%20link%20%7D%7D">x</a></p>', '<p><a href="{{ link }}">x</a></p>'),
        ('<p><a href="http://{{ link }}">x</a></p>', '<p><a href="{{ link }}">x</a></p>'),
        ("<p>{ { first_name } }</p>", "<p>{{ first_name }}</p>"),
        ("<p>\uff5b\uff5bfirst_name\uff5d\uff5d</p>", "<p>{{first_name}}</p>"),
        ("<p>{{ first_name }&#125;</p>", "<p>{{ first_name }}</p>"),
        (
            "<p>{{ first_name }, {first_name}}, {{{first_name}}}</p>",
            "<p>" + ", ".join(3 * ["{{ first_name }}"]) + "</p>",
        ),
        ("<p>{{ “first_name” }}</p>", "<p>{{ first_name }}</p>"),
        ("<p>{{ 'first_name' | upcase }}</p>", "<p>{{ first_name | upcase }}</p>"),
        ("<p>{{ first_name | default: 'friend” }}</p>", '<p>{{ first_name | default: "friend" }}</p>'),
        ("<p>{%&nbsp;if last_name&nbsp;%}x{%&nbsp;endif %}y</p>", "<p>{% if last_name %}x{% endif %}y</p>"),
        (
            "<p>{% if last_name &amp;&amp; code %}x{% endif %}y</p>",
            "<p>{% if last_name and code %}x{% endif %}y</p>",
        ),
        ("<p>{% first_name %}</p>", "<p>{{ first_name }}</p>"),
        *(
            (f"<p>{{{{ first_name{end} }}}}</p>", '<p>{{ first_name | default: "you" }}</p>')
            for end in (' || "you"', ' or "you"', ' | Default: "you"', ' | default("you")', ", “you”")
        ),
        *(
            (f"<p>{{{{ {name} }}}}</p>", "<p>{{ first_name }}</p>")
            for name in ("$first_name", ".first_name", "first_name()", "first_name;")
        ),
    ],
)
def test_placeholders_that_an_editor_changed_are_repaired(context, typed, saved):
    valid = _validate(typed)
    assert valid.text.html == saved
    assert valid.repaired
    assert valid.questions == ()


@pytest.mark.parametrize(
    "kept",
    [
        "<p>{{ first_name | default: 'A &amp; B' }}</p>",
        "<p>{{ first_name | default: '<b>friend</b>' }}</p>",
        '<table bgcolor="#eeeeee" cellpadding="8"><tr><td height="20">x</td></tr></table>',
        '<center><font color="red"><a href="tel:+491">Call</a></font></center>',
        '<p align="center"><img src="https://x.example/a.png" alt="a"></p>',
        '<p style="font-size:0px"><span style="font-size:14px;max-width:0.5em">x</span></p>',
    ],
)
def test_what_mail_programs_show_is_kept(context, kept):
    valid = _validate(kept)
    assert (valid.text.html, valid.repaired, valid.questions) == (kept, (), ())


@pytest.mark.parametrize(
    ("html", "saved", "told"),
    [
        (
            "<!--[if mso]><table><tr><td><![endif]--><p>Hi</p><!--[if mso]></td></tr></table><![endif]-->",
            "<p>Hi</p>",
            "a comment for Outlook: Signet adds its own layout for Outlook.",
        ),
        ("<![if !mso]><p>x</p><![endif]>", "<p>x</p>", "a comment for Outlook"),
        ("<p>x</p><!-- y -->", "<p>x</p>", "a comment: recipients do not see comments."),
        (
            '<div style="display:none;max-height:0">PREHEADER <b>TEXT</b></div><p>Hi</p>',
            "<p>Hi</p>",
            "the hidden text “PREHEADER TEXT”: recipients would not see it",
        ),
        (
            '<p>Hi<img src="http://x.example/a.png" alt="a"><img src="data:image/png;base64,AAAA"></p>',
            "<p>Hi</p>",
            "the picture “http://x.example/a.png”, the picture “data:image/png;base64,AAAA”: mail programs load",
        ),
        ('<td background="x.png">x</td>', "x", "<td>: Signet does not keep it."),
        (
            "<p>x</p><form><input></form>",
            "<p>x</p>",
            "<form>, <input>: email apps do not run scripts or show forms",
        ),
        (
            "<head><style>p{}</style></head><p>x</p>",
            "<p>x</p>",
            "<style> and what was in it: Signet adds its own head",
        ),
        ("<link rel=stylesheet href=x><p>x</p>", "<p>x</p>", "<link>: Signet adds its own head and styles."),
        (
            '<body bgcolor="#000000"><p>x</p></body>',
            "<p>x</p>",
            "bgcolor of <body>: Signet adds its own head",
        ),
        ("<h4>a</h4><h5>b</h5>", "<h3>a</h3><h3>b</h3>", "<h4>, <h5>: it becomes <h3>."),
        *(
            (f"<div {hidden}>PRE</div><p>Hi</p>", "<p>Hi</p>", "the hidden text “PRE”")
            for hidden in (
                'style="max-height:0;overflow:hidden"',
                'style="opacity: 0.0"',
                "hidden",
                'style="height:0px;overflow:hidden"',
                'style="text-indent:-9999px"',
                'style="position:absolute; left: -5000px"',
            )
        ),
        (
            "<style>@media x{.a{display:none}} p.b, .pre {display:none}</style><i class='x pre'>PRE</i><p class='a'>Hi</p>",
            '<p class="a">Hi</p>',
            "the hidden text “PRE”",
        ),
    ],
)
def test_what_is_removed_is_listed_with_its_reason(context, html, saved, told):
    valid = _validate(html)
    assert valid.text.html == saved
    assert told in "\n".join(valid.removed)


@pytest.mark.parametrize(
    ("html", "sentence"),
    [
        (
            '<a href="www.x.example">x</a>',
            "“www.x.example” leads nowhere in an email; write https://www.x.example.",
        ),
        ('<p>a</p>\n<a href="x.example/a?b=c">x</a>', "Line 2: the link “x.example/a?b=c” leads nowhere"),
        ('<a href="ada@x.example">x</a>', "write mailto:ada@x.example."),
        ('<a href="terms.html">x</a>', "enter the whole address, with https://."),
        ('<a href="http:/x.example">x</a>', "leads nowhere"),
        ('<a href="mailto:">x</a>', "leads nowhere"),
        ('<a href="{{ code }}">x</a>', "contains no address"),
        (
            '<a href="{referral_url}">x</a>',
            "another product’s placeholder; *Replace all* makes it {{ link }}.",
        ),
        *(
            (f'<a href="{address}">x</a>', "leads nowhere")
            for address in ("#", "#top", "javascript:void(0)", "about:blank", "file:///C:/x")
        ),
        ('<a href="">x</a>', "a link has no address"),
        ('<a href="http://https://x.example/a">x</a>', "begins twice; write https://x.example/a."),
        ('<a href="https://x.example/a b">x</a>', "has a space in it; write https://x.example/a%20b."),
        ('<a href="https://x.example /a">x</a>', "has a space in its domain."),
        ('<a href="https://x..example/">x</a>', "its domain is not complete."),
    ],
)
def test_links_that_lead_nowhere_are_refused(context, html, sentence):
    assert sentence in _errors(html)


@pytest.mark.parametrize("address", ["tel:+49 30 123456", "mailto:ada@x.example?subject=My tea"])
def test_spaces_in_a_phone_number_or_a_subject_are_kept(context, address):
    assert _validate(f'<p>Call <a href="{address}">us</a></p>').text.html.count(address) == 1


def test_many_braces_apart_are_left_as_they_are():
    for number, opening in ((150, "{{first_name}}"), (151, "{ {first_name} }")):
        assert repair("{ {first_name} }" * number, NEW_SIGN_UP, html=True)[0] == opening * number


@pytest.mark.parametrize(
    "address",
    [
        "http://localhost:3000/a",
        "https://127.0.0.1/",
        "http://192.168.1.5/",
        "http://[::1]/",
        "http://shop.local/",
        "http://intranet/x",
    ],
)
def test_addresses_that_open_on_the_owners_computer_only_are_asked_about(context, address):
    for html in (
        f'<p>x <a href="{address}">x</a></p>',
        f'<p>x <img src="{address.replace("http:", "https:")}" alt="x"></p>',
    ):
        assert "does not open outside your own computer or network." in _validate(html).warnings[0]
    public = (
        '<p><a href="https://x.example/localhost">x</a> <a href="https://{{ code }}.x.example/">x</a></p>'
    )
    assert _validate(public).warnings == ()


def test_blocks_that_are_not_kept_do_not_let_words_run_together(context):
    valid = _validate("<section>One</section><section>Two</section><dl><dt>Three</dt><dd>Four</dd></dl>")
    assert "One\n\nTwo\n\nThree\n\nFour" in valid.sample.text


def test_styles_are_kept_whatever_their_spelling(context):
    valid = _validate('<p style="Margin:0;BACKGROUND:#fff;color:red">x</p>')
    assert valid.text.html == '<p style="margin:0;background-color:#fff;color:red">x</p>'
    assert valid.questions == ()


def test_what_was_removed_is_listed_where_nothing_is_left(context):
    assert "the picture “data:image/png;base64,AAAA”" in _errors('<img src="data:image/png;base64,AAAA">')


def test_plain_text_of_several_lines_keeps_them_and_its_addresses_become_links(context):
    typed = (
        "Hi {{ first_name }},\n\nthanks for <b>joining</b>.\n{% if last_name %}\nBye\n{% endif %}\n"
        "Your link: {{ link }}\nhttps://x.example/a, ok\n\nAda"
    )
    valid = _validate(typed)
    assert valid.text.html == (
        "<p>Hi {{ first_name }},</p>\n<p>thanks for <b>joining</b>.</p>\n{% if last_name %}\n<p>Bye</p>\n{% endif %}\n"
        '<p>Your link: <a href="{{ link }}">{{ link }}</a><br>\n<a href="https://x.example/a">https://x.example/a</a>, ok</p>'
        "\n<p>Ada</p>"
    )
    assert valid.questions == ()
    assert "Hi Ada,\n\nthanks for joining.\n\nBye\n\nYour link: http" in valid.sample.text
    assert _validate(valid.text.html).text == valid.text


@pytest.mark.parametrize(
    ("subject", "affected"),
    [
        ("{{ product }}", "recipients without {{ product }}"),
        ("{% if product != '' %}Sold{% endif %}", "recipients without {{ product }}"),
        ("{% if commission > 0 %}You earned{% endif %}", "amounts and counts of zero"),
        ("{% if first_name == 'Ada' %}Hi{% endif %}", "recipients without optional values"),
    ],
)
def test_a_subject_that_can_be_empty_is_refused(context, subject, affected):
    assert f"For {affected}, the subject is empty" in _errors("<p>x</p>", PURCHASE, subject)


def test_a_subject_that_is_empty_after_all_leaves_as_the_default_one(context):
    text = Text("{% if commission == 7 %}x{% endif %}", "<p>x</p>")
    mail = rendering.render_sample(PURCHASE, ACCOUNT, text=text)
    assert mail.subject == "You earned 12.00 EUR with Brightleaf"


@pytest.mark.parametrize("subject", ["\u200b", "\u2060 \u3164", "{{ ' ' }}", "\u200e{{ last_name }}"])
def test_a_subject_that_looks_empty_is_refused(context, subject):
    assert re.search("Enter a subject|the subject is empty", _errors("<p>x</p>", subject=subject))


@pytest.mark.parametrize(
    "subject", ["<blink>x</blink>", "<!-- x -->Hi", "Hi &copy 2026", "<marquee>Hi", "<script>x</script>"]
)
def test_html_in_a_subject_is_refused_and_can_be_replaced(context, subject):
    assert "Write the subject without HTML" in _errors("<p>x</p>", subject=subject)
    replaced = replace_all(NEW_SIGN_UP, Text(subject, "<p>x</p>")).text
    assert _validate("<p>x</p>", subject=replaced.subject)


def test_gaps_and_links_without_address_are_asked_about(context):
    warnings = "\n".join(_validate("<p>Hi {{ last_name }}, welcome.</p>").warnings)
    assert "For recipients without optional values, a sentence has a gap: “Hi ,”." in warnings
    assert "{{ last_name | default: 'friend' }}" in warnings
    warnings = "\n".join(_validate('<p>Hi. <a href="mailto:{{ reply_to }}">Ask</a></p>').warnings)
    assert "a link has no address. Put a condition around it: {% if reply_to %} … {% endif %}." in warnings
    assert (
        _validate('<p>Hi.{% if reply_to %} <a href="mailto:{{ reply_to }}">Ask</a>{% endif %}</p>').warnings
        == ()
    )
    assert _validate("<p>Bonjour : {{ first_name }} !</p>").warnings == ()


@pytest.mark.parametrize(
    ("text", "gaps"),
    [
        ("<p>Hello {{ last_name }}, ({{ last_name }}) x</p>", ["Hello ,", "()"]),
        ("<p>a {{ first_name }} “{{ last_name }}” z</p>", ["“”"]),
        (f"<p>{'w' * 30}({{{{ last_name }}}})</p>", [f"{'w' * 20}()"]),
    ],
)
def test_a_gap_is_shown_with_the_end_of_the_word_before_it(context, text, gaps):
    warnings = "\n".join(_validate(text).warnings)
    assert any(f"“{gap}”" in warnings for gap in gaps), warnings


def test_an_email_that_gmail_would_cut_off_is_asked_about(context):
    paragraph = '<p class="slip">x</p>'
    (warning,) = _validate(paragraph * 350).warnings
    assert "Gmail cuts off an email at 102 kB" in warning
    assert _validate(paragraph * 50).warnings == ()


def test_an_empty_plain_text_is_asked_about(context):
    html = '<p><img src="https://x.example/a.png" alt="{}"></p>'
    assert "The plain text of this email is empty" in _validate(html.format("")).warnings[0]
    assert _validate(html.format("A cup")).warnings == ()
    assert _validate(html.format(""), text="A cup").warnings == ()
