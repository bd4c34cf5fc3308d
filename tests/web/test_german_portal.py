"""A crawl of the portal as a German owner and operator: every page that has no other language is German."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from urllib.parse import urlsplit

import pytest
from flask.testing import FlaskClient
from sqlalchemy import update

from portal.accounts.models import Account, Owner
from portal.accounts.profile import set_operator
from portal.affiliates import suppressions
from portal.affiliates.models import AffiliateState, SuppressionReason
from portal.bounces.models import BounceBreaker
from portal.clock import utcnow
from portal.db import db
from portal.enrolment import signup
from portal.events.dispatch import NewEvent, record_event
from portal.events.types import EventType, Source
from portal.incidents import policy
from portal.incidents.bounces import on_breaker
from portal.incidents.models import WebhookDelivery, WebhookState
from portal.outbox.models import Outcome
from portal.settings.models import CheckState, SettingsCheck, VersionState
from portal.smtp.protocol.stages import tls_sentence
from portal.smtp.providers import check_credentials
from tests.english import is_english, is_english_word
from tests.incidents.conftest import REFUSED, add_settings, enqueue, process_attempt

_VOID = {"area", "br", "col", "hr", "img", "input", "link", "meta", "source", "wbr"}
_SKIPPED = {"script", "style", "code", "pre", "kbd", "samp", "textarea"}
_ATTRIBUTES = ("title", "alt", "aria-label", "placeholder", "data-announce", "data-label")
# Pages that end the log-in, files, and pages whose text is another person's: an affiliate's page, an email as it is sent.
_OTHERS = re.compile(
    r"^/(log-out|static|api/|join/|r/|s/|metrics|healthz|readyz|\.well-known|affiliate|hooks|samples)|\.(csv|json|txt|css|js|png|svg)$"
)
_VALUES = {"amount": "1200.5", "commission": "120.5", "currency": "EUR", "order": "A-1"}
# What a server answered, and the rehearsal's provider of this name.
_QUOTED = re.compile(r"\b[45]\d\d [45]\.\d\.\d.*|Rehearsal with consent \(this machine\)")
_NO_EVIDENCE = {"milliseconds": 1.0, "evidence": {}}
_FIX = "Enter the username and password your provider shows for SMTP; they often differ from those of its website."
_DIAGNOSIS = REFUSED | {"code": "enhanced-credentials", "fixes": [_FIX]}


@pytest.fixture
def german(app, owner):
    """The browser of a German owner and operator, whose programme has people, events, settings and an incident."""
    now = utcnow()
    db.session.execute(update(Owner).values(language="de"))
    db.session.execute(
        update(Account).values(
            approved_at=now, shop_url="https://tee.example/", name="Teehaus", language="de"
        )
    )
    assert set_operator("ada@brightleaf.example", operator=True)
    account = db.session.get_one(Account, 1)
    people = []
    for name, state in zip(("Grete Hopf", "Linus", "Mia"), AffiliateState, strict=False):
        row = signup.new_affiliate(account, name, f"{name[:3].lower()}@x.example", now)
        row.state, row.confirmed_at = state, now
        db.session.add(row)
        people.append(row)
    db.session.flush()
    for kind in EventType:
        values = _VALUES | {
            "reason": "Test",
            "week_start": "2026-03-02",
            "week_end": "2026-03-08",
            "outcome": "declined",
        }
        record_event(NewEvent(account, kind, people[0], values), key=f"{kind}", source=Source.API, now=now)
    db.session.commit()
    add_settings(account.id)
    enqueue(account.id, 1)
    process_attempt(account.id, diagnosis=_DIAGNOSIS, reply_code=535)
    process_attempt(account.id, Outcome.ACCEPTED)
    _store_sentences(account)
    db.session.commit()
    return owner


def _store_sentences(account):
    """Add a draft, its check, a webhook delivery, a suppression and incidents, with sentences that are stored in English."""
    draft = add_settings(account.id, number=2, host="smtp.gmail.com", state=VersionState.DRAFT)
    typed = (
        ("smtp.gmail.com", "ada", "abcd efgh ijkl mno1", "gmail.com"),
        ("smtp.sendgrid.net", "ada@gmail.com", "xkeysib-" + "a" * 64 + "-" + "b" * 16, "tee.example"),
        ("smtp.office365.com", "ada@tee.example", " ada@tee.example", "tee.example"),
    )
    draft.credential_warnings = [
        {"field": one.field, "code": one.code, "sentence": one.sentence, "blocking": one.blocking}
        for values in typed
        for one in check_credentials(*values)
    ]
    facts = {"version": "TLS 1.3", "days_left": "12"}
    stage = {"stage": "tls", "verdict": "passed", "sentence": tls_sentence(facts, "smtp.gmail.com")}
    check = SettingsCheck(
        version_id=draft.id, recipient="ada@tee.example", recipient_name="", created_at=utcnow()
    )
    check.state, check.stages, check.ended_at = CheckState.PASSED, [stage | _NO_EVIDENCE], utcnow()
    posted = WebhookDelivery(
        account_id=account.id, key="k", event="incident.opened", body="{}", state=WebhookState.FAILED
    )
    posted.problem = "The server answered with status 500."
    posted.created_at = posted.next_at = posted.ended_at = utcnow()
    db.session.add_all((check, posted))
    policy.save_webhook(account.id, "https://hooks.example/signet")
    suppressions.suppress(
        account.id,
        "mia@x.example",
        SuppressionReason.BOUNCED,
        note="mx.x.example: 550 5.1.1 no",
        now=utcnow(),
    )
    on_breaker(BounceBreaker(account_id=account.id, domain="crowd.example", opened_at=utcnow()))


class Texts(HTMLParser):
    """Collects what a page shows or reads out, except code, what people typed, and what is marked as of another language."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.tags: list[str] = []  # the states, mostly of one word
        self._is_tag = False
        self._open: list[tuple[str, bool]] = []  # the elements, and whether the texts in each are skipped

    def handle_starttag(self, tag, attrs):
        named = dict(attrs)
        within = bool(self._open) and self._open[-1][1]
        skipped = within or named.get("lang", "de") != "de" or "dir" in named
        if not skipped:
            self.found += [named[name] or "" for name in _ATTRIBUTES if name in named]
        skipped = skipped or tag in _SKIPPED
        self._is_tag = "tag" in (named.get("class") or "").split()
        if tag not in _VOID:
            self._open.append((tag, skipped))

    def handle_endtag(self, tag):
        while self._open and self._open.pop()[0] != tag:
            pass

    def handle_data(self, data):
        if not (self._open and self._open[-1][1]):
            (self.tags if self._is_tag else self.found).append(data)


def english_of(html: str) -> list[str]:
    """Return the English texts of a page in German."""
    parser = Texts()
    parser.feed(html[html.index("<body") :])
    found = [text.strip() for text in parser.found if is_english(_QUOTED.sub("", text))]
    return found + [text.strip() for text in parser.tags if is_english_word(text)]


def test_every_page_of_a_german_owner_is_german(app, german):
    waiting = [
        str(rule) for rule in app.url_map.iter_rules() if "GET" in (rule.methods or ()) and not rule.arguments
    ]
    seen: set[str] = set()
    english: dict[str, list[str]] = {}
    shapes: dict[str, int] = {}
    while waiting:
        path = waiting.pop()
        shape = re.sub(r"\d+|=[^&]*", "", path)
        if path in seen or _OTHERS.search(urlsplit(path).path) or shapes.get(shape, 0) > 1:
            continue
        seen.add(path)
        shapes[shape] = shapes.get(shape, 0) + 1
        with app.app_context():
            answer = FlaskClient.open(german, path)  # other tests check the HTML
        if answer.mimetype != "text/html" or answer.status_code not in {200, 404}:
            continue
        html = answer.get_data(as_text=True)
        if 'lang="de"' in html:
            waiting += re.findall(r'href="(/[^"#]*)', html.replace("&amp;", "&"))
            if found := english_of(html):
                english[path] = found
    assert len(seen) > 80
    assert english == {}
