"""What is asked about an address, and what is not."""

from __future__ import annotations

import pytest

from portal.affiliates.address_questions import Doubt, Question, question_about
from portal.web.pasted_address import unwrap_address


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("ada@gmial.com", "ada@gmail.com"),
        ("ada@gmail.con", "ada@gmail.com"),
        ("ada@gmial.con", "ada@gmail.com"),
        ("ada@gmx.ed", "ada@gmx.de"),
        ("ada@web.dee", "ada@web.de"),
        ("ada@laposte.frr", "ada@laposte.fr"),
        ("ada@gmail.co", "ada@gmail.com"),
        ("ada@gmail.c", "ada@gmail.com"),
        ("ada@web.d", "ada@web.de"),
        ("Ada.B@gnail.com", "Ada.B@gmail.com"),
        ("ada@gmaill.com", "ada@gmail.com"),
        ("ada@gmal.com", "ada@gmail.com"),
        ("ada@hotmial.com", "ada@hotmail.com"),
        ("ada@hotmail.cm", "ada@hotmail.com"),
        ("ada@yaho.com", "ada@yahoo.com"),
        ("ada@outlok.com", "ada@outlook.com"),
        ("ada@iclod.com", "ada@icloud.com"),
        ("ada@t-onlin.de", "ada@t-online.de"),
        ("ada@brightleaf.con", "ada@brightleaf.com"),
        ("ada@tea.brightleaf.nett", "ada@tea.brightleaf.net"),
    ],
)
def test_a_typing_error_is_found(typed, meant):
    assert question_about(typed) == Question(Doubt.TYPING, meant)


@pytest.mark.parametrize(
    "mailbox",
    ["ada@gmail.com", "ada@mail.com", "ada@ymail.com", "ada@gmx.net", "ada@yahoo.com.ar", "ada@hotmail.at", "ada@web.de",
     "ada@brightleaf.example", "ada@gmail.brightleaf.example", "no.reply.ada@brightleaf.example", "ada@" + "a" * 240 + ".com"],
)  # fmt: skip
def test_a_usual_address_is_not_questioned(mailbox):
    assert question_about(mailbox) is None


@pytest.mark.parametrize(
    ("mailbox", "doubt"),
    [
        ("postmaster@brightleaf.example", Doubt.ROLE),
        ("No-Reply+x@brightleaf.example", Doubt.ROLE),
        ("5551234@vtext.com", Doubt.TEXT_MESSAGES),
    ],
)
def test_an_address_without_a_reader_is_questioned(mailbox, doubt):
    assert question_about(mailbox) == Question(doubt)


@pytest.mark.parametrize(
    "pasted",
    ["ada@x.example.", "ada@x.example,", "<ada@x.example>", "ada@x.example>", "Ada <ada@x.example>",
     '"Lovelace, Ada" <ada@x.example>;', "mailto:ada@x.example?subject=Hi", "<MAILTO:ada@x.example>", "ada%40x.example",
     "(ada@x.example)", "'ada@x.example'", "ada@x.example (Ada L.)", "E-mail: ada@x.example", "Write to: Ada <ada@x.example>",
     "`ada@x.example`", "&lt;ada@x.example&gt;", "Ada &lt;ada@x.example&gt;", "mailto:ada%40x.example",
     "[ada@x.example](mailto:ada@x.example)", "[Ada](mailto:ada@x.example?subject=Hi)", "„ada@x.example“",
     "\u00a0ada@x.example\u200b", "ada＠x.example", "ada@x.example <ada@x.example>", '"ada@x.example" <Ada@X.example>;',
     "Ada (ada@x.example)", "Ada Lovelace [ada@x.example]", "email:ada@x.example", "• ada@x.example", "- <ada@x.example>",
     "ada@x.example?", "ada@x.example…", "‹ada@x.example›", "*ada@x.example*", "'ada@x.example"],
)  # fmt: skip
def test_what_is_pasted_around_an_address_is_removed(pasted):
    expected = pasted if pasted.startswith("ada%40") else "ada@x.example"
    assert unwrap_address(pasted) == expected


@pytest.mark.parametrize(
    "typed",
    ["a@x.example, b@x.example", "grace@exa mple.org", "alice@example.org)bob@example.com", '"grace hopper"@example.org',
     "@ada", "grace@example.org\r\nBcc: eve@example.net", "Grace <grace@example.org> x", "<@>", "mailto:", "x@" * 2000,
     "Ada Lovelace ada@x.example", "bob@x.example (ada@x.example)", "a&lt;b@x.example", "[x](javascript:a@x.example)",
     "ada@x.example <bob@x.example>", "ada@x.example " + "(" * 900, "a:" * 400 + "@"],
)  # fmt: skip
def test_nothing_is_guessed_from_other_text(typed):
    assert unwrap_address(typed) == typed
