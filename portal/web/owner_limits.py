"""How often one account may use what costs the portal or other servers much: one list, so that the numbers fit together.

The limits bound the share of the processor, of a worker's threads and of other people's servers that one account takes.
They are far above what a person does with the pages.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from flask_babel import gettext as _

from .. import rate_limit
from ..db import db
from ..rate_limit import RateLimit

LIVE_PREVIEWS = RateLimit(
    "live-preview", 120, timedelta(minutes=1)
)  # the editor pauses 0.4 seconds between two
LIVE_SEARCHES = RateLimit("live-search", 120, timedelta(minutes=1))  # a list pauses 0.35 seconds between two
IMPORT_PREVIEWS = RateLimit("import-preview", 120, timedelta(hours=1))  # each reads up to 10,000 lines
EXPLANATIONS = RateLimit("explain-reply", 60, timedelta(hours=1))
SUGGESTIONS = RateLimit("find-settings", 20, timedelta(hours=1))  # each queries the DNS
CHECKS = RateLimit("settings-check", 30, timedelta(hours=1))  # each logs in to a server; providers lock users
API_DRAFTS = RateLimit("settings-drafts-by-api", 30, timedelta(hours=1))  # each stores a password
DOMAIN_PROOFS = RateLimit("domain-proof", 30, timedelta(hours=1))  # each queries the DNS
DOMAIN_CHECKS = RateLimit("domain-look", 30, timedelta(hours=1))  # each queries the DNS
PASTED_HEADERS = RateLimit("pasted-headers", 60, timedelta(hours=1))


class LimitReached(Exception):
    """An account has reached one of these limits. The message is a sentence for the owner."""

    def __init__(self, wait: timedelta) -> None:
        minutes = max(1, -(-wait // timedelta(minutes=1)))
        super().__init__(
            _("There were too many attempts in a short time. Wait a minute, then try again.")
            if minutes == 1
            else _(
                "There were too many attempts in a short time. Wait %(minutes)d minutes, then try again.",
                minutes=minutes,
            )
        )
        self.wait = wait


def count(limit: RateLimit, account_id: int, *, now: datetime) -> None:
    """Count one use by an account. Commits. Raises LimitReached."""
    wait = rate_limit.consume_or_wait(limit, account_id, now=now)
    db.session.commit()
    if wait:
        raise LimitReached(wait)
