"""Proof of consent: which words a person agreed to, when, from which network, and by which way.

The words are stored as the page showed them, with the addresses of the terms and the privacy policy beside them, because
owners change these and pages are translated. ``version_of`` names them in a few characters: equal words have one version.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from flask_babel import gettext, lazy_gettext

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..accounts.models import Account

_VERSION_CHARS = 8
_WORDS_CHARS = 1000


class AgreementWay(StrEnum):
    """How a person agreed to emails. UNKNOWN: before proofs were recorded, or not at all."""

    UNKNOWN = ""
    SIGN_UP = "sign-up"
    INVITATION = "invitation"
    CONFIRMATION = "confirmation"  # by the link in the confirmation email, which an owner's list caused
    ELSEWHERE = "elsewhere"  # before they came to this portal, as the owner states


WAY_LABELS: Mapping[AgreementWay, str] = {
    AgreementWay.UNKNOWN: lazy_gettext("Not recorded"),
    AgreementWay.SIGN_UP: lazy_gettext("On your sign-up page"),
    AgreementWay.INVITATION: lazy_gettext("On the page of your invitation"),
    AgreementWay.CONFIRMATION: lazy_gettext("By the link in the confirmation email"),
    AgreementWay.ELSEWHERE: lazy_gettext("Elsewhere, as you stated"),
}


@dataclass(frozen=True)
class Agreement:
    """What a request proves: the sentence beside the box or button, and the network it came from."""

    sentence: str = ""
    network: str = ""


def agreed_words(sentence: str, account: Account, *, shows_links: bool) -> str:
    """Return the words to store. ``shows_links``: the page shows the programme's terms and privacy policy."""
    lines = [sentence]
    if shows_links and account.terms_url:
        lines.append(f"{gettext('Terms')}: {account.terms_url}")
    if shows_links and account.privacy_url:
        lines.append(f"{gettext('Privacy policy')}: {account.privacy_url}")
    return "\n".join(lines)[:_WORDS_CHARS] if sentence else ""


def version_of(words: str) -> str:
    """Return the version of agreed words; empty for none."""
    return hashlib.sha256(words.encode()).hexdigest()[:_VERSION_CHARS] if words else ""
