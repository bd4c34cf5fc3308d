"""Requests to token endpoints (RFC 6749 section 3.2), through the guarded HTTP client."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..http_client import PostFailed, post_form
from ..smtp.failure import Reason, Stage, SubmissionFailure
from ..smtp.protocol.transcript import Redactor
from ..smtp.token_errors import token_failure
from ..state import current_config

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..smtp.server import Secret

# RFC 6749 section A.12 without the space. Another character could end the field of the log-in that holds the token.
_TOKEN = re.compile(r"[\x21-\x7e]{1,16000}")
_DEFAULT_LIFETIME_S, _MAX_LIFETIME_S = 300, 86_400


@dataclass(frozen=True)
class TokenRequest:
    """One request. ``secrets`` are among the values of ``fields``; the answer is cleaned of them."""

    url: str
    issuer_name: str
    fields: Mapping[str, str] = field(repr=False)
    secrets: tuple[Secret, ...] = field(repr=False)


@dataclass(frozen=True)
class TokenAnswer:
    """A token and its lifetime in seconds from the request, and what else the answer holds."""

    access_token: str = field(repr=False)
    lifetime_s: int
    refresh_token: str = field(default="", repr=False)
    id_token: object = field(default=None, repr=False)
    scope: str = ""


def request_token(request: TokenRequest) -> TokenAnswer:
    """Fetch a token. No transaction may be open. Raises SubmissionFailure at the stage CONSENT."""
    try:
        answer = post_form(request.url, request.fields, current_config().token_policy)
    except PostFailed as failure:
        evidence = {"issuer": request.issuer_name, "detail": str(failure)}
        raise SubmissionFailure(Stage.CONSENT, Reason.TOKEN_UNAVAILABLE, evidence=evidence) from None
    token = _read_token(answer.text) if answer.status == 200 else None
    if token is not None:
        return token
    cleaned = answer.text
    for secret in request.secrets:
        cleaned = Redactor(secret.reveal(), ()).redact(cleaned, logging_in=True)
    # A 200 without a token is another server's page, such as that of a proxy: it is no refusal.
    status = 502 if answer.status == 200 else answer.status
    raise token_failure(cleaned, issuer=request.issuer_name, status=status)


def _read_token(text: str) -> TokenAnswer | None:
    """Return the token of an answer (RFC 6749 section 5.1), None if it holds none that can be used."""
    try:
        values: Any = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(values, dict):
        return None
    token, lifetime = values.get("access_token"), values.get("expires_in", _DEFAULT_LIFETIME_S)
    if not isinstance(token, str) or not _TOKEN.fullmatch(token):
        return None
    if isinstance(lifetime, str) and lifetime.isascii() and lifetime.isdigit():
        lifetime = int(lifetime[:6])
    if not isinstance(lifetime, int) or lifetime <= 0:
        lifetime = _DEFAULT_LIFETIME_S
    refresh, scope = values.get("refresh_token"), values.get("scope")
    return TokenAnswer(
        token,
        min(lifetime, _MAX_LIFETIME_S),
        refresh if isinstance(refresh, str) and _TOKEN.fullmatch(refresh) else "",
        values.get("id_token"),
        scope if isinstance(scope, str) else "",
    )
