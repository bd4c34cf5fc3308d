"""Command ``python -m portal.smtp explain``: diagnoses pasted replies.

It needs no database, keys or configuration and opens no connection. ``docs/commands.md`` documents input and
output.
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
from .pasted_reply import guess_stage, parse_stage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

MAX_LINE_BYTES = 256 * 1024  # of one input line; real replies have a few hundred
_MAX_HOST_CHARS = 253  # RFC 1035 section 2.3.4
_MAX_STAGE_CHARS = 40
_BRACKETED = re.compile(r"\[([^\]]*)\]")
_WITH_PORT = re.compile(r"([^:]*):\d+")
_KEYS = ("server", "stage", "reply")
WHOSE_MOVE_LABELS = {
    Move.OWNER: "you",
    Move.PROVIDER: "your provider",
    Move.NETWORK_OPERATOR: "your network operator",
    Move.OPERATOR: "the operator of the portal",
}


class ExplainError(ValueError):
    """The request is invalid; the message is a sentence for the user."""


def explain_reply(server: str, stage: str, reply: str) -> Diagnosis:
    """Return the diagnosis of a reply. Raises ExplainError.

    An empty ``server`` means an unknown server; an empty ``stage`` is guessed from the reply.
    """
    if not plain_text(reply, MAX_LINE_BYTES):
        raise ExplainError("The reply is empty.")
    return explain(bare_host(server), _stage(stage) if stage.strip() else guess_stage(reply), reply)


def bare_host(server: str) -> str:
    """Return the host of a pasted server, without brackets, port, scheme and control characters."""
    host = plain_text(server, _MAX_HOST_CHARS).rpartition("://")[2].rstrip("/")
    inner = _BRACKETED.match(host) or _WITH_PORT.fullmatch(host)
    return inner[1] if inner else host


def _stage(name: str) -> Stage:
    try:
        return parse_stage(name)
    except ValueError:
        shown = plain_text(name, _MAX_STAGE_CHARS)
        raise ExplainError(
            f"{shown!r} is no stage. Name one of {', '.join(stage.value for stage in Stage)}."
        ) from None


def explain_line(line: bytes) -> Diagnosis:
    """Return the diagnosis for one line of JSON. Raises ExplainError."""
    request = _parse_request(line)
    missing = [key for key in _KEYS if key not in request]
    if missing:
        raise ExplainError(f"The key {missing[0]!r} is missing.")
    wrong = [key for key in _KEYS if not isinstance(request[key], str)]
    if wrong:
        raise ExplainError(f"The value of {wrong[0]!r} is not a text.")
    if not request["stage"].strip():
        raise ExplainError("The stage is empty.")
    return explain_reply(request["server"], request["stage"], request["reply"])


def _parse_request(line: bytes) -> dict[str, Any]:
    if len(line) > MAX_LINE_BYTES:
        raise ExplainError(f"The line is longer than {MAX_LINE_BYTES} bytes.")
    try:
        request = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise ExplainError("The line is not UTF-8.") from None
    except (ValueError, RecursionError):  # RecursionError: thousands of nested brackets
        raise ExplainError("The line is not JSON.") from None
    if not isinstance(request, dict):
        raise ExplainError("The line is not a JSON object.")
    return request


def read_lines(source: IO[bytes]) -> Iterator[bytes]:
    """Yield the lines of a stream; a longer line is truncated to a little over MAX_LINE_BYTES."""
    while line := source.readline(MAX_LINE_BYTES + 2):
        rest = line
        while not rest.endswith(b"\n") and (rest := source.readline(MAX_LINE_BYTES)):
            pass
        yield line.rstrip(b"\r\n")


def as_json(answer: object) -> str:
    """Return one line of ASCII JSON, in which text of a server cannot affect a terminal or an encoding."""
    return json.dumps(answer)


def explain_lines(source: IO[bytes], write_line: Callable[[str], None]) -> int:
    """Write one line of JSON for each input line; return the exit status, 1 if any could not be explained."""
    status = 0
    for line in read_lines(source):
        try:
            write_line(as_json(explain_line(line).as_dict()))
        except ExplainError as error:
            status = 1
            write_line(as_json({"error": str(error)}))
    return status


def as_text(diagnosis: Diagnosis) -> str:
    """Return a diagnosis as readable text."""
    field = f" (field: {diagnosis.field})" if diagnosis.field else ""
    lines = [
        diagnosis.cause,
        f"Who needs to act: {WHOSE_MOVE_LABELS[diagnosis.whose_move]}{field}",
        "What to do:",
        *(f"  - {fix}" for fix in diagnosis.fixes),
        f"Diagnosis: {diagnosis.code} ({diagnosis.kind})",
    ]
    if "reply" in diagnosis.evidence:
        lines.append(f"The server replied at {diagnosis.evidence['stage']}: {diagnosis.evidence['reply']}")
    return "\n".join(lines)


def main(arguments: Sequence[str], name: str = "python -m portal.smtp explain") -> int:
    """Run the command; return its exit status. ``name`` is the program name in the help text."""
    parser = _parser(name)
    options = parser.parse_args(arguments)
    try:
        if options.jsonl:
            return explain_lines(sys.stdin.buffer, _write_line)
        if options.reply is None:
            parser.error("--reply is missing; --reply - reads it from standard input")
        return _explain_one(options)
    except BrokenPipeError:  # the reader closed the pipe; redirect, so that the final flush does not fail
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _parser(name: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(name, description="Explain a mail server's reply.", allow_abbrev=False)
    parser.add_argument("--server", default="", help="the server that sent the reply, if it is known")
    parser.add_argument("--stage", default="", help='when it was sent: AUTH, "MAIL FROM", banner, ...')
    parser.add_argument("--reply", help="the reply; - reads it from standard input")
    parser.add_argument("--json", action="store_true", help="answer with one JSON object")
    parser.add_argument(
        "--jsonl",
        action="store_true",
        help='read {"server", "stage", "reply"} from standard input, one a line, and answer each by a line',
    )
    return parser


def _explain_one(options: argparse.Namespace) -> int:
    reply = _read_all(sys.stdin.buffer) if options.reply == "-" else options.reply
    try:
        diagnosis = explain_reply(options.server, options.stage, reply)
    except ExplainError as error:
        if options.json:
            _write_line(as_json({"error": str(error)}))
        else:
            sys.stderr.write(f"{error}\n")
        return 1
    _write_line(as_json(diagnosis.as_dict()) if options.json else as_text(diagnosis))
    return 0


def _read_all(source: IO[bytes]) -> str:
    return source.read(MAX_LINE_BYTES).decode("utf-8", "replace")


def _write_line(line: str) -> None:
    """Write and flush one line, because an interactive caller waits for each answer."""
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(line.encode(encoding, "replace").decode(encoding) + "\n")
    sys.stdout.flush()
