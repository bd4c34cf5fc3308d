"""Every route of the portal, asked by every kind of person for what belongs to others.

Two accounts are filled through the portal's own pages, each with a mark in every text. A page that shows the mark of
an account to another person, a request that changes its rows, and an answer of 500 or more are breaches.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode

from flask import Flask, url_for
from flask.testing import FlaskClient
from sqlalchemy import select
from werkzeug.routing import Rule
from werkzeug.test import TestResponse

from portal import bootstrap, create_app
from portal.accounts.factors.models import Passkey
from portal.accounts.models import Account, Owner, OwnerSession, TeamInvitation
from portal.accounts.registration import create_owner
from portal.affiliates.models import Affiliate, AffiliateState, Suppression
from portal.api import tokens
from portal.api.models import ApiToken, TokenScope
from portal.bounces.meaning import Meaning, Report
from portal.bounces.models import BounceBreaker
from portal.bounces.recording import record_event
from portal.clock import utcnow
from portal.db import Base, close_connections, db
from portal.deliveries.models import BulkAction
from portal.events.models import Event
from portal.imports.columns import Choices
from portal.imports.models import AffiliateImport
from portal.incidents.models import Incident, IncidentKind
from portal.money.models import Commission
from portal.notices.models import NoticeMailbox
from portal.oauth import grants
from portal.oauth.models import OAuthGrant
from portal.outbox.models import OutboxMessage
from tests.conftest import PASSWORD, make_config
from tests.security.rows import Row, none_of

ALPHA, BETA, OPERATOR = "Alphacorp", "Betacorp", "Gammacorp"
VISITOR = "a visitor"
_TOKEN = re.compile(r'name="csrf_token"[^>]*value="([^"]+)"')
_HIDDEN = {
    name: re.compile(rf'name="{name}"[^>]*value="([^"]*)"') for name in ("form_key", "based_on", "started")
}
# Pages of a programme that any visitor may open by its address or its key; what they show is meant for visitors.
PUBLIC = re.compile(
    r"affiliates\.(join|thanks|send_again|find_pages?|dashboard|preferences|save_preferences|unsubscribe|owner_unsubscribe)"
)
# Requests without a CSRF token that are answered by design: one-click unsubscription (RFC 8058), the API, the hooks of
# providers, a sample page.
WITHOUT_TOKEN = re.compile(
    r"affiliates\.(unsubscribe|owner_unsubscribe)|api\.|hooks\.|notices\.sample|samples\."
)
FIELDS = {
    "key": "k" * 12,
    "to": "me",
    "mailbox": "other@x.example",
    "reason": "no",
    "all": "1",
    "action": "cancel",
}


@dataclass
class Person:
    """A person with a browser; an owner has an account and things in it."""

    name: str
    browser: FlaskClient
    account_id: int = 0
    mark: str = ""
    slug: str = ""
    ids: dict[str, str | int] = field(default_factory=dict)

    def open(self, app: Flask, method: str, url: str, data: dict[str, str] | None = None) -> TestResponse:
        return self._in_its_own_context(app, lambda: self.browser.open(url, method=method, data=data))

    def call(
        self, app: Flask, method: str, url: str, body: dict[str, object] | None = None, *, key: str = ""
    ) -> TestResponse:
        """Ask the API with the own token for affiliates, or with that for events where ``key`` names a request."""
        bearer = self.ids["bearer" if key else "affiliates_bearer"]
        headers = {"Authorization": f"Bearer {bearer}"} | ({"Idempotency-Key": key} if key else {})
        request = {"method": method, "headers": headers} | ({"json": body} if body is not None else {})
        return self._in_its_own_context(app, lambda: self.browser.open(url, **request))

    def post_event(self, app: Flask, body: dict[str, object], headers: dict[str, str]) -> TestResponse:
        """Report an event through the API."""
        return self._in_its_own_context(
            app, lambda: self.browser.post("/api/v1/events", json=body, headers=headers)
        )

    @staticmethod
    def _in_its_own_context(app: Flask, request: Callable[[], TestResponse]) -> TestResponse:
        """Give a request a session of its own, as in a server, and end the transaction of the caller."""
        db.session.commit()
        with app.app_context():
            return request()

    def token(self, app: Flask) -> str:
        page = "/log-in" if self.name == VISITOR else "/account"
        found = _TOKEN.search(self.open(app, "GET", page).get_data(as_text=True))
        return found[1] if found else ""  # logged out


@dataclass
class Portal:
    """A portal with the people of the matrix."""

    app: Flask
    people: dict[str, Person]

    def rules(self) -> list[Rule]:
        """Return every route, but for the rehearsal, which runs on one machine only."""
        return [rule for rule in self.app.url_map.iter_rules() if not rule.endpoint.startswith("rehearsal")]

    def url(self, rule: Rule, owner: Person) -> str:
        """Return the address of a route with the ids of one account."""
        with self.app.test_request_context(base_url="http://127.0.0.1"):
            return url_for(rule.endpoint, **{name: _value(rule, name, owner) for name in rule.arguments})


@contextmanager
def portal(folder: Path, database_url: str = "") -> Iterator[Portal]:
    """Build a portal with two filled accounts, an operator and a visitor, in an app context."""
    app = create_app(make_config(folder, env={"DATABASE_URL": database_url}))
    app.test_client_class = FlaskClient
    if database_url:
        bootstrap.migrate(app)
    with app.app_context():
        if not database_url:
            db.create_all(bind_key=None)
        people = {name: _owner(app, name) for name in (ALPHA, BETA, OPERATOR)}
        people[VISITOR] = Person(VISITOR, app.test_client())
        for name in (ALPHA, BETA):
            _fill(app, people[name])
        try:
            yield Portal(app, people)
        finally:
            db.session.remove()
            close_connections()


def _owner(app: Flask, programme: str) -> Person:
    mark = f"Z{programme.lower()}mark"
    owner = create_owner(programme, mark, f"owner@{programme.lower()}.example", PASSWORD, now=utcnow())
    owner.is_operator = programme == OPERATOR
    person = Person(programme, app.test_client(), owner.account_id, mark, owner.account.slug)
    mailbox = owner.mailbox
    db.session.commit()
    page = person.open(app, "GET", "/log-in").get_data(as_text=True)
    fields = {"csrf_token": _TOKEN.search(page)[1], "mailbox": mailbox, "password": PASSWORD}
    assert person.open(app, "POST", "/log-in", fields).status_code == 303
    return person


def _post(app: Flask, person: Person, address: str, page: str = "", **fields: str) -> TestResponse:
    """Post a form as a browser does: with the hidden fields of its page."""
    html = person.open(app, "GET", page or address).get_data(as_text=True)
    found = {name: pattern.search(html) for name, pattern in _HIDDEN.items()}
    hidden = {name: one[1] for name, one in found.items() if one}
    answer = person.open(app, "POST", address, {"csrf_token": _TOKEN.search(html)[1], **hidden, **fields})
    assert answer.status_code < 400, (address, answer.status_code, answer.get_data(as_text=True)[:2000])
    return answer


def _fill(app: Flask, person: Person) -> None:
    """Fill an account through its pages; then note the ids."""
    mark, settings = person.mark, "/settings/email-preferences"
    domain = f"{person.slug}.example"
    fields = {
        "provider": "other",
        "host": f"smtp.{domain}",
        "username": f"{mark}@{domain}",
        "password": "a password",
    }
    _post(app, person, settings, **fields, domain=domain, security="starttls", port="587", mechanism="automatic",
          from_name=mark)  # fmt: skip
    _post(app, person, "/affiliates/not-written-to", mailbox=f"{mark}.supp@x.example", note=mark)
    _post(app, person, "/automated-emails/mailboxes", "/automated-emails", mailbox=f"{mark}.box@x.example")
    text = {"subject": f"Hi {mark}", "html": f"<p>{mark} {{{{ first_name }}}} {{{{ link }}}}</p>", "text": ""}
    _post(app, person, "/automated-emails/new-sign-up", **text)
    shown = _post(app, person, "/settings/api", name=f"Token {mark}").get_data(as_text=True)
    _post(app, person, "/incidents/alerts/webhook", "/incidents/alerts", url=f"https://hook.example/{mark}")
    _post(app, person, f"{settings}/test", settings)
    _post(app, person, "/team/invitations", "/team", mailbox=f"{mark}.team@x.example", role="editor")
    _post(app, person, "/settings/bounces/generic", "/settings/bounces")
    _post(app, person, "/settings/bounces/mailbox", host=f"imap.{domain}", security="implicit", folder="INBOX",
          username=f"{mark}@{domain}", password="another password")  # fmt: skip
    visitor = Person(VISITOR, app.test_client())
    _post(
        app, visitor, f"/join/{person.slug}", name=f"Grace {mark}", mailbox=f"{mark}@x.example", consent="y"
    )
    affiliate = db.session.scalars(select(Affiliate).where(Affiliate.account_id == person.account_id)).one()
    affiliate.state = AffiliateState.ACTIVE
    affiliate.confirmed_at, affiliate.external_id = utcnow(), f"crm-{mark}"
    db.session.add(_incident(person))
    db.session.add(_breaker(person))
    report = Report(Meaning.UNKNOWN, mark, recipient=f"{mark}@x.example", raw=mark)
    record_event(person.account_id, "generic", report, now=utcnow())
    grants.add(grants.new_app_only(person.account_id, _app_only(mark)), mark, now=utcnow())
    db.session.commit()
    token = re.search(r"sig_[A-Za-z0-9_-]{43}", shown)[0]
    body = {"event": "purchase", "affiliate": {"code": affiliate.code}, "data": _purchase(mark)}
    headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": f"{mark}-1"}
    answer = person.post_event(app, body, headers)
    assert answer.status_code == 201, answer.get_data(as_text=True)
    _post(app, person, "/deliveries/orders", "/account", action="cancel", all="1", key=f"key-{person.slug}")
    db.session.add(_import(person))
    db.session.commit()
    db.session.add(_passkey(person))
    db.session.commit()
    person.ids = _ids(person, token)
    person.ids["affiliates_bearer"] = tokens.create(
        person.account_id,
        name=f"CRM {mark}",
        by=mark,
        form_key=f"crm-{mark}",
        now=utcnow(),
        scope=TokenScope.AFFILIATES,
    )


def _purchase(mark: str) -> dict[str, str]:
    return {"order": f"A-{mark}", "amount": "49.00", "currency": "EUR", "commission": "12.25"}


def _app_only(mark: str) -> grants.AppOnly:
    return grants.AppOnly(f"{mark}@x.example", "x.example", mark, "a client secret", None)


def _incident(person: Person) -> Incident:
    now = utcnow()
    diagnosis = {"code": "login-refused", "kind": "credentials", "whose_move": "owner", "field": "password",
                 "cause": f"{person.mark} did not accept the password.", "fixes": ["Copy it again."],
                 "retry_class": "settings", "evidence": {}}  # fmt: skip
    row = Incident(account_id=person.account_id, kind=next(iter(IncidentKind)), cause="login-refused")
    row.server, row.diagnosis, row.last_reply = f"smtp.{person.slug}.example:587", diagnosis, person.mark
    row.opened_at = row.episode_started_at = row.last_seen_at = now
    return row


def _import(person: Person) -> AffiliateImport:
    text = f"Name,Email\n{person.mark},{person.mark}.new@x.example\n"
    row = AffiliateImport(
        account_id=person.account_id, key=person.mark, file_name=f"{person.mark}.csv", text=text
    )
    row.choices, row.uploaded_by, row.created_at = (
        Choices(columns={"mailbox": 1}).as_dict(),
        person.mark,
        utcnow(),
    )
    return row


def _passkey(person: Person) -> Passkey:
    owner_id = db.session.scalars(select(Owner.id).where(Owner.account_id == person.account_id)).first()
    row = Passkey(owner_id=owner_id, credential_id=person.slug, public_key=b"", sign_count=0, handle=b"")
    row.name, row.is_backed_up, row.created_at = person.mark, False, utcnow()
    return row


def _breaker(person: Person) -> BounceBreaker:
    domain = f"{person.mark}.example"
    return BounceBreaker(
        account_id=person.account_id, domain=domain, opened_at=utcnow(), last_seen_at=utcnow()
    )


def _ids(person: Person, token: str) -> dict[str, str | int]:
    """Return what the routes of an account are asked with."""

    def newest(column: object, table: type[Base]) -> object:
        query = select(column).where(table.account_id == person.account_id)  # type: ignore[attr-defined]
        return db.session.scalars(query.order_by(table.id.desc())).first()  # type: ignore[attr-defined]

    session = select(OwnerSession.id).join(Owner).where(Owner.account_id == person.account_id)
    passkey = select(Passkey.id).join(Owner).where(Owner.account_id == person.account_id)
    found = {
        "passkey": db.session.scalars(passkey).first(),
        "affiliate": newest(Affiliate.id, Affiliate),
        "code": newest(Affiliate.code, Affiliate),
        "suppression": newest(Suppression.id, Suppression),
        "token": newest(ApiToken.id, ApiToken),
        "event": newest(Event.id, Event),
        "message": newest(OutboxMessage.id, OutboxMessage),
        "incident": newest(Incident.id, Incident),
        "action": newest(BulkAction.id, BulkAction),
        "mailbox": newest(NoticeMailbox.id, NoticeMailbox),
        "grant": newest(OAuthGrant.id, OAuthGrant),
        "import": newest(AffiliateImport.id, AffiliateImport),
        "breaker": newest(BounceBreaker.id, BounceBreaker),
        "commission": newest(Commission.id, Commission),
        "member": newest(Owner.id, Owner),
        "invitation": newest(TeamInvitation.id, TeamInvitation),
        "session": db.session.scalars(session).first(),
        "bearer": token,
    }
    db.session.rollback()
    assert all(found.values()), found
    return found  # type: ignore[return-value]


_BY_PATH = {  # what <id_> means, by the beginning of the route; the longest one counts
    "/affiliates/": "affiliate",
    "/affiliates/not-written-to/": "suppression",
    "/settings/api/tokens/": "token",
    "/incidents/": "incident",
    "/api/v1/events/": "event",
    "/api/v1/affiliates/": "affiliate",
    "/api/v1/messages/": "message",
}
_BY_NAME = {
    "passkey_id": "passkey",
    "breaker_id": "breaker",
    "member_id": "member",
    "invitation_id": "invitation",
    "import_id": "import",
    "grant_id": "grant",
    "message_id": "message", "action_id": "action", "mailbox_id": "mailbox", "session_id": "session", "code": "code",
    "incident_id": "incident", "event_id": "event", "affiliate_id": "affiliate", "token_id": "token",
}  # fmt: skip
_FIXED = {"kind": "new-sign-up", "number": 1, "name": "nothing.png", "filename": "nothing.css", "state": "off",
          "decision": "suspend", "accent": "1f3f5c", "operation": "cancel", "action": "activate", "way": "microsoft",
          "issuer": "google", "provider": "generic", "choice": "keep"}  # fmt: skip


def _value(rule: Rule, name: str, owner: Person) -> str | int:
    """Return the value of a route's argument. A new kind of argument needs a line above: it fails here."""
    if rule.defaults and name in rule.defaults:
        return rule.defaults[name]  # type: ignore[no-any-return]
    if name in {"token", "key", "secret"}:
        return "A" * 43
    if name == "slug":
        return owner.slug
    if name == "account_id":
        return owner.account_id
    if name in _BY_NAME:
        return owner.ids[_BY_NAME[name]]
    if name == "id_":
        prefix = max((one for one in _BY_PATH if rule.rule.startswith(one)), key=len)
        return owner.ids[_BY_PATH[prefix]]
    return _FIXED[name]


# -- the attacks


def matrix(place: Portal, label: str) -> list[Row]:
    """Ask for everything of Alpha and Beta as every other person."""
    leaks, writes, errors, tried = [], [], [], 0
    for person in place.people.values():
        for target in (place.people[ALPHA], place.people[BETA]):
            if person is target:
                continue
            before = _rows_of(target)
            for method, url, answer in _ask(place, person, target):
                tried += 1
                text = answer.get_data().decode("utf-8", "replace")  # icons as well
                if target.mark in text:
                    leaks.append(f"{person.name}: {method} {url}")
                if answer.status_code >= 500 and url != "/readyz":  # not ready: no worker runs here
                    errors.append(f"{person.name}: {method} {url} {answer.status_code}")
            changed = [name for name, rows in _rows_of(target).items() if rows != before[name]]
            writes += [f"{person.name} changed {name} of {target.name}" for name in changed]
    return [
        none_of(f"{label}: pages that show what belongs to another account", tried, leaks),
        none_of(f"{label}: tables of another account that were changed", tried, writes),
        none_of(f"{label}: answers of 500 or more", tried, errors),
        _control(place, label),
    ]


def _ask(place: Portal, person: Person, target: Person) -> Iterator[tuple[str, str, TestResponse]]:
    token, app = person.token(place.app), place.app
    is_operator = person.name == OPERATOR
    for rule in place.rules():
        if PUBLIC.match(rule.endpoint) or (is_operator and rule.endpoint.startswith("operator.")):
            continue  # an operator may see and change accounts there
        url = place.url(rule, target)
        if "GET" in rule.methods:
            yield "GET", url, person.open(app, "GET", url)
        if "POST" in rule.methods and rule.arguments:
            yield "POST", url, person.open(app, "POST", url, {"csrf_token": token, **FIELDS})
    for url in _queries(target):
        yield "GET", url, person.open(app, "GET", url)
    fields = {
        "csrf_token": token,
        "action": "cancel",
        "key": f"order-{target.slug}"[:40],
        "id": str(target.ids["message"]),
    }
    yield "POST", "/deliveries/orders", person.open(app, "POST", "/deliveries/orders", fields)
    for url in (
        "/affiliates.csv",
        "/commissions/export.csv",
        f"/deliveries/export.csv?q={target.mark.lower()}",
    ):
        yield "POST", url, person.open(app, "POST", url, {"csrf_token": token})
    yield from _ask_api(app, person, target)
    chosen = {"decision": "approve", "id": str(target.ids["commission"])}
    yield "POST", "/commissions", person.open(app, "POST", "/commissions", {"csrf_token": token, **chosen})
    url = f"/commissions/decide?{urlencode(chosen)}"
    yield "GET", url, person.open(app, "GET", url)


def _ask_api(app: Flask, person: Person, target: Person) -> Iterator[tuple[str, str, TestResponse]]:
    """Ask the API for another account's affiliate, by every name, with the tokens of the own account."""
    if not person.ids:
        return  # a visitor or an operator without tokens
    ids, path = target.ids, "/api/v1/affiliates"
    one, mailbox = f"{path}/{ids['affiliate']}", f"{target.mark}@x.example"
    names = {"q": target.mark, "external_id": f"crm-{target.mark}", "code": ids["code"], "email": mailbox}
    for url in (
        one,
        f"{path}/{ids['code']}/balance",
        path,
        *(f"{path}?{name}={value}" for name, value in names.items()),
    ):
        yield "GET", url, person.call(app, "GET", url)
    changes: list[dict[str, object]] = [
        {"name": "Taken"}, {"status": "suspended"}, {"external_id": None}, {"code": "TAKEN1"}, {"email": "x@taken.example"},
    ]  # fmt: skip
    for change in changes:
        yield "PATCH", one, person.call(app, "PATCH", one, change)
    yield "DELETE", one, person.call(app, "DELETE", one)
    affiliates = [{"code": ids["code"]}, {"external_id": f"crm-{target.mark}"}, {"email": mailbox}]
    data = {"order": "A-1", "amount": "1.00", "currency": "EUR", "commission": "1.00"}
    events = [
        {"event": "purchase", "affiliate": one, "data": data, "idempotency_key": f"of-{target.slug}-{number}"}
        for number, one in enumerate(affiliates)
    ]
    url = "/api/v1/events/batch"
    answer = person.call(app, "POST", url, {"events": events}, key="batch")
    assert answer.status_code == 200, answer.get_data(as_text=True)
    found = [one["status"] for one in answer.get_json()["results"]]
    assert found == [404] * 3 or person.ids is ids, answer.get_json()  # the control has the ids of its target
    yield "POST", url, answer


def _queries(target: Person) -> list[str]:
    """Return addresses that name things of another account in their query."""
    ids = target.ids
    return [
        f"/settings/email-preferences?test={ids['message']}",
        f"/settings/api/play?event=purchase&played={ids['event']}",
        f"/settings/api/play?event=purchase&affiliate={ids['code']}",
        f"/automated-emails/new-sign-up?as={ids['affiliate']}",
        f"/automated-emails/new-sign-up/html?as={ids['affiliate']}",
        f"/automated-emails/new-sign-up/html?version=1&as={ids['affiliate']}",
        f"/deliveries?q={target.mark.lower()}",
        f"/deliveries/orders/new?action=retry&id={ids['message']}",
        f"/affiliates?q={target.mark.lower()}",
        f"/events?affiliate={ids['affiliate']}",
        f"/commissions?before={ids['commission'] + 1}",
    ]


def _control(place: Portal, label: str) -> Row:
    """Show that the marks can be seen: each owner finds the own mark on these pages."""
    pages = (
        "/settings/email-preferences",
        "/affiliates",
        "/automated-emails/new-sign-up",
        "/deliveries",
        "/settings/api",
        "/account/second-factor",
        "/settings/bounces/events",
        "/settings/bounces/mailbox",
    )
    seen = 0
    for name in (ALPHA, BETA):
        person = place.people[name]
        for page in pages:
            seen += person.mark in person.open(place.app, "GET", page).get_data(as_text=True)
    wanted = 2 * len(pages)
    return Row(f"{label}: control, own pages with the own mark", str(wanted), seen, seen == wanted)


def _rows_of(target: Person) -> dict[str, list[tuple]]:
    """Return every row of an account, by table, without the time at which a session was last seen.

    Each request of a log-in stores it, at most every five minutes, so that it shows on a slow machine only.
    """
    found = {}
    for table in Base.metadata.sorted_tables:
        if "account_id" in table.columns:
            columns = [one for one in table.columns if one is not OwnerSession.__table__.c.seen_at]
            query = select(*columns).where(table.c.account_id == target.account_id)
            found[table.name] = sorted((tuple(row) for row in db.session.execute(query)), key=repr)
    found["account"] = [
        tuple(row)
        for row in db.session.execute(select(Account.__table__).where(Account.id == target.account_id))
    ]
    db.session.rollback()
    return found


def csrf(place: Portal, label: str) -> list[Row]:
    """Post every form without a token, with a wrong one, and with a right one in the query."""
    person = place.people[BETA]
    token, tried, accepted = person.token(place.app), 0, []
    before = _rows_of(person)
    for rule in place.rules():
        if "POST" not in rule.methods or WITHOUT_TOKEN.match(rule.endpoint):
            continue
        url = place.url(rule, person)
        for address, data in ((url, {}), (url, {"csrf_token": "wrong"}), (f"{url}?csrf_token={token}", {})):
            tried += 1
            status = person.open(place.app, "POST", address, {**FIELDS, **data}).status_code
            if status != 400:
                accepted.append(f"POST {address.partition('?')[0]} {status}")
    changed = [name for name, rows in _rows_of(person).items() if rows != before[name]]
    return [
        none_of(f"{label}: forms accepted without their CSRF token", tried, accepted),
        none_of(f"{label}: tables that such forms changed", tried, changed),
    ]


def safe_methods(place: Portal, label: str) -> list[Row]:
    """Send HEAD and OPTIONS to every page: HEAD is a GET without a body, and neither changes anything."""
    person, tried, odd = place.people[BETA], 0, []
    before = _rows_of(person)
    for rule in place.rules():
        if "GET" not in rule.methods:
            continue
        url = place.url(rule, person)
        got = person.open(place.app, "GET", url).status_code
        head = person.open(place.app, "HEAD", url)
        options = person.open(place.app, "OPTIONS", url).status_code
        tried += 2
        if head.status_code != got or head.get_data():
            odd.append(f"HEAD {url} {head.status_code}, GET {got}")
        if options >= 500:
            odd.append(f"OPTIONS {url} {options}")
    changed = [name for name, rows in _rows_of(person).items() if rows != before[name]]
    return [
        none_of(f"{label}: HEAD and OPTIONS that answer differently", tried, odd),
        none_of(f"{label}: tables that HEAD and OPTIONS changed", tried, changed),
    ]
