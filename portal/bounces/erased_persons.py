"""Reports that name an erased person and belong to no message: the person is not kept.

An erasure takes from the messages what a report may name them by, so a report that comes later finds none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..affiliates import suppressions
from ..smtp.mailbox import MailboxError, parse_mailbox
from .parsing.addresses import addresses_in

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .models import BounceEvent

_MAX_ADDRESSES = 50  # of one report
_BLANK = ("recipient", "raw", "reason", "header_id", "queue_id", "reference")


def named_in(account_id: int, reports: Sequence[tuple[str, str, str]]) -> list[bool]:
    """Return for each report whether its recipient, reason or raw text holds the mailbox of a person the account has erased."""
    if not (reports and suppressions.has_erased(account_id)):
        return [False] * len(reports)
    texts = map(" ".join, reports)
    found = [{_canonical(one) for one in addresses_in(text)[:_MAX_ADDRESSES]} for text in texts]
    erased = suppressions.erased_among(account_id, set().union(*found))
    return [not erased.isdisjoint(each) for each in found]


def blank(event: BounceEvent) -> None:
    """Blank a report without a message if it names an erased person. The caller commits."""
    if named_in(event.account_id, [(event.recipient, event.reason, event.raw)])[0]:
        for name in _BLANK:
            setattr(event, name, "")


def blanked() -> dict[str, str]:
    """Return the columns of a blank report."""
    return dict.fromkeys(_BLANK, "")


def _canonical(address: str) -> str:
    """Return an address as affiliates' mailboxes are stored: its domain in A-labels."""
    try:
        return str(parse_mailbox(address))
    except MailboxError:
        return address
