"""Replies and stages as people paste them out of logs, bounces and help pages."""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING

from ..failure import Stage
from ..protocol.reply import Reply
from .phrases import fold, ideas_in

if TYPE_CHECKING:
    from collections.abc import Mapping

# How people name the moment at which it failed, as logs and providers' pages print it.
STAGE_NAMES: Mapping[str, Stage] = MappingProxyType({
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


def stage_named(name: str | Stage) -> Stage:
    """Return the stage people mean by 'MAIL FROM:<ada@example.org>', 'banner', 'Stage.AUTH' or 'AUTH LOGIN'.

    Raises:
        ValueError: nobody means a stage by it.
    """
    plain = _AROUND.sub("", " ".join(str(name)[:_NAME_LIMIT].lower().split())).removeprefix("stage.")
    if plain.startswith("auth "):  # AUTH with a mechanism, whichever
        plain = "auth"
    return STAGE_NAMES.get(plain) or Stage(plain)


def likely_stage(text: str) -> Stage:
    """Return the stage at which a pasted reply was probably said, by its code and words."""
    reply = parse_reply(text, Stage.RCPT)
    ideas = ideas_in(fold(reply.text))
    if reply.code in _LOGIN_CODES or {"login", "password"} & ideas:
        return Stage.AUTH
    if reply.code in {220, 421}:
        return Stage.GREETING
    if reply.code in {552, 554}:
        return Stage.DATA
    return Stage.MAIL if "sender" in ideas else Stage.RCPT


_AROUND = re.compile(r"^[\s\"'<(]+|[:<(].*$|[\s\"'>)]+$")  # MAIL FROM:<ada@example.org>, (banner), "EHLO"
_NAME_LIMIT = 400  # characters read of a stage's name; a command with an address fits
_LOGIN_CODES = frozenset({334, 432, 454, 530, 534, 535, 538})  # RFC 4954 and its forerunners
_CODE = re.compile(r"^\W*(?:[a-z][\w .]*:\s*)?\(?([245]\d\d)\b[- ,:]*(?:b?['\"(])?", re.IGNORECASE)
_LINE = re.compile(r"\\r\\n|\\n|\r\n|\n|\r")
_BARE_ENHANCED = re.compile(r"^\W*([245])\.\d{1,3}\.\d{1,3}\b")
_PASTED_LIMIT = 4000  # characters read of a pasted reply; a real one has a few hundred


def parse_reply(text: str, stage: Stage) -> Reply:
    """Return the reply somebody pasted: one line or several, with or without codes, with "\\n" written out.

    Without a code one is assumed, as the words and the stage suggest.
    """
    code, lines = None, []
    for raw in (line.strip() for line in _LINE.split(text[:_PASTED_LIMIT])):
        found = _CODE.match(raw)
        if found and code in {None, int(found[1])}:
            code, raw = int(found[1]), raw[found.end() :]
        if raw:
            lines.append(raw.strip(" '\")"))
    return Reply.from_lines(code or _assumed_code(lines, stage), lines)


_USUAL_REFUSAL = {Stage.AUTH: 535, Stage.DATA: 554, Stage.GREETING: 554}


def _assumed_code(lines: list[str], stage: Stage) -> int:
    """Return a code for a reply pasted without one: it was pasted because something was refused."""
    enhanced = next((found[1] for line in lines if (found := _BARE_ENHANCED.match(line))), None)
    ideas = ideas_in(fold(" ".join(lines)))
    if enhanced == "4" or (enhanced is None and "temporary" in ideas):
        return 451
    if stage in {Stage.MAIL, Stage.RCPT, Stage.DATA} and "sequence" in ideas:
        return 503
    return _USUAL_REFUSAL.get(stage, 550)
