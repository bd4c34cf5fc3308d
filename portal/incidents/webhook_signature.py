"""The signature of what is posted to an owner's address, so that the receiver knows who says it and when.

``Signet-Signature: t=1767258000,v1=9f86d0...``: ``v1`` is the HMAC-SHA256, in hexadecimal digits, of the
seconds ``t``, a full stop and the body, under the secret that was shown when the address was saved.
"""

from __future__ import annotations

import hashlib
import hmac

HEADER = "Signet-Signature"


def signature(secret: str, body: bytes, at: int) -> str:
    """Return the header's value for a body posted at ``at`` (seconds since 1970)."""
    mac = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256)
    return f"t={at},v1={mac.hexdigest()}"
