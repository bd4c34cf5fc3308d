"""Parses replies and stage names that people copy from logs, bounces and help pages."""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING

from ..failure import Stage
from ..protocol.reply import Reply
from .phrases import concepts_in, fold

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
    """Return the stage at which a reply was probably sent, judging by its code and concepts."""
    reply = parse_reply(text, Stage.RCPT)
    concepts = concepts_in(fold(reply.text))
    if reply.code in _LOGIN_CODES or {"login", "password"} & concepts:
        return Stage.AUTH
    if reply.code in {220, 421}:
        return Stage.GREETING
    if reply.code in {552, 554}:
        return Stage.DATA
    return Stage.MAIL if "sender" in concepts else Stage.RCPT


_SURROUNDINGS = re.compile(
    r"^[\s\"'<(]+|[:<(].*$|[\s\"'>)]+$"
)  # MAIL FROM:<ada@example.org>, (banner), "EHLO"
_MAX_STAGE_CHARS = 400  # long enough for a command with an address
_LOGIN_CODES = frozenset({334, 432, 454, 530, 534, 535, 538})  # RFC 4954 and its predecessors
_CODE = re.compile(r"^\W*(?:[a-z][\w .]*:\s*)?\(?([245]\d\d)\b[- ,:]*(?:b?['\"(])?", re.IGNORECASE)
_LINE = re.compile(r"\\r\\n|\\n|\r\n|\n|\r")
_BARE_ENHANCED = re.compile(r"^\W*([245])\.\d{1,3}\.\d{1,3}\b")
_MAX_REPLY_CHARS = 4000  # of a pasted reply; real replies have a few hundred


def parse_reply(text: str, stage: Stage) -> Reply:
    """Return a pasted reply: one or several lines, with or without codes, with real or escaped line breaks.

    Without a code, one is assumed from the concepts and the stage.
    """
    code, lines = None, []
    for raw in (line.strip() for line in _LINE.split(text[:_MAX_REPLY_CHARS])):
        found = _CODE.match(raw)
        if found and code in {None, int(found[1])}:
            code, raw = int(found[1]), raw[found.end() :]
        if raw:
            lines.append(raw.strip(" '\")"))
    return Reply.from_lines(code or _assumed_code(lines, stage), lines)


_DEFAULT_CODES = {Stage.AUTH: 535, Stage.DATA: 554, Stage.GREETING: 554}


def _assumed_code(lines: list[str], stage: Stage) -> int:
    """Return a code for a reply without one, on the assumption that it is a refusal."""
    enhanced = next((found[1] for line in lines if (found := _BARE_ENHANCED.match(line))), None)
    concepts = concepts_in(fold(" ".join(lines)))
    if enhanced == "4" or (enhanced is None and "temporary" in concepts):
        return 451
    if stage in {Stage.MAIL, Stage.RCPT, Stage.DATA} and "sequence" in concepts:
        return 503
    return _DEFAULT_CODES.get(stage, 550)
