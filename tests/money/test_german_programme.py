"""A crawl of what affiliates of a German programme see: every page that they reach, and every email that they get, is German."""

from __future__ import annotations

import re
from html import unescape

from sqlalchemy import select, update

from portal.accounts.models import Account
from portal.affiliates import page_keys
from portal.affiliates.models import Affiliate
from portal.affiliates.preferences import list_choices
from portal.db import db
from portal.events.types import EventType
from portal.outbox.models import OutboxMessage

ENGLISH = re.compile(
    r"\b(?:you|your|the|and|with|from|this|that|have|is|are|not|email|emails|order|orders|affiliate|affiliates|choose|show|skip|"
    r"purchase|purchases|refund|refunded|paid|waits?|left|state|when|what|until|already|newest|nothing|something|wrong|enter)\b",
    re.IGNORECASE,
)
NAMES = re.compile(
    r"https?://\S+|\S+@\S+|/(?:join|affiliate|preferences|unsubscribe|r)/\S*|Brightleaf|Grace(?: Hopper)?|Fern|Signet"
)
SHOWN_ATTRIBUTES = re.compile(r"\b(?:aria-label|alt|title|placeholder|data-label|data-copied)=\"([^\"]*)\"")
LINK = re.compile(
    r"(?:href|action)=\"(?:http://127\.0\.0\.1)?(/(?:join|affiliate|preferences|unsubscribe)[^\"#]*)\""
)


def english_in(text: str) -> list[str]:
    """Return the English words of a text, with those around them."""
    words = " ".join(NAMES.sub(" ", text).split())
    return [words[max(0, one.start() - 30) : one.end() + 30] for one in ENGLISH.finditer(words)]


def shown(page: str) -> str:
    """Return the words of a page that people see or that are read out to them."""
    body = re.sub(r"<(script|style)\b.*?</\1>", " ", page, flags=re.DOTALL)
    return unescape(" ".join((re.sub(r"<[^>]*>", " ", body), *SHOWN_ATTRIBUTES.findall(body))))


def test_all_that_an_affiliate_of_a_german_programme_sees_is_german(record, affiliate, client, owner):
    db.session.execute(update(Account).values(language="de", shop_url="https://tee.example/"))
    db.session.commit()
    for number in range(1, 5):
        record(order=f"A-{number}", amount="1200.5", commission="120.5", product="Fern")
    record(EventType.REFUND, order="A-1", commission="20.5")
    record(EventType.REFUND, order="A-2", commission="120.5")
    record(EventType.COMMISSION_DECLINED, order="A-3", commission="120.5", reason="Testkauf")
    record(EventType.COMMISSION_APPROVED, order="A-1", commission="100")
    record(EventType.PAYOUT, amount="100", reference="Z-1", method="SEPA", order="A-1")
    record(EventType.CORRECTION, amount="-3", reason="Gebühr")
    keys = page_keys.open_keys(affiliate)
    dashboard, preferences = f"/affiliate/{keys.dashboard}", f"/preferences/{keys.preferences}"
    assert "1.200,50" in db.session.scalars(select(OutboxMessage.text)).first()

    waiting = [dashboard, preferences, "/join/brightleaf", "/join/brightleaf/thanks"]
    waiting += [
        f"/unsubscribe/{keys.preferences}/{one.notice.kind}"
        for one in list_choices(db.session.get_one(Affiliate, affiliate.id), "de")
        if one.notice.can_be_unsubscribed
    ]
    seen: dict[str, str] = {}
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        response = client.get(path)
        if response.status_code in (405, 302, 303) or response.mimetype != "text/html":
            seen[path] = ""
            continue
        seen[path] = response.get_data(as_text=True)
        waiting += [unescape(one) for one in LINK.findall(seen[path]) if not one.endswith(".json")]
    pages = {path: page for path, page in seen.items() if page}
    assert len(pages) >= 6, sorted(seen)
    client.submit(preferences, {"kind": ["new-purchase"], "pace": "daily"})
    pages["saved"] = client.get(preferences).get_data(as_text=True)
    pages["refused"] = client.submit(
        "/join/brightleaf", {"language": "de", "name": "", "mailbox": "x"}, page="/join/brightleaf"
    ).get_data(as_text=True)
    for path, page in pages.items():
        assert '<html lang="de"' in page, path
        assert english_in(shown(page)) == [], path
    assert "120,50\xa0EUR" in pages[dashboard] or "120,50 EUR" in pages[dashboard]

    db.session.rollback()
    to_grace = select(OutboxMessage).where(OutboxMessage.recipient == "grace@example.org")
    mails = list(db.session.scalars(to_grace))
    assert {mail.kind for mail in mails} >= {
        "new-purchase",
        "commission-declined",
        "commission-approved",
        "payout-sent",
        "balance-corrected",
    }
    for mail in mails:
        assert english_in(f"{mail.subject} {mail.text}") == [], mail.kind
