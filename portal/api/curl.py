"""An event as a command that can be pasted into a shell."""

from __future__ import annotations

import json
import re
import secrets
import shlex
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_PLAIN = re.compile(r"[A-Za-z0-9._-]{1,60}", re.ASCII)


def command(base_url: str, body: Mapping[str, Any]) -> str:
    """Return the curl command that sends an event. The token is left to the shell: $SIGNET_TOKEN."""
    key = f'Idempotency-Key: "{_key(body)}"'
    written = json.dumps(body, ensure_ascii=False, indent=2)
    return " \\\n  ".join(
        [
            f"curl {shlex.quote(f'{base_url}/api/v1/events')}",
            '-H "Authorization: Bearer $SIGNET_TOKEN"',  # in double quotes: the shell puts it in
            "-H 'Content-Type: application/json'",
            f"-H '{key}'",
            f"--data-raw {shlex.quote(written)}",
        ]
    )


def _key(body: Mapping[str, Any]) -> str:
    """Return a key such as a shop would use: what happened, to which order."""
    about = body["data"].get("order") or body["data"].get("reference") or ""
    return f"{body['event']}-{about if _PLAIN.fullmatch(about) else secrets.token_hex(8)}"
