"""Everything that reads text from outside, and hostile texts for it.

A new scanner of text gets a line here. ``limit`` is the length up to which it reads a text; a longer one is refused or
cut before it is read, which is measured as well.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from portal import http_client
from portal.accounts import identifiers
from portal.accounts.models import Account
from portal.accounts.passwords import PasswordRefused, check_password
from portal.affiliates import greeting
from portal.affiliates.links import redact_tokens
from portal.api import strict_json
from portal.api.problems import Problem
from portal.api.validation import find_errors
from portal.arrival import authentication_results, comparison, headers, receiving_hosts
from portal.deliveries.filters import Filters
from portal.domains import dkim, dmarc
from portal.domains.spf import record as spf
from portal.enrolment import forms as enrolment
from portal.incidents.presenter import redact_mailboxes
from portal.notices import liquid, plaintext, preview, rendering, sanitize, validation
from portal.notices.catalogue import NEW_SIGN_UP
from portal.notices.checks import (
    addresses,
    braces,
    foreign,
    formats,
    leaddyno,
    masks,
    plain_lines,
    replacing,
    subjects,
)
from portal.notices.inline_styles import apply_inline_styles
from portal.notices.markup.html_tokens import read_tokens
from portal.notices.markup.markdown import TooManyParts, markdown_to_html
from portal.notices.markup.markdown_writer import html_to_markdown
from portal.notices.texts import Text
from portal.oauth.service_account import InvalidKey, read_key
from portal.outbox.sending.mime import MessageRefused, mailbox_header, serialise
from portal.rehearsal.message_view import parse_message
from portal.settings.views_explain import strip_invisible
from portal.smtp.diagnosis.explain_cli import ExplainError, explain_line, explain_reply
from portal.smtp.diagnosis.pasted_reply import parse_reply
from portal.smtp.failure import Stage
from portal.smtp.mailbox import MailboxError, parse_mailbox
from portal.smtp.network.guard import EgressPolicy, HostError, canonical_host
from portal.smtp.protocol.charsets import decode_guessing, undo_wrong_decoding
from portal.smtp.protocol.reply import EhloFeatures, Reply, plain_text
from portal.smtp.protocol.transcript import Redactor
from portal.smtp.providers import load_catalogue
from portal.smtp.providers.credential_checks import remove_spaces
from portal.smtp.token_errors import read_token_error
from portal.web.csv import csv_lines
from portal.web.requests import same_site_path

ACCOUNT = Account(name="Brightleaf", slug="brightleaf")
VALUES = {variable.name: variable.sample for variable in NEW_SIGN_UP.variables}
LIMIT = liquid.SOURCE_LIMIT_CHARS
REDACTOR = Redactor("correct horse battery staple", ("Y29ycmVjdCBob3JzZSBiYXR0ZXJ5IHN0YXBsZQ==",))


def _repeat(unit: str) -> Callable[[int], str]:
    return lambda length: (unit * (length // len(unit) + 1))[:length]


def _formatting_across_paragraphs(length: int) -> str:
    """Return unclosed elements that a browser opens again in each following paragraph."""
    opened = "".join(f"<b class={number}>" for number in range(length // 30))
    return f"<p>{opened}</p>" + "<p>x" * ((length - len(opened) - 7) // 4)


def _observe(text: str) -> object:
    return comparison.observe(headers.parse(f"Message-ID: <a@x.example>\nFrom: {text}\n{text}"), "x.example")


def _find_receiver(text: str) -> object:
    return receiving_hosts.receiving_hosts(headers.parse(f"Received: {text}\nReceived: from a by {text}"))


def _many_names(before: str, after: str) -> Callable[[int], str]:
    return lambda length: "".join(
        f"{before}v{number}{after}" for number in range(length // (len(before + after) + 5))
    )


HOSTILE: Mapping[str, Callable[[int], str]] = {
    **{
        unit: _repeat(unit)
        for unit in (
            *(
                "{{",
                "{%",
                "{",
                "}}",
                "{{ ",
                "{{}}",
                "{{ a | b",
                "{% if a %}",
                "{% raw %}",
                "$A$",
                "$A",
                "$AFFILIATE_LINK$",
                "*|A|*",
                "*|",
                "{a}",
                "[a_b]",
                "[",
                "%a%",
                "%%",
                "-a_b-",
                "{<b>",
                "{{<b>",
                "{{&nbsp;",
                "%7B%7B",
                "<%=",
                "&#123;",
                'href="',
                'href="http://{{',
                "](",
                "http://",
                "www.",
                "a.",
                '<p style="display:none">',
                "<img>",
                "<center>",
                "<style>",
                "<!--[if mso]>",
                "{{ name ”}}",
                "# ,",
                "[a](",
                "![",
                "**a",
                "*a **a ",
                "> ",
                "- ",
                "`",
                "|a",
                "~~",
                "_a ",
                "[a](<",
                "a](b)",
                "\n1. ",
                "\n- a",
                "<a@",
            ),
            *(
                "<a ",
                "<a",
                "<",
                "</",
                "</a ",
                "</p>",
                "<!--",
                "<!-->",
                "-->",
                "<!",
                "<?",
                "<b>",
                "<p>",
                "<div>",
                "<a><b>",
            ),
            *(
                "<b><p>",
                "<ul><li>",
                "<table><tr><td>",
                "<table><b>",
                "<script>",
                "<svg>",
                "<title>",
                '<a b="',
                "<a b='",
            ),
            *(
                '<p class="slip">',
                '<p><a class="button">',
                '<p style="',
                "<h1><h2>",
                "<a/",
                "<p a=b ",
                "zq0z",
                "&",
                "&amp",
            ),
            *(
                "&#",
                "&#x41;",
                " ",
                "\n",
                "\r",
                "\r\n",
                "\t",
                "\u00a0",
                "\u2028",
                "\u202e",
                "\x00",
                '"',
                "'",
                "\\",
                "'\"",
            ),
            *(
                "a",
                "0",
                "é",
                "中",
                "\u0301\u0323",
                "\u0301",
                "e\u0301\u0323",
                "\u200d",
                "a@",
                "@",
                ".",
                "a.",
                "-",
                "a-",
                "_",
            ),
            *(
                "=?utf-8?q?a?=",
                "=?",
                "=?utf-8?b?",
                "%{d}",
                "%",
                ";",
                "a=",
                "=",
                ",",
                ":",
                "/",
                "//",
                "[",
                "[[]",
                "{[",
                "(",
            ),
            *(
                "550 ",
                "550-5.1.1 ",
                "\\r\\n",
                "user unknown ",
                "mailbox quota ",
                "+",
                "=a",
                "www.",
                "https://",
                "[hidden]",
            ),
        )
    },
    "formatting across paragraphs": _formatting_across_paragraphs,
    "many variables": _many_names("{{ ", " }}"),
    "many placeholders": _many_names("$", "$"),
    "many attributes": lambda length: f"<p {_many_names('', '=1 ')(length)}>",
    "spaces within a placeholder": lambda length: "{{ a" + " " * (length - 10) + "b }}",
    "parentheses": lambda length: "{% if " + "(" * (length // 2 - 8) + ")" * (length // 2 - 8) + " %}",
    "a long word, then an @": lambda length: "a" * (length - 2) + "@b",
    "nested JSON": lambda length: "[" * (length // 2) + "]" * (length // 2),
    "names of one JSON object": lambda length: "{" + _many_names('"', '":1,')(length - 10) + '"z":1}',
    "digits of JSON": lambda length: "1" * length,
    "many styles": lambda length: '<p style="' + "color:red;" * (length // 10 - 3) + '">x',
    "spaces within a style": lambda length: (
        '<p style="background:red' + " " * (length - 40) + '!">' + "x" * 15
    ),
    "as many placeholders as allowed": lambda length: "".join(
        f"{{{{ name | default: '{number:03}' }}}} {'word, ' * 17}" for number in range(length // 135)
    ),
    "as many elements as allowed": _repeat(
        '<p class="slip"><b>a <i>word</i></b> of several</p><p><a class="button" href="https://x.example">x</a></p>'
        + "word, " * 24
    ),
    "many links": lambda length: "".join(
        f'<a href="https://x.example/{number:04}?a={{{{ name }}}}">x</a> ' for number in range(length // 64)
    ),
    "parts of names": lambda length: "Ab " * (length // 3),
}


@dataclass(frozen=True)
class Entry:
    """A function that reads text from outside."""

    name: str
    read: Callable[[str], object]
    limit: int | None = None


def _accepting(*refusals: type[Exception]) -> Callable[[Callable[[str], object]], Callable[[str], object]]:
    """Return a function that reads like the given one; a refusal counts as an answer."""

    def wrap(read: Callable[[str], object]) -> Callable[[str], object]:
        def reading(text: str) -> object:
            with suppress(*refusals):
                return read(text)
            return None

        return reading

    return wrap


_editor = _accepting(validation.InvalidText, rendering.UnrenderableText)
_refusing = _accepting(
    MailboxError, HostError, PasswordRefused, ExplainError, Problem, spf.InvalidSpf, MessageRefused,
    http_client.InvalidAddress, sanitize.MisplacedTag, sanitize.TooManyElements, TooManyParts, InvalidKey,
)  # fmt: skip


def _validate(part: str) -> Callable[[str], object]:
    def read(source: str) -> object:
        parts = {"subject": "x", "html": "<p>x</p>", "text": "", part: source}
        return validation.validate(NEW_SIGN_UP, ACCOUNT, Text(**parts), with_trials=True)

    return _editor(read)


def _render(part: str) -> Callable[[str], object]:
    """Render a text as it is sent, even if it could not be saved: it may have been saved by an earlier version."""

    def read(source: str) -> object:
        parts = {"subject": "x", "html": "<p>x</p>", "text": "", part: source}
        return rendering.render(NEW_SIGN_UP, ACCOUNT, VALUES, text=Text(**parts))

    return _editor(read)


def _render_value(value: str) -> object:
    return rendering.render(
        NEW_SIGN_UP, ACCOUNT, {**VALUES, "name": value}, text=Text("x", "<p>{{ name }}</p>")
    )


def _event(text: str) -> object:
    return find_errors(
        {"event": text, "affiliate": {"email": text, text: text}, "data": {text: text}, "occurred_at": text}
    )


_EMAILS = (
    Entry("find Liquid tokens", liquid.find_tokens),
    Entry("find unclosed braces", liquid.find_unclosed),
    Entry("read HTML", lambda text: list(read_tokens(text))),
    Entry("sanitise HTML", _refusing(sanitize.sanitize)),
    Entry("sanitise a source", _refusing(sanitize.sanitize_source)),
    Entry("HTML to plain text", _refusing(lambda text: plaintext.read(sanitize.sanitize(text)))),
    Entry("inline styles", _refusing(lambda text: apply_inline_styles(sanitize.sanitize(text), "#1f3f5c"))),
    Entry("convert LeadDyno's placeholders", lambda text: leaddyno.convert(text, NEW_SIGN_UP, html=True)),
    Entry("mask what is not shown", lambda text: masks.mask(text, html=True)),
    Entry("repair placeholders", lambda text: braces.repair(text, NEW_SIGN_UP, html=True)),
    Entry(
        "find placeholders of other products",
        lambda text: foreign.find_placeholders(text, NEW_SIGN_UP, html=True),
    ),
    Entry("replace them", lambda text: replacing.replace_all(NEW_SIGN_UP, Text(text, text)), LIMIT),
    Entry("complete addresses", addresses.complete_addresses),
    Entry("suggest an address", addresses.suggest_address),
    Entry("plain text to paragraphs", lambda text: plain_lines.to_html(f"x\n{text}", NEW_SIGN_UP)),
    Entry("Markdown to HTML", _refusing(lambda text: markdown_to_html(text, NEW_SIGN_UP)), LIMIT),
    Entry("HTML to Markdown", _refusing(lambda text: html_to_markdown(sanitize.sanitize(text).html))),
    Entry("HTML in Markdown", formats.find_html),
    Entry("save Markdown", _validate("markdown"), LIMIT),
    Entry("HTML in a subject", subjects.remove_html),
    Entry("save a subject", _validate("subject"), LIMIT),
    Entry("save HTML", _validate("html"), LIMIT),
    Entry("save a text version", _validate("text"), LIMIT),
    Entry("preview", lambda text: preview.render_preview(NEW_SIGN_UP, ACCOUNT, Text("x", text)), LIMIT),
    Entry("send a subject", _render("subject"), LIMIT),
    Entry("send HTML", _render("html"), LIMIT),
    Entry("send a text version", _render("text"), LIMIT),
    Entry("send a value", _editor(_render_value)),
    Entry("clean lines", rendering.clean_lines),
    Entry("clean a line", rendering.clean_line),
    Entry("first name", greeting.first_name_of),
    Entry("write a message", _refusing(lambda text: serialise({"Subject": "x"}, text, text))),
    Entry("write a subject", _refusing(lambda text: serialise({"Subject": text}, "x", "")), 2000),
    Entry(
        "write a name",
        _refusing(lambda text: serialise({"To": mailbox_header(text, "a@b.example")}, "x", "")),
        2000,
    ),
    Entry("hide tokens of links", lambda text: redact_tokens("confirm-sign-up", text, also_keys=True)),
)
_FORMS = (
    Entry("name of a person", enrolment.normalize_name),
    Entry("line breaks", enrolment.normalize_newlines),
    Entry("mailbox", _refusing(parse_mailbox)),
    Entry("mailbox of a log-in", identifiers.mailbox_key),
    Entry("host", _refusing(canonical_host)),
    Entry("slug of a programme", identifiers.slug_of, 100),
    Entry("password", _refusing(lambda text: check_password(text, "Brightleaf", "ada@brightleaf.example"))),
    Entry("words of a password", _refusing(lambda text: check_password("correct horse battery", text))),
    Entry("spaces of a password", remove_spaces),
    Entry(
        "address of a webhook", _refusing(lambda text: http_client.parse_address(text, EgressPolicy())), 500
    ),
    Entry("path after a log-in", same_site_path),
    Entry(
        "filters of the log",
        lambda text: Filters.read(dict.fromkeys(("q", "by", "code", "since", "kind"), text)),
    ),
    Entry("search for a provider", load_catalogue().search),
    Entry("similar host", load_catalogue().similar_host, 253),
    Entry("CSV", lambda text: csv_lines([[text]])),
)
_REPLIES = (
    Entry("clean a reply", plain_text),
    Entry("read a reply", lambda text: str(Reply.from_lines(550, text.split("\n")))),
    Entry(
        "read extensions",
        lambda text: EhloFeatures.from_reply(Reply.from_lines(250, ["x", *text.split("\n")])).mechanisms,
    ),
    Entry("hide the password", lambda text: REDACTOR.redact(text, logging_in=True)),
    Entry("hide mailboxes", redact_mailboxes),
    Entry("paste a reply", lambda text: parse_reply(text, Stage.RCPT), 4000),
    Entry("repair a pasted reply", undo_wrong_decoding),
    Entry("decode a reply", lambda text: decode_guessing(b"\xff" + text.encode("utf-16-le", "replace"))),
    Entry("explain a reply", _refusing(lambda text: explain_reply("smtp.example.org", "RCPT", text)), 4000),
    Entry("explain a line", _refusing(lambda text: explain_line(text.encode("utf-8", "replace")))),
    Entry("clean a pasted reply", strip_invisible),
    Entry("read a token error", read_token_error, 8000),
    Entry("read a key file", _refusing(read_key), 20_000),
    Entry(
        "read a message",
        lambda text: parse_message(f"Subject: {text}\n\n{text}".encode("utf-8", "replace")),
        20_000,
    ),
)
_RECORDS = (
    Entry("SPF", _refusing(lambda text: spf.parse(f"v=spf1 {text}")), 4096),
    Entry("SPF macro", _refusing(lambda text: spf.parse(f"v=spf1 exists:{text}")), 4096),
    Entry("DKIM", lambda text: dkim.classify_key(f"v=DKIM1; p={text}"), 4096),
    Entry("DKIM selector", dkim.SELECTOR.fullmatch),
    Entry("DKIM-Signature headers", headers.find_signatures),
    Entry("pasted headers", _observe),
    Entry("Authentication-Results", authentication_results.parse),
    Entry("Received", _find_receiver),
    Entry("DMARC", lambda text: dmarc.parse(f"v=DMARC1; {text}"), 4096),
    Entry("JSON", _refusing(lambda text: strict_json.parse(text.encode("utf-8", "replace")))),
    Entry("JSON string", _refusing(lambda text: strict_json.parse(json.dumps({text: text}).encode()))),
    Entry("event", _event),
)
GROUPS: Mapping[str, tuple[Entry, ...]] = {
    "emails": _EMAILS,
    "forms": _FORMS,
    "replies": _REPLIES,
    "records": _RECORDS,
}
