"""Access to the API: the one table of the scopes that each endpoint takes, checked before every request.

An endpoint without a row answers 404. No scope reaches people, tokens, exports or the deletion of an account.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import g, request

from .. import audit
from ..clock import utcnow
from ..security_log import SecurityEvent, record
from . import tokens
from .models import TokenScope
from .problems import Problem, ProblemKind

if TYPE_CHECKING:
    from collections.abc import Mapping

PUBLIC = frozenset({"api.openapi"})  # without a token
_EVENTS, _AFFILIATES = TokenScope.EVENTS, TokenScope.AFFILIATES
_SENDING, _SETTINGS = TokenScope.SENDING, TokenScope.SETTINGS
# Endpoint -> the scopes that it takes. The first one is named to a token without any of them.
SCOPES: Mapping[str, tuple[TokenScope, ...]] = {
    "api.send_event": (_EVENTS,),
    "api.send_events": (_EVENTS,),
    "api.show_event": (_EVENTS,),
    "api.show_message": (_EVENTS,),
    "api.show_balance": (_EVENTS,),
    "api.list_commissions": (_EVENTS,),
    "api.list_affiliates": (_AFFILIATES,),
    "api.add_affiliate": (_AFFILIATES,),
    "api.show_affiliate": (_AFFILIATES,),
    "api.change_affiliate": (_AFFILIATES,),
    "api.erase_affiliate": (_AFFILIATES,),
    "api.show_sending": (_SENDING, _SETTINGS),
    "api.save_draft": (_SETTINGS,),
    "api.show_version": (_SETTINGS,),
    "api.check_draft": (_SETTINGS,),
}


def check_scope() -> None:
    """Let the request pass if its token has a scope that the endpoint takes; session cookies are ignored. Raises Problem."""
    endpoint = request.endpoint or ""
    if endpoint in PUBLIC:
        return
    allowed = SCOPES.get(endpoint)
    if not allowed:
        raise Problem(ProblemKind.NOT_FOUND)
    found = _authenticate()
    if found.scope not in allowed:
        detail = f"This token has the scope {found.scope.value}; this address needs {allowed[0].value}."
        header = f'Bearer realm="Signet", error="insufficient_scope", scope="{allowed[0].value}"'
        raise Problem(ProblemKind.SCOPE, detail, headers={"WWW-Authenticate": header})
    g.api_bearer = found
    audit.act_as(found.token_id, found.name, way=audit.Way.API)


def bearer() -> tokens.Bearer:
    """Return the bearer of the request's token, whose scope is checked."""
    found: tokens.Bearer = g.api_bearer
    return found


def too_many(limited: tokens.RateLimited) -> Problem:
    """Return the problem of a rate limit."""
    return Problem(ProblemKind.TOO_MANY, headers={"Retry-After": str(limited.seconds)})


def _authenticate() -> tokens.Bearer:
    header = request.headers.get("Authorization", "")
    try:
        found = tokens.authenticate(header, now=utcnow())
    except tokens.RateLimited as limited:
        raise too_many(limited) from None
    if found is None:
        # RFC 6750 section 3.1: no error code if no token was sent.
        error = ', error="invalid_token"' if header else ""
        if header:
            record(SecurityEvent.TOKEN_REFUSED)
        raise Problem(ProblemKind.TOKEN, headers={"WWW-Authenticate": f'Bearer realm="Signet"{error}'})
    return found
