"""Parses replies and stage names that people copy from logs, bounces and help pages.

A bounce wraps the reply: "host mx.example.net said: 550 5.1.1 no such user (in reply to RCPT TO command)". Only the reply
itself is kept, because the words around it and the replies that followed it do not name the cause.
"""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING

from ..failure import Stage
from ..protocol.charsets import undo_wrong_decoding
from ..protocol.reply import Reply
from .client_errors import client_failure
from .phrases import concepts_in, fold
from .program_output import (
    CODE,
    MAX_CHARS,
    NAMED_CODE,
    STACK_FRAME,
    prepared,
    unwrapped,
    without_summary,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

# Names of stages in logs and on providers' help pages.
STAGE_NAMES: Mapping[str, Stage] = MappingProxyType({
    "oauth": Stage.CONSENT, "token": Stage.CONSENT,
    "dns": Stage.RESOLVE, "lookup": Stage.RESOLVE, "name": Stage.RESOLVE,
    "connection": Stage.CONNECT, "tcp": Stage.CONNECT, "dial": Stage.CONNECT,
    "banner": Stage.GREETING, "welcome": Stage.GREETING, "220": Stage.GREETING,
    "helo": Stage.EHLO, "lhlo": Stage.EHLO, "hello": Stage.EHLO,
    "ehlo/helo": Stage.EHLO, "helo/ehlo": Stage.EHLO,
    "starttls": Stage.TLS, "ssl": Stage.TLS, "handshake": Stage.TLS, "certificate": Stage.TLS,
    "login": Stage.AUTH, "log in": Stage.AUTH, "log-in": Stage.AUTH, "auth login": Stage.AUTH,
    "auth plain": Stage.AUTH,
    "authentication": Stage.AUTH, "password": Stage.AUTH, "sasl": Stage.AUTH, "user": Stage.AUTH,
    "mail from": Stage.MAIL, "from": Stage.MAIL, "sender": Stage.MAIL,
    "rcpt to": Stage.RCPT, "to": Stage.RCPT, "recipient": Stage.RCPT,
    "after data": Stage.DATA, "final dot": Stage.DATA, "content": Stage.DATA,
    "body": Stage.DATA, "end of data": Stage.DATA, "end-of-data": Stage.DATA, "dot": Stage.DATA,
    ".": Stage.DATA,
    "message": Stage.DATA, "bdat": Stage.DATA, "queue": Stage.DATA,
})  # fmt: skip


def parse_stage(name: str | Stage) -> Stage:
    """Return the stage named by text such as 'MAIL FROM:<ada@example.org>', 'banner' or 'AUTH LOGIN'.

    Raises:
        ValueError: the text names no stage.
    """
    plain = _SURROUNDINGS.sub("", " ".join(str(name)[:_MAX_STAGE_CHARS].lower().split())).removeprefix(
        "stage."
    )
    if plain.startswith("auth "):  # AUTH with any mechanism
        plain = "auth"
    return STAGE_NAMES.get(plain) or Stage(plain)


def guess_stage(text: str) -> Stage:
    """Return the stage at which a reply was probably sent, by its code and concepts."""
    text = text[:MAX_CHARS]
    if wrapped := _WRAPPED_STAGE.search(text):
        return _WRAPPED_STAGES[next(filter(None, wrapped.groups())).lower()]
    text = prepared(text)
    if own := client_failure(text, None):
        return own.stage
    reply = parse_reply(text, Stage.RCPT)
    concepts = concepts_in(fold(reply.text))
    demands_login = "not_logged_in" in concepts or {"login", "needed"} <= concepts
    if reply.code in _LOGIN_CODES or ({"login", "password"} & concepts and not demands_login):
        return Stage.AUTH
    if reply.code in {220, 421}:
        return Stage.GREETING
    if reply.code in {552, 554}:
        return Stage.DATA
    return Stage.MAIL if "sender" in concepts else Stage.RCPT


_IN_TRANSACTION = frozenset({Stage.MAIL, Stage.RCPT, Stage.DATA})
_NO_REFUSAL = frozenset(
    {"login", "user", "account", "domain", "ip", "unreachable", "fault", "wrong"}
)  # name a thing, or trouble
_MAY_PASS = frozenset({"recipient_domain", "no_connection", "unreachable", "full"})
_SURROUNDINGS = re.compile(
    r"^[\s\"'<(]+|[:<(].*$|[\s\"'>)]+$"
)  # MAIL FROM:<ada@example.org>, (banner), "EHLO"
_MAX_STAGE_CHARS = 400  # long enough for a command with an address
_LOGIN_CODES = frozenset({334, 432, 454, 530, 534, 535, 538})  # RFC 4954 and its predecessors
_LINE = re.compile(r"\\r\\n|\\n|\r\n|\n|\r")
_BARE_ENHANCED = re.compile(r"^\W*([245])\.\d{1,3}\.\d{1,3}\b")
_WRAPPED_STAGE = re.compile(
    r"(?:in reply to|after) (?:the )?(end of data|mail from|rcpt to|data|ehlo|helo|auth)\b|(refused to talk to me)"
    r"|\b(mail from|rcpt to|data end|data|ehlo|helo|auth) command failed\b",
    re.IGNORECASE,
)
_WRAPPED_STAGES: Mapping[str, Stage] = MappingProxyType({
    "end of data": Stage.DATA, "data end": Stage.DATA, "data": Stage.DATA, "mail from": Stage.MAIL, "rcpt to": Stage.RCPT,
    "ehlo": Stage.EHLO, "helo": Stage.EHLO, "auth": Stage.AUTH, "refused to talk to me": Stage.GREETING,
})  # fmt: skip


def parse_reply(text: str, stage: Stage) -> Reply:
    """Return a pasted reply: one or several lines, with or without codes, with real or escaped line breaks.

    Without a code, one is assumed from the concepts and the stage.
    """
    code, lines = None, []
    text = unwrapped(undo_wrong_decoding(text[:MAX_CHARS]))
    for raw in (line.strip() for line in _LINE.split(without_summary(text))):
        found = CODE.match(raw)
        if found and code in {None, int(found[1])}:
            code, raw = int(found[1]), raw[found.end() :].removeprefix(f"{found[1]} ")
        if raw and not STACK_FRAME.match(raw):
            lines.append(raw.strip(" '\")"))
    named = None if code else NAMED_CODE.search(text)
    return Reply.from_lines(code or (int(named[1]) if named else _assumed_code(lines, stage)), lines)


_DEFAULT_CODES = {Stage.AUTH: 535, Stage.DATA: 554, Stage.GREETING: 554}


def _assumed_code(lines: list[str], stage: Stage) -> int:
    """Return a code for a reply without one, on the assumption that it is a refusal."""
    enhanced = next((found[1] for line in lines if (found := _BARE_ENHANCED.match(line))), None)
    concepts = concepts_in(fold(" ".join(lines)))
    if enhanced == "4" or (enhanced is None and "temporary" in concepts):
        return 451
    if stage in _IN_TRANSACTION:
        if "sequence" in concepts:
            return 503
        if enhanced is None and (not concepts - _NO_REFUSAL or concepts & _MAY_PASS):
            return 451  # nothing shows that it lasts
    return _DEFAULT_CODES.get(stage, 550)
