"""Mail bombs: what strangers can make the portal write to one person, by every public form and in many spellings."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from portal import create_app
from portal.accounts.models import Account
from portal.accounts.registration import create_owner
from portal.affiliates.models import AffiliateState
from portal.api import tokens
from portal.clock import utcnow
from portal.db import close_connections, db
from portal.enrolment import signup
from portal.events import digests
from portal.outbox.models import OutboxMessage
from tests.conftest import PASSWORD, make_config
from tests.security.rows import Row

PROGRAMMES = 12
NETWORKS = 500
OWNER = "owner@programme0.example"
_SPELLINGS = ("{0}", "{0}+{2}", "{1}", "{1}+{2}.x", "{3}", "{3}+a+{2}")  # of the part before the @
_TOKEN = re.compile(r'name="csrf_token"[^>]*value="([^"]+)"')
_STARTED = re.compile(r'name="started"[^>]*value="([^"]+)"')


def rows(folder: Path, posts: int = 120) -> list[Row]:
    """Run the attacks with ``posts`` posts for each victim; return the emails that each victim gets.

    ``folder`` must be empty; each portal keeps its database there.
    """
    found = []
    for mode, label in (("", "default settings"), ("open", "open registration")):
        with portal(folder / (mode or "default"), registration=mode) as app:
            found += _bomb(app, posts, label)
    with portal(folder / "api") as app:
        found.append(_flood(app, posts))
    return found


@contextmanager
def portal(folder: Path, registration: str = "") -> Iterator[Flask]:
    """A portal with several programmes, in an app context."""
    app = create_app(make_config(folder, env={"SIGNET_REGISTRATION": registration}))
    with app.app_context():
        db.create_all(bind_key=None)
        for number in range(PROGRAMMES):
            mailbox = f"owner@programme{number}.example"
            create_owner(f"Programme {number}", "Ada Fairweather", mailbox, PASSWORD, now=utcnow())
        db.session.commit()
        try:
            yield app
        finally:
            db.session.remove()
            close_connections()


def spellings(mailbox: str) -> Iterator[str]:
    """Yield spellings of a mailbox without end: case, dots and ``+tag``."""
    local, _, domain = mailbox.partition("@")
    for number in itertools.count():
        pattern = _SPELLINGS[number % len(_SPELLINGS)]
        yield f"{pattern.format(local, '.'.join(local), number, local.upper())}@{domain}"


def emails_to(mailbox: str) -> int:
    """Return how many emails are queued for a person, in any spelling."""
    db.session.rollback()
    found = [_person(one) == _person(mailbox) for one in db.session.scalars(select(OutboxMessage.recipient))]
    db.session.rollback()
    return sum(found)


def _person(mailbox: str) -> str:
    local, _, domain = mailbox.lower().partition("@")
    return f"{local.split('+')[0].replace('.', '')}@{domain}"


class Stranger:
    """A browser that fetches each form once and posts it many times, from many networks."""

    def __init__(self, app: Flask) -> None:
        self._app, self._browser = app, FlaskClient(app, use_cookies=True)
        self._fields: dict[str, dict[str, str]] = {}
        self._posts = itertools.count()

    def post(self, path: str, fields: Mapping[str, str], page: str = "") -> int:
        """Post a form from the next network; return the status of the answer."""
        number = next(self._posts) % NETWORKS
        network = f"198.51.{100 + number // 250}.{1 + number % 250}"
        fields = {**self._fields_of(page or path), **fields}
        with self._app.app_context():  # each request has its own, as in a server
            answer = self._browser.post(path, data=fields, environ_base={"REMOTE_ADDR": network})
        return answer.status_code

    def _fields_of(self, page: str) -> dict[str, str]:
        """Return the hidden fields of a form, fetched once: the CSRF token and the form's timestamp."""
        if page not in self._fields:
            with self._app.app_context():
                html = self._browser.get(page).get_data(as_text=True)
            found = {"csrf_token": _TOKEN.search(html), "started": _STARTED.search(html)}
            self._fields[page] = {name: match[1] for name, match in found.items() if match}
        return self._fields[page]


def _bomb(app: Flask, posts: int, label: str) -> list[Row]:
    owner = Stranger(app)  # in the browser that its owner uses
    owner.post("/log-in", {"mailbox": OWNER, "password": PASSWORD})
    bomber = Stranger(app)
    found = []
    for victim, who, forms in _VICTIMS:
        before = emails_to(victim)
        for number, mailbox in zip(range(posts), spellings(victim), strict=False):
            forms[number % len(forms)](bomber, number, mailbox)
        count = emails_to(victim) - before
        found.append(Row(f"mail bomb, {label}: {posts} posts to {who}", "at most 3", count, count <= 3))
    before = emails_to(OWNER)
    owner.post("/log-out", {}, page="/account")
    owner.post("/forgot-password", {"mailbox": OWNER})
    count = emails_to(OWNER) - before
    found.append(Row(f"the owner's own reset after the bomb, {label}", "1", count, count == 1))
    return found


def _flood(app: Flask, posts: int) -> Row:
    """Report purchases of one affiliate by the API; return how many emails they are, with the digest an hour later."""
    victim, now = "grace@victim.example", utcnow()
    account = db.session.scalars(select(Account).order_by(Account.id)).first()
    assert account is not None
    affiliate = signup.new_affiliate(account, "Grace Hopper", victim, now)
    affiliate.state = AffiliateState.ACTIVE
    db.session.add(affiliate)
    db.session.commit()
    code, account_id = affiliate.code, account.id
    made = [tokens.create(account_id, name="Shop", by="Ada", form_key=f"{n:043}", now=now) for n in range(10)]
    db.session.rollback()
    browser, taken = FlaskClient(app), 0
    for number in range(posts):
        data = {"order": f"A-{number}", "amount": "10.00", "currency": "EUR", "commission": "1.00"}
        headers = {
            "Authorization": f"Bearer {made[number % len(made)]}",
            "Idempotency-Key": f'"bomb-{number}"',
        }
        with app.app_context():
            body = {"event": "purchase", "affiliate": {"code": code}, "data": data}
            taken += browser.post("/api/v1/events", json=body, headers=headers).status_code == 201
    digests.send(account_id, now=utcnow() + timedelta(hours=1))
    count = emails_to(victim)
    name = f"mail bomb by the API: {posts} events about one affiliate"
    return Row(name, "at most 5", count, 0 < count <= 5 and taken == posts)


def _sign_up(bomber: Stranger, number: int, mailbox: str) -> None:
    fields = {"name": "Any Body", "mailbox": mailbox, "consent": "y"}
    bomber.post(f"/join/programme-{number % PROGRAMMES}", fields)


def _send_again(bomber: Stranger, number: int, mailbox: str) -> None:
    page = f"/join/programme-{number % PROGRAMMES}"
    bomber.post(f"{page}/send-again", {"mailbox": mailbox}, page=f"{page}/thanks")


def _register(bomber: Stranger, _number: int, mailbox: str) -> None:
    fields = {"programme": "Dovetail", "name": "Cy Young", "password": "seven purple kettles"}
    bomber.post("/register", {**fields, "mailbox": mailbox})


def _forget(bomber: Stranger, _number: int, mailbox: str) -> None:
    bomber.post("/forgot-password", {"mailbox": mailbox})


def _find_page(bomber: Stranger, number: int, mailbox: str) -> None:
    page = f"/join/programme-{number % PROGRAMMES}/my-page"
    bomber.post(page, {"mailbox": mailbox})
    bomber.post("/affiliate", {"mailbox": mailbox})


_ALL = (_sign_up, _send_again, _register, _forget, _find_page)
_VICTIMS: tuple[tuple[str, str, tuple[Callable[[Stranger, int, str], None], ...]], ...] = (
    ("ada@victim.example", "a stranger, by all forms", _ALL),
    ("bo@victim.example", "a stranger, by the sign-up forms", (_sign_up, _send_again, _find_page)),
    ("cy@victim.example", "a stranger, by registration", (_register,)),
    (OWNER, "an owner, by all forms", _ALL),
    ("owner@programme1.example", "an owner, by forgotten password", (_forget,)),
)
