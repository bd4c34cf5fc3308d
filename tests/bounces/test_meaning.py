"""One refusal means the same whether a webhook or a bounce mail reports it."""

from __future__ import annotations

import pytest

from portal.bounces.meaning import Meaning, classify
from portal.bounces.parsing.meaning import meaning_of

REFUSALS = [
    ("5.1.1", "550 5.1.1 No such user here", Meaning.HARD),
    ("", "550 5.1.10 Recipient address rejected: domain takes no mail", Meaning.HARD),
    ("5.1.1", "552 5.1.1 Mailbox is full", Meaning.SOFT),  # words count more than codes
    ("5.2.1", "", Meaning.SOFT),  # disabled: it may be enabled again
    ("5.2.1", "550 5.2.1 The account is disabled", Meaning.SOFT),
    ("5.2.1", "550 5.2.1 User unknown", Meaning.HARD),
    ("5.2.2", "552 5.2.2 Over quota", Meaning.SOFT),
    ("5.2.3", "552 5.2.3 Message too large", Meaning.SOFT),
    ("5.3.4", "", Meaning.SOFT),
    ("5.4.4", "", Meaning.HARD),  # no such domain
    ("4.4.7", "delivery time expired", Meaning.SOFT),
    ("5.7.1", "550 5.7.1 User unknown", Meaning.HARD),
    ("5.7.1", "550 5.7.1 Message refused by policy", Meaning.BLOCKED),
    ("5.7.26", "550 5.7.26 Unauthenticated email is not accepted", Meaning.BLOCKED),
    ("", "421 Too many messages from your address, rate limited", Meaning.BLOCKED),
    ("", "554 Your access to this mail system has been rejected due to poor reputation", Meaning.BLOCKED),
]


@pytest.mark.parametrize(("status", "words", "meaning"), REFUSALS)
def test_webhooks_and_mails_agree(status: str, words: str, meaning: Meaning) -> None:
    assert classify(status, words, default=Meaning.HARD) is meaning
    assert classify(status, words, default=Meaning.SOFT) is meaning
    assert meaning_of(words, status).outcome.value == meaning.value


@pytest.mark.parametrize("default", [Meaning.HARD, Meaning.SOFT])
@pytest.mark.parametrize(
    ("status", "words"), [("", ""), ("5.0.0", ""), ("5.1.0", ""), ("", "Not deliverable")]
)
def test_the_provider_s_class_counts_where_nothing_else_is_stated(
    status: str, words: str, default: Meaning
) -> None:
    assert classify(status, words, default=default) is default
