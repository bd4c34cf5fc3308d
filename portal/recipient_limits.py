"""Limits of the emails to one person. They count all spellings of a mailbox as one.

There are three budgets, so that strangers cannot use up what a person needs from others: what strangers cause by the
public forms, what an account causes, and password resets from a browser in which the owner has logged in before.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from . import rate_limit
from .rate_limit import RateLimit

# One budget for sign-up, registration and forgotten passwords together. Known and unknown mailboxes count alike, and
# also where no email follows: otherwise the limit would reveal which mailboxes are known.
BY_STRANGERS = RateLimit("emails caused by strangers", 3, timedelta(days=1))
# Links to people who have not agreed to anything, caused by accounts: invitations, and questions to further mailboxes.
INVITATIONS = RateLimit("invitations to a recipient", 3, timedelta(days=1))
FURTHER_MAILBOX = RateLimit("confirmation of a further mailbox", 3, timedelta(days=1))
ADDRESS_NOTICES = RateLimit("notices of address changes", 3, timedelta(days=1))  # to present addresses
SECURITY_NOTICES = RateLimit("notices of log-ins and changes", 10, timedelta(days=1))  # to people of teams
RESETS_BY_OWNER = RateLimit("password resets by a known browser", 3, timedelta(hours=1))


def one_spelling(key: str) -> str:
    """Reduce the spellings of one mailbox to one, for limits only: ``a.d.a+x@`` is ``ada@``.

    ``key`` is a mailbox in the form for look-ups. Dots are left out at every provider, not at Gmail alone: two people who
    differ only in dots then share a limit, which is the smaller harm.
    """
    local, _, domain = key.rpartition("@")
    folded = local.partition("+")[0].replace(".", "")
    return f"{folded or local}@{'gmail.com' if domain == 'googlemail.com' else domain}"


def consume(limit: RateLimit, mailbox_key: str, *, now: datetime) -> bool:
    """Count one email to a recipient within the current transaction, if the limit allows it; return whether it does."""
    return rate_limit.consume(limit, one_spelling(mailbox_key), now=now)
