"""Texts in Markdown: what is sent, what the editor shows again, and the change to and from HTML."""

from __future__ import annotations

import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from portal.accounts.models import Account
from portal.notices import sanitize, validation
from portal.notices.catalogue import CATALOGUE, CONFIRM_SIGN_UP, NEW_SIGN_UP
from portal.notices.checks import formats
from portal.notices.markup.markdown import markdown_to_html
from portal.notices.markup.markdown_writer import html_to_markdown
from portal.notices.texts import Text, default_text
from tests.notices.test_liquid import SOURCES

ACCOUNT = Account(name="Brightleaf", slug="brightleaf")


def _validate(markdown: str) -> validation.ValidText:
    return validation.validate(NEW_SIGN_UP, ACCOUNT, Text("Hi", "", "", markdown), with_trials=True)


@pytest.mark.parametrize(
    ("markdown", "html"),
    [
        ("Hi {{ first_name }},\nwelcome.\n\nAda", "<p>Hi {{ first_name }},<br>\nwelcome.</p>\n<p>Ada</p>"),
        ("**{{ code }}** and *x* and _{{ name }}_", "<p><strong>{{ code }}</strong> and <em>x</em> and <em>{{ name }}</em></p>"),
        ('{{ last_name | default: "friend" }}', '<p>{{ last_name | default: "friend" }}</p>'),
        ("# One\n##### Five", "<h1>One</h1>\n<h3>Five</h3>"),
        ("- a\n- b", "<ul>\n<li>a</li>\n<li>b</li>\n</ul>"),
        ("[shop](https://x.example/?a=1&b=2)", '<p><a href="https://x.example/?a=1&amp;b=2">shop</a></p>'),
        ("[mine]({{ link }})", '<p><a href="{{ link }}">mine</a></p>'),
        ('[Open]({{ dashboard }} "button")', '<p><a class="button" href="{{ dashboard }}">Open</a></p>'),
        ("{{ link }} https://x.example/.", '<p><a href="{{ link }}">{{ link }}</a> <a href="https://x.example/">https://x.example/</a>.</p>'),
        ("{% if last_name %}\nA\n{% else %}\nB\n{% endif %}", "{% if last_name %}\n<p>A</p>\n{% else %}\n<p>B</p>\n{% endif %}"),
        ("{% if last_name %}A{% endif %}\nB", "<p>{% if last_name %}A<br>{% endif %}\nB</p>"),
        ("| A | B |\n|---|---|\n| {{ code }} | 2 |", None),
        ("a < b & c > d", "<p>a &lt; b &amp; c &gt; d</p>"),
        ("    four spaces\nAda\n---", None),
        ("a\n\n- - -\n\n***\n\n_ _\t_ ", "<p>a</p>\n<hr>\n<hr>\n<hr>"),
        ("- - - a", "<ul>\n<li>\n<ul>\n<li>\n<ul>\n<li>a</li>\n</ul>\n</li>\n</ul>\n</li>\n</ul>"),
        ("<https://x.example/a>", '<p><a href="https://x.example/a">https://x.example/a</a></p>'),
        ("<ada@x.example>", '<p><a href="mailto:ada@x.example">ada@x.example</a></p>'),
        ("a <b <i>c</i> <x:y d@e", "<p>a &lt;b &lt;i&gt;c&lt;/i&gt; &lt;x:y d@e</p>"),
    ],
)  # fmt: skip
def test_markdown_becomes_html_with_its_placeholders(markdown, html):
    written = markdown_to_html(markdown, NEW_SIGN_UP)
    assert html is None or written == html
    assert "<pre" not in written
    assert "<h2" not in written


def test_a_text_in_markdown_keeps_its_source_and_is_sent_as_html_and_text(context):
    valid = _validate("# Hi {{ first_name }}\r\n\r\nYour *link*:\n{{ link }}\n")
    assert valid.text.markdown == "# Hi {{ first_name }}\n\nYour *link*:\n{{ link }}"
    assert (
        valid.text.html
        == '<h1>Hi {{ first_name }}</h1>\n<p>Your <em>link</em>:<br>\n<a href="{{ link }}">{{ link }}</a></p>'
    )
    assert "Hi Ada" in valid.sample.html
    assert "Your link:\nhttp://127.0.0.1/r/" in valid.sample.text
    assert valid.questions == ()
    again = validation.validate(NEW_SIGN_UP, ACCOUNT, valid.text, with_trials=True)
    assert again.text == valid.text


@pytest.mark.parametrize(
    ("markdown", "sentence"),
    [
        ("", "Write a text"),
        ("Hi\n\n{{ nam }}", "Line 3: there is no variable “nam”"),
        ("Hi\n[x](www.x.example)", "Line 2: the link “www.x.example” leads nowhere"),
        ("[x](#top)", "leads nowhere"),
        ("{% if name %}", "is not closed"),
        ('"' * 6_000, "as HTML it has"),
    ],
)
def test_an_error_in_markdown_belongs_to_its_field(context, markdown, sentence):
    with pytest.raises(validation.InvalidText) as refused:
        _validate(markdown)
    assert sentence in refused.value.by_field["markdown"][0]


@pytest.mark.parametrize(
    ("markdown", "question"),
    [
        ("Hi *|FNAME|*", "Message, line 1: “*|FNAME|*” is another product’s placeholder"),
        ("Hi <b>you</b>", "Message: <b> is HTML, and recipients would see it as written."),
        ("![cup](http://x.example/a.png)", "the picture “http://x.example/a.png”: mail programs load"),
    ],
)
def test_markdown_is_asked_about_like_html(context, markdown, question):
    assert question in "\n".join(_validate(markdown).questions)


def test_scripts_in_markdown_are_words(context):
    valid = _validate("[x](javascript:alert(1)) `<b>` <script>alert(1)</script>")
    assert "<script" not in valid.text.html
    assert "<a" not in valid.text.html


@settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(markdown=SOURCES)
def test_a_valid_markdown_text_does_not_change_when_validated_again(context, markdown):
    try:
        valid = validation.validate(NEW_SIGN_UP, ACCOUNT, Text("x", "", "", markdown))
    except validation.InvalidText as error:
        assert set(error.by_field) <= {"markdown"}
        return
    assert validation.validate(NEW_SIGN_UP, ACCOUNT, valid.text).text == valid.text


@pytest.mark.parametrize(
    "notice", [one for one in CATALOGUE.values() if one != CONFIRM_SIGN_UP], ids=lambda one: one.kind
)
def test_every_default_text_can_be_written_without_html(context, notice):
    """The words of the text part stay, apart from underlines of headings and the line breaks of tables and addresses."""
    default = validation.validate(notice, ACCOUNT, default_text(notice))
    changed = formats.to_markdown(default.text)
    assert "<" not in (changed.markdown or "")
    valid = validation.validate(notice, ACCOUNT, changed, with_trials=True)
    assert valid.questions == ()
    words, expected = (
        one.sample.text.replace("-", " ").replace(",", " ").split() for one in (valid, default)
    )
    assert words == expected


@pytest.mark.parametrize(
    ("html", "markdown"),
    [
        ("<h2>A</h2><p>b<br>c</p>", "## A\n\nb\nc"),
        ("<p>1. a</p><p># b * c_d</p>", "1\\. a\n\n\\# b \\* c\\_d"),
        ("<ol><li>a<ul><li>b</li></ul></li><li>c</li></ol>", "1. a\n   - b\n2. c"),
        ("<blockquote><p>a</p></blockquote>", "> a"),
        ('<p><a href="https://x.example/">https://x.example/</a></p>', "https://x.example/"),
        ('<p><img src="https://x.example/a.png" alt="cup"></p>', "![cup](https://x.example/a.png)"),
        ("<p>{% if name %}a{% endif %}</p>", "{% if name %}a{% endif %}"),
        ("{% if name %}<p>b</p>{% endif %}", "{% if name %}\n\nb\n\n{% endif %}"),
        ("<p>{% if name %}Hi {% endif %}there</p>", "{% if name %}Hi {% endif %}there"),
        ("<p>Hi <strong>you </strong>there</p>", "Hi **you** there"),
        ("<p>a<em></em><b> </b><strong> b</strong></p>", "a **b**"),
        ("<p><b>a<strong>b</strong></b><b>c</b></p>", "**abc**"),
        ("<p><strong>Total:</strong>{{ code }} <em>“x”</em>y</p>", "**Total**:{{ code }} *“x”* y"),
        ("<strong><p>a<br>b</p><p>c</p></strong>", "**a**\n**b**\n\n**c**"),
        ("<p>a<strong>(b)</strong></p>", "a(b)"),
        ("<p><code>a_b*</code> <code>`x`</code></p>", "`a_b*` `` `x` ``"),
        ("<pre>a ``` b</pre>", "````\na ``` b\n````"),
        ('<p>x<a href="https://x.example/a b_(c"> y<br>z </a>w</p>', "x [y z](https://x.example/a%20b_%28c) w"),
        ('<p><a href="https://x.example/_a_">https://x.example/_a_</a></p>', "https://x.example/\\_a\\_"),
        ('<p><a href="https://x.example/it\'s">https://x.example/it\'s</a></p>', "[https://x.example/it's](https://x.example/it's)"),
        ("<ul><li><p>a</p><p>b</p></li></ul>", "- a b"),
        ("<h1>a<br><b>b</b></h1>", "# a **b**"),
    ],
)  # fmt: skip
def test_html_becomes_markdown(html, markdown):
    assert html_to_markdown(html) == markdown


_FORMATTED = st.recursive(
    st.sampled_from(
        [
            "a",
            "b.",
            " ",
            "“c”",
            "*",
            "_",
            "{{ code }}",
            "<br>",
            "<code>d_e</code>",
            '<a href="https://x.example/f">g</a>',
        ]
    ),
    lambda inner: st.builds(
        lambda tag, parts: f"<{tag}>{''.join(parts)}</{tag}>",
        st.sampled_from(["strong", "em", "s"]),
        st.lists(inner, max_size=3),
    ),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(parts=st.lists(_FORMATTED, min_size=1, max_size=4))
def test_no_sign_of_markdown_is_shown(parts):
    """What an owner sees in place of formatted words has the words, and no sign more."""
    html = sanitize.sanitize_source(f"<p>{''.join(parts)}</p>").html
    again = sanitize.sanitize_source(markdown_to_html(html_to_markdown(html), NEW_SIGN_UP)).html
    shown, expected = ("".join(re.sub(r"<[^>]*>", "", one).split()) for one in (again, html))
    assert shown == expected


def test_tables_of_very_many_cells_stay_text():
    """The parser adds the cells that lines lack: 400 lines below 20 columns would become 8,000 cells."""
    head = "|a" * 20 + "\n" + "|-" * 20 + "\n"
    assert "<table>" in markdown_to_html(head + "a\n" * 50, NEW_SIGN_UP)
    assert markdown_to_html(head + "a\n" * 400, NEW_SIGN_UP).count("<td>") == 0
    assert markdown_to_html((head + "a\n" * 20 + "\n") * 20, NEW_SIGN_UP).count("<td>") == 0


def test_markdown_becomes_html_when_asked_and_html_in_it_is_taken_as_it_is():
    changed = formats.to_html(NEW_SIGN_UP, Text("x", "", "t", "*Hi*"))
    assert changed == Text("x", "<p><em>Hi</em></p>", "t", None)
    pasted = "<p>\n    Hi *|FNAME|*</p>"
    assert formats.to_html(NEW_SIGN_UP, Text("x", "", "", pasted)).html == pasted
