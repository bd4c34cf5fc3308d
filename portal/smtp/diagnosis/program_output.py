"""Finds the server's reply within what a program or a bounce wrote around it.

People paste what their program printed: an exception, a log, data as JSON, or a bounce. The words around the reply are the
program's own. They do not name the cause, and some ("rejected", "invalid addresses") look like a reason.
"""

from __future__ import annotations

import re

CODE = re.compile(r"^\W*(?:[a-z][\w .]*:\s*)?\(?([2-5]\d\d)\b\)?[- ,:]*(?:b?['\"(])?", re.IGNORECASE)
STACK_FRAME = re.compile(r"(?:at \S.{0,300}:\d+\)?|File \".{1,300}, line \d+.*)$")
# The reply inside a bounce: a code with its enhanced code, or a code after a mark that ends other words.
_EMBEDDED = (
    re.compile(r"(?<![\w.-])([45]\d\d)[ -]['\"#]?(?=[45]\.\d{1,3}\.\d{1,3}(?![\w.]))"),
    re.compile(r"(?:[:;'\"(\[]|\bsaid|\breturned)[ ]?([45][0-57]\d)(?:[ ,-]|\. )(?=[ ]?[^\d\s])"),
    re.compile(r"(?:Exception|Error): ([45][0-57]\d): (?=\D)"),
    re.compile(r"\berror \(([45]\d\d)\)"),  # lettre: "permanent error (550): text"
    # Of a program that expected another code:
    re.compile(r"(?:\b[Rr]esponse: |\bcommand failed[:-]? ?-? ?|\bwith message \")([23]\d\d)[ -]"),
)
# The end of a reply that a program wrote between quotation marks.
_END_OF_QUOTED = {
    quote: re.compile(rf"{quote}(?=[,;)}}\]]|\s*$|\s+(?:Log data|at|in)\b|\s+[({{])") for quote in ("'", '"')
}
# What mail programs write around a refusal, or alone when they do not show it: it is no reason.
_SUMMARY = re.compile(
    r"(?:\bcan'?t send mail\W{1,3})?\ball recipients were (?:rejected|refused)"
    r"|\bfollowing (?:recipients|addresses) failed|\binvalid addresses\b"
    r"|\b(?:mail(?: from)?|rcpt(?: to)?|recipient|data(?: end)?) command failed"
    r"|\bSMTPRecipientsRefused\b|\bdata (?:command )?not accepted(?: from server)?\b",
    re.IGNORECASE,
)
# A code that a program names beside the reply's text: "SMTP code: 530", "responseCode: 535", "error 550".
NAMED_CODE = re.compile(
    r"\b(?:error|code|status|response ?code|got)\W{1,4}([45][0-7]\d)(?![\w.])", re.IGNORECASE
)
# Replies to the commands that followed the failed one.
_NEXT_REPLY = re.compile(r"\s(503|554|421)[ -](?:[45]\.\d{1,3}\.\d{1,3}|Error|Need|Valid|Bad|All|No)\b")
# A filter that repeats the reply of the server behind it (amavisd-new).
_NEXT_HOP = re.compile(r"[45]\d\d [^\n]{0,80}\bfrom MTA\([^()\n]{1,80}\): (?=[45]\d\d[ -])")
_IN_REPLY = re.compile(r"\(in reply to [^()]{1,60}\)")
# PHPMailer writes the text before the codes: "Detail: text SMTP code: 550 Additional SMTP info: 5.7.1".
_PHPMAILER_CODES = re.compile(
    r"\bSMTP code: ([245]\d\d)(?:\s{1,9}Additional SMTP info: ([245]\.\d{1,3}\.\d{1,3}))?", re.IGNORECASE
)
_PHPMAILER_TEXT = "Detail: "
# .NET writes what the code means before the reply's text, and leaves the code out.
_DOTNET_CODES = {
    "service not available, closing transmission channel": "421",
    "error in processing": "451",
    "insufficient system storage": "452",
    "syntax error in parameters or arguments": "501",
    "bad sequence of commands": "503",
    "the smtp server requires a secure connection or the client was not authenticated": "530",
    "mailbox unavailable": "550",
    "user not local; please try a different path": "551",
    "exceeded storage allocation": "552",
    "mailbox name not allowed": "553",
    "transaction failed": "554",
}
_DOTNET_TEXT = re.compile(
    rf"({'|'.join(_DOTNET_CODES)})\.?\s{{1,3}}The server response was: (?:([2-5]\d\d)[ -])?(?=(4\.)?[\w<])",
    re.IGNORECASE,
)
# An enhanced code that begins the text of an exception without the reply code.
_ENHANCED_OF_EXCEPTION = re.compile(r"(?:Exception|Error)\b[^:\n]{0,40}: (?=[45]\.\d{1,3}\.\d{1,3} )")
# Bytes and characters as Python and JSON print them.
_BYTE = re.compile(r"\\x([0-9a-f]{2})")
_CHARACTERS = re.compile(r"(?:\\u[0-9a-fA-F]{4})+")
_CHINESE = re.compile(r"(?:\\x[0-9a-f]{2}){4}")
_ENHANCED = re.compile(r"(?<![\w.])[45]\.\d{1,3}\.\d{1,3} ")
_LETTER = re.compile(r"[^\W\d_]")
MAX_CHARS = 4000  # of a pasted text; real replies have a few hundred


def prepared(text: str) -> str:
    """Return a pasted text, cut to ``MAX_CHARS``, with its characters decoded and the codes before the words."""
    return reordered(decoded(text[:MAX_CHARS]))


def reordered(text: str) -> str:
    """Return a pasted text with the reply's codes before its words, where a program writes them behind."""
    dotnet = _DOTNET_TEXT.search(text)
    if dotnet:
        meaning, code, passing = dotnet.groups()
        code = code or ("450" if passing else _DOTNET_CODES[meaning.lower()])
        return f"{code} {text[dotnet.end() :]}"
    codes = _PHPMAILER_CODES.search(text)
    at = text.find(_PHPMAILER_TEXT)
    if codes is None or not 0 <= at < codes.start():
        return text
    reply = text[at + len(_PHPMAILER_TEXT) : codes.start()].strip()
    return " ".join(part for part in (codes[1], codes[2], reply) if part)


def decoded(text: str) -> str:
    """Return a pasted text with the characters that a program printed as escaped bytes or numbers."""
    text = _CHARACTERS.sub(
        lambda run: bytes.fromhex(run[0].replace("\\u", "")).decode("utf-16-be", "replace"), text
    )
    if not _BYTE.search(text):
        return text
    parts = _BYTE.split(text)  # text and the hexadecimal digits of a byte in turn
    raw = b"".join(bytes.fromhex(part) if at % 2 else part.encode() for at, part in enumerate(parts))
    for encoding in ("utf-8", "gb18030") if _CHINESE.search(text) else ("utf-8", "latin-1"):
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    return text


def without_summary(text: str) -> str:
    """Return a text that begins with no code without the words by which programs sum up a refusal."""
    return text if CODE.match(text) else _SUMMARY.sub("", text)


def unwrapped(text: str) -> str:
    """Return the first reply within a bounce's text, without the words around it; other text unchanged."""
    text = _NEXT_HOP.sub("", _IN_REPLY.sub("", text), count=1)
    if not CODE.match(text):
        text = _embedded(text)
    first = CODE.match(text)
    followers = _NEXT_REPLY.finditer(text, first.end() if first else 0)
    # "554-..." begins a reply of several lines, each with the same code.
    several = first[1] if first and text[first.end(1) : first.end(1) + 1] == "-" else None
    follower = next((one for one in followers if one[1] != several), None)
    return text[: follower.start()] if follower else text


def _embedded(text: str) -> str:
    """Return the text from the first reply on, up to the quotation mark that ends it; the text itself if it holds none."""
    starts = [found.start(1) for pattern in _EMBEDDED if (found := pattern.search(text))]
    if not starts:
        exception = _ENHANCED_OF_EXCEPTION.search(text)
        return text[exception.end() :] if exception else text
    at = min(starts)
    before = _ENHANCED.search(text, 0, at)
    if before and not _LETTER.search(text, at):  # cut off after the codes of its last line
        return f"{text[at : at + 3]} {text[before.start() : at]}"
    quote, text = text[at - 1 : at], text[at:]
    end = _END_OF_QUOTED[quote].search(text) if quote in _END_OF_QUOTED else None
    return text[: end.start()] if end else text
