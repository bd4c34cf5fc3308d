"""Hooks of Schemathesis: what JSON Schema cannot express.

Every request gets a unique Idempotency-Key, because generated keys are often equal, and valid texts become names and
addresses that exist once.
"""

from __future__ import annotations

import re
from itertools import count
from typing import Any

import schemathesis

from portal.api.openapi_parts import KEY_PATTERN

_NUMBERS = count()
# A draft has to make sense as a whole, and a schema knows no server, port or mailbox.
_DRAFT = {"host": "smtp.x.example", "username": "ada@x.example", "password": "a password"}
_FITTING = {
    "provider": "other",
    "port": 587,
    "security": "starttls",
    "mechanism": "automatic",
    "domain": "x.example",
    "wrapped_user": "info",
    "from_name": "Brightleaf",
    "reply_to": "ada@x.example",
    "ehlo_name": "portal.x.example",
    "envelope_sender": "bounces@x.example",
    "headers": ["X-PM-Message-Stream: outbound"],
}


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    key = (case.headers or {}).get("Idempotency-Key")
    if isinstance(key, str) and re.fullmatch(KEY_PATTERN, key):
        case.headers["Idempotency-Key"] = f"{next(_NUMBERS)}"
    body = case.body
    if isinstance(body, dict) and isinstance(body.get("occurred_at"), str) and not _is_negative(case):
        body["occurred_at"] = "2026-03-02T09:00:00Z"  # one far ahead is refused
    if "/settings/" in case.path and isinstance(body, dict) and not _is_negative(case):
        case.body = {**body, **_DRAFT, **{name: value for name, value in _FITTING.items() if name in body}}
        case.body.pop("based_on", None)
    if "/affiliates" in case.path and isinstance(body, dict) and not _is_negative(case):
        number = next(_NUMBERS)
        unique = {
            "name": "Grace Hopper",
            "website": "https://tea-blog.example",
            "email": f"n{number}@x.example",
            "code": f"C-{number}",
            "external_id": f"e{number}",
        }
        case.body = {**body, **{name: value for name, value in unique.items() if name in body}}
        case.body.pop("status", None) if len(case.body) > 1 else None


def _is_negative(case: Any) -> bool:
    meta = getattr(case, "meta", None)
    return meta is not None and "negative" in str(meta.generation.mode).lower()
