"""Hooks of Schemathesis: give every request a unique Idempotency-Key, because generated keys are often equal."""

from __future__ import annotations

import re
from itertools import count
from typing import Any

import schemathesis

from portal.api.openapi import KEY_PATTERN

_NUMBERS = count()


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    key = (case.headers or {}).get("Idempotency-Key")
    if isinstance(key, str) and re.fullmatch(KEY_PATTERN, key):
        case.headers["Idempotency-Key"] = f"{next(_NUMBERS)}"
