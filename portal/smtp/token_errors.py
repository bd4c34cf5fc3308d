"""Errors of OAuth token endpoints: reads the answer of RFC 6749 section 5.2 and makes a SubmissionFailure of it.

The text may come from a server or from a person who pasted it, so it may be cut, or hold Microsoft's AADSTS number
without the JSON. Microsoft's numbers only select the sentence; ``error`` and the HTTP status decide whether the refusal
is final (learn.microsoft.com, "Microsoft Entra authentication and authorization error codes").
"""

from __future__ import annotations

import json
import re

from .failure import Reason, Stage, SubmissionFailure
from .protocol.reply import plain_text

_MAX_TEXT_CHARS = 8000
_MAX_DESCRIPTION_CHARS = 300
_ERROR = re.compile(r'"error"\s*:\s*"([a-z_]{3,60})"', re.IGNORECASE)
_DESCRIPTION = re.compile(r'"error_description"\s*:\s*"((?:[^"\\]|\\.)*)', re.IGNORECASE)
_NUMBER = re.compile(r"AADSTS(\d{4,8})\b", re.IGNORECASE)
# RFC 6749 section 4.1.2.1; the numbers: a loop of requests that Microsoft stopped, and its own trouble.
_TRANSIENT_ERRORS = {"temporarily_unavailable", "server_error", "slow_down", "rate_limit_exceeded"}
_TRANSIENT_NUMBERS = {"50196", "90033", "90024"}
_TOO_MANY_REQUESTS, _SERVER_ERRORS = 429, 500


def read_token_error(text: str) -> dict[str, str]:
    """Return ``error``, ``number`` and ``description`` as far as the text holds them; empty if it is no token error."""
    text = text[:_MAX_TEXT_CHARS]
    error, number = _ERROR.search(text), _NUMBER.search(text)
    if error is None and number is None:
        return {}
    found = {"error": error[1].lower() if error else ""}
    if number:
        found["number"] = number[1]
    described = _DESCRIPTION.search(text)
    description = _unescaped(described[1]) if described else text[number.start() :] if number else ""
    found["description"] = plain_text(description, _MAX_DESCRIPTION_CHARS)
    return {key: value for key, value in found.items() if value}


def _unescaped(quoted: str) -> str:
    """Return the value of a JSON string that may be cut in the middle of an escape."""
    try:
        return str(json.loads(f'"{quoted}"', strict=False))
    except ValueError:
        return quoted


def _is_of_a_proxy(status: int | None) -> bool:
    """Whether an answer without an ``error``, which RFC 6749 (5.2) asks for, comes from a proxy or firewall on the way."""
    return status is not None and (300 <= status < 400 or status in {403, 407, 408})


def token_failure(text: str, *, issuer: str, status: int | None = None) -> SubmissionFailure:
    """Return the failure of the stage CONSENT for an answer other than a token.

    Args:
        text: the body, cleaned of the secrets that were sent.
        issuer: name of the authorization server for sentences, such as "Microsoft".
        status: the HTTP status, None if it is not known.
    """
    details = read_token_error(text)
    evidence = {"issuer": issuer, **details}
    if status is not None:
        evidence["status"] = str(status)
    reply = ": ".join(filter(None, (details.get("error"), details.get("description"))))
    if reply:
        evidence["reply"] = reply
    is_transient = (
        details.get("error") in _TRANSIENT_ERRORS
        or details.get("number") in _TRANSIENT_NUMBERS
        or (status is not None and (status == _TOO_MANY_REQUESTS or status >= _SERVER_ERRORS))
        or (not reply and "number" not in details and _is_of_a_proxy(status))
    )
    reason = Reason.TOKEN_UNAVAILABLE if is_transient else Reason.TOKEN_REFUSED
    return SubmissionFailure(Stage.CONSENT, reason, evidence=evidence)
