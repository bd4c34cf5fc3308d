"""Explaining replies somebody pasted, for command lines: ``python -m portal.smtp explain``.

It needs neither a database nor keys nor configuration, and speaks to nobody. ``docs/commands.md`` describes
what goes in and comes out.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from typing import IO, TYPE_CHECKING, Any

from ..failure import Stage
from ..protocol.reply import plain_text
from .cases import Move
from .diagnose import Diagnosis, explain
from .pasted_reply import likely_stage, stage_named

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

LINE_LIMIT = 256 * 1024  # bytes of one line; a real reply has a few hundred
_HOST_LIMIT = 253  # a name's greatest length, RFC 1035 section 2.3.4
_STAGE_SHOWN = 40
_BRACKETED = re.compile(r"\[([^\]]*)\]")
_WITH_PORT = re.compile(r"([^:]*):\d+")
_KEYS = ("server", "stage", "reply")
WHOSE_MOVE = {
    Move.OWNER: "yours",
    Move.PROVIDER: "your provider's",
    Move.NETWORK_OPERATOR: "your network operator's",
    Move.OPERATOR: "that of whoever runs the portal",
}


class Unexplainable(ValueError):
    """What was asked makes no sense; the message is a sentence for whoever asked."""


def explain_reply(server: str, stage: str, reply: str) -> Diagnosis:
    """Return the diagnosis of a reply from anywhere. Raises Unexplainable.

    An empty ``server`` is one nobody knows; an empty ``stage`` is guessed from the reply.
    """
    if not plain_text(reply, LINE_LIMIT):
        raise Unexplainable("The reply is empty.")
    return explain(bare_host(server), _stage(stage) if stage.strip() else likely_stage(reply), reply)


def bare_host(server: str) -> str:
    """Return a pasted server without what logs put around it: brackets, a port, a scheme, controls."""
    host = plain_text(server, _HOST_LIMIT).rpartition("://")[2].rstrip("/")
    inner = _BRACKETED.match(host) or _WITH_PORT.fullmatch(host)
    return inner[1] if inner else host


def _stage(named: str) -> Stage:
    try:
        return stage_named(named)
    except ValueError:
        shown = plain_text(named, _STAGE_SHOWN)
        raise Unexplainable(
            f"{shown!r} is no stage. Name one of {', '.join(stage.value for stage in Stage)}."
        ) from None


def explain_line(line: bytes) -> Diagnosis:
    """Return the diagnosis one line of JSON asks for. Raises Unexplainable."""
    asked = _read(line)
    missing = [key for key in _KEYS if key not in asked]
    if missing:
        raise Unexplainable(f"The key {missing[0]!r} is missing.")
    wrong = [key for key in _KEYS if not isinstance(asked[key], str)]
    if wrong:
        raise Unexplainable(f"The value of {wrong[0]!r} is not a text.")
    if not asked["stage"].strip():
        raise Unexplainable("The stage is empty.")
    return explain_reply(asked["server"], asked["stage"], asked["reply"])


def _read(line: bytes) -> dict[str, Any]:
    if len(line) > LINE_LIMIT:
        raise Unexplainable(f"The line is longer than {LINE_LIMIT} bytes.")
    try:
        asked = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise Unexplainable("The line is not UTF-8.") from None
    except (ValueError, RecursionError):  # RecursionError: thousands of brackets, one in the other
        raise Unexplainable("The line is not JSON.") from None
    if not isinstance(asked, dict):
        raise Unexplainable("The line is not a JSON object.")
    return asked


def lines_of(source: IO[bytes]) -> Iterator[bytes]:
    """Yield the lines of a stream; of an endless one no more than its beginning is kept."""
    while line := source.readline(LINE_LIMIT + 2):
        rest = line
        while not rest.endswith(b"\n") and (rest := source.readline(LINE_LIMIT)):
            pass
        yield line.rstrip(b"\r\n")


def as_json(answer: object) -> str:
    """Return one line of JSON, in ASCII: what a server wrote can then harm no terminal and no encoding."""
    return json.dumps(answer)


def answer_lines(source: IO[bytes], say: Callable[[str], None]) -> int:
    """Answer every line of JSON by one; return the exit status: 1 when any could not be explained."""
    status = 0
    for line in lines_of(source):
        try:
            say(as_json(explain_line(line).as_dict()))
        except Unexplainable as error:
            status = 1
            say(as_json({"error": str(error)}))
    return status


def plain_words(diagnosis: Diagnosis) -> str:
    """Return a diagnosis as a person reads it."""
    field = f" (field: {diagnosis.field})" if diagnosis.field else ""
    lines = [
        diagnosis.cause,
        f"Whose move: {WHOSE_MOVE[diagnosis.whose_move]}{field}",
        "What to do:",
        *(f"  - {fix}" for fix in diagnosis.fixes),
        f"Diagnosis: {diagnosis.code} ({diagnosis.kind})",
    ]
    if "reply" in diagnosis.evidence:
        lines.append(f"The server said at {diagnosis.evidence['stage']}: {diagnosis.evidence['reply']}")
    return "\n".join(lines)


def main(arguments: Sequence[str], name: str = "python -m portal.smtp explain") -> int:
    """Run the command; return its exit status. ``name`` is what the help calls it."""
    parser = _parser(name)
    asked = parser.parse_args(arguments)
    try:
        if asked.jsonl:
            return answer_lines(sys.stdin.buffer, _say)
        if asked.reply is None:
            parser.error("--reply is missing; --reply - reads it from standard input")
        return _answer_one(asked)
    except BrokenPipeError:  # the reader has seen enough; and nobody is left to hear of it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _parser(name: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(name, description="Explain a mail server's reply.", allow_abbrev=False)
    parser.add_argument("--server", default="", help="the server that said it, if it is known")
    parser.add_argument("--stage", default="", help='when it said it: AUTH, "MAIL FROM", banner, ...')
    parser.add_argument("--reply", help="what it said; - reads it from standard input")
    parser.add_argument("--json", action="store_true", help="answer with one JSON object")
    parser.add_argument(
        "--jsonl",
        action="store_true",
        help='read {"server", "stage", "reply"} from standard input, one a line, and answer each by a line',
    )
    return parser


def _answer_one(asked: argparse.Namespace) -> int:
    reply = _all_of(sys.stdin.buffer) if asked.reply == "-" else asked.reply
    try:
        diagnosis = explain_reply(asked.server, asked.stage, reply)
    except Unexplainable as error:
        if asked.json:
            _say(as_json({"error": str(error)}))
        else:
            sys.stderr.write(f"{error}\n")
        return 1
    _say(as_json(diagnosis.as_dict()) if asked.json else plain_words(diagnosis))
    return 0


def _all_of(source: IO[bytes]) -> str:
    return source.read(LINE_LIMIT).decode("utf-8", "replace")


def _say(line: str) -> None:
    """Write one answer at once: whoever asks line by line waits for it."""
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(line.encode(encoding, "replace").decode(encoding) + "\n")
    sys.stdout.flush()
