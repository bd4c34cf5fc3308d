"""security.txt: where a person who finds a vulnerability reports it (RFC 9116)."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from ..config import Config

PATH = "/.well-known/security.txt"
# Section 2.5.5 recommends less than a year. A portal that answers is in operation, so the day moves on.
_VALID_FOR = timedelta(days=180)


def render(config: Config, now: datetime) -> str:
    """Return the file, or an empty string if no contact is configured."""
    if not config.security_contacts:
        return ""
    expires = (now + _VALID_FOR).replace(hour=0, minute=0, second=0, microsecond=0)
    fields = [("Contact", contact) for contact in config.security_contacts]
    fields.append(("Expires", expires.strftime("%Y-%m-%dT%H:%M:%SZ")))
    fields.append(("Canonical", f"{config.base_url}{PATH}"))
    if config.security_policy:
        fields.append(("Policy", config.security_policy))
    return "".join(f"{name}: {value}\r\n" for name, value in fields)
