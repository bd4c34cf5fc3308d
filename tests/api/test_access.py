"""Access to the API: each endpoint, asked with each scope, without a token, with ended ones and by another account."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import pytest
from sqlalchemy import select

from portal.affiliates.models import Affiliate
from portal.api import tokens
from portal.api.access import PUBLIC, SCOPES
from portal.api.models import ApiToken, TokenScope
from portal.clock import utcnow
from portal.db import Base, db
from tests.api.conftest import account_of, purchase


@dataclass
class Request:
    """A request that its endpoint takes. {event}, {message}, {affiliate} and {version} are of Brightleaf."""

    method: str
    path: str
    body: object = None
    names_a_row: bool = False  # of one account; another account's token gets 404


CONSENT = {"at": "2026-03-02T09:00:00Z", "source": "Form of the shop"}
ALAN = {"name": "Alan Turing", "email": "alan@turing.example", "consent": CONSENT}
DRAFT = {"host": "smtp.brightleaf.example", "username": "ada@brightleaf.example", "password": "a password"}
REQUESTS = {
    "api.send_event": Request("POST", "/events", purchase(), names_a_row=True),
    "api.send_events": Request("POST", "/events/batch", {"events": [purchase(idempotency_key="b-1")]}),
    "api.show_event": Request("GET", "/events/{event}", names_a_row=True),
    "api.show_message": Request("GET", "/messages/{message}", names_a_row=True),
    "api.show_balance": Request("GET", "/affiliates/GRACE42K/balance", names_a_row=True),
    "api.list_commissions": Request("GET", "/commissions?order=A-1042"),
    "api.list_affiliates": Request("GET", "/affiliates"),
    "api.add_affiliate": Request("POST", "/affiliates", ALAN),
    "api.show_affiliate": Request("GET", "/affiliates/{affiliate}", names_a_row=True),
    "api.change_affiliate": Request("PATCH", "/affiliates/{affiliate}", {"name": "X"}, names_a_row=True),
    "api.erase_affiliate": Request("DELETE", "/affiliates/{affiliate}", names_a_row=True),
    "api.show_sending": Request("GET", "/sending"),
    "api.save_draft": Request("POST", "/settings/drafts", DRAFT),
    "api.show_version": Request("GET", "/settings/versions/{version}", names_a_row=True),
    "api.check_draft": Request("POST", "/settings/versions/{version}/check", names_a_row=True),
}


def send(client, request, token, ids, key="k-1"):
    headers = {"Idempotency-Key": key} | ({"Authorization": f"Bearer {token}"} if token else {})
    body = {"json": request.body} if request.body is not None else {}
    return client.open("/api/v1" + request.path.format(**ids), method=request.method, headers=headers, **body)


def rows_of_brightleaf():
    """Return the rows that belong to Brightleaf, but not the times of its tokens."""
    db.session.rollback()
    account_id, found = account_of().id, {}
    for mapper in Base.registry.mappers:
        table = mapper.local_table
        if "account_id" in table.c and table.name != "api_token":
            query = select(table).where(table.c.account_id == account_id)
            found[table.name] = sorted(map(repr, db.session.execute(query)))
    db.session.rollback()
    return found


def test_every_endpoint_is_in_the_matrix(app):
    endpoints = {rule.endpoint for rule in app.url_map.iter_rules() if rule.endpoint.startswith("api.")}
    assert endpoints == PUBLIC | set(SCOPES)
    assert set(REQUESTS) == set(SCOPES)


@pytest.mark.both_databases
def test_each_endpoint_takes_its_scopes_and_nothing_else(app, client, owner, stranger, token_of, affiliate):
    affiliate()
    shop = token_of()
    made = send(client, REQUESTS["api.send_event"], shop, {}, key="first").get_json()
    ids = {"event": made["id"], "message": made["mails"][0]["message"]}
    ids["affiliate"] = db.session.scalars(select(Affiliate.id)).one()
    good = {scope: token_of(scope=scope) for scope in TokenScope}
    for _ in range(2):  # Copperpot will have a version 1, too
        draft = send(client, REQUESTS["api.save_draft"], good[TokenScope.SETTINGS], ids).get_json()
    ids["version"] = draft["number"]
    over = {"expires_at": utcnow() - timedelta(seconds=1)}
    ended = [token_of(scope=scope, **over) for scope in TokenScope]
    for scope in TokenScope:
        ended.append(token_of(scope=scope))
        id_ = db.session.scalars(select(ApiToken.id).order_by(ApiToken.id.desc())).first()
        assert tokens.revoke(account_of().id, id_, by="Ada", now=utcnow())
    foreign = {scope: token_of("copperpot", scope) for scope in TokenScope}
    before = rows_of_brightleaf()
    for endpoint, request in REQUESTS.items():
        for token in (None, *ended):
            answer = send(client, request, token, ids)
            assert answer.status_code == 401, endpoint
            assert ("invalid_token" in answer.headers["WWW-Authenticate"]) == bool(token)
        for scope in set(TokenScope) - set(SCOPES[endpoint]):
            answer = send(client, request, good[scope], ids)
            assert answer.status_code == 403, (endpoint, scope)
            assert f'scope="{SCOPES[endpoint][0]}"' in answer.headers["WWW-Authenticate"]
        for scope in SCOPES[endpoint]:
            answer = send(client, request, foreign[scope], ids)
            assert answer.status_code == 404 if request.names_a_row else answer.status_code < 500, endpoint
            assert "GRACE42K" not in answer.get_data(as_text=True)
    assert rows_of_brightleaf() == before
    for number, (endpoint, request) in enumerate(REQUESTS.items()):
        for scope in SCOPES[endpoint]:
            answer = send(client, request, good[scope], ids, key=f"good-{number}")
            assert answer.status_code < 300, (endpoint, answer.get_json())
