"""The reference in each message, in our own header and in that of the provider's card."""

from __future__ import annotations

import json
from dataclasses import replace
from email import message_from_bytes
from email.policy import default

import pytest
from sqlalchemy import select

from portal.clock import utcnow
from portal.db import db
from portal.outbox.models import OutboxMessage
from portal.outbox.reference import References, read_reference, reference_of
from portal.outbox.routing import Route
from portal.outbox.sending.message import AccountMessage
from portal.smtp.providers import load_catalogue
from portal.smtp.server import Security, Server
from tests.bounces.support import send


def route(provider: str = "", *headers: tuple[str, str]) -> Route:
    card = next((one for one in load_catalogue().providers if one.id == provider), None)
    server = Server("smtp.provider.example", 587, Security.STARTTLS)
    return Route(server, "info@brightleaf.example", "Brightleaf", provider=card, headers=headers)


def headers_of(row: OutboxMessage, by: Route):
    return message_from_bytes(AccountMessage(row, by, now=utcnow()).as_bytes(), policy=default)


@pytest.fixture
def row(brightleaf) -> OutboxMessage:
    sent = send(brightleaf)
    return db.session.scalars(select(OutboxMessage).where(OutboxMessage.id == sent.id)).one()


def test_every_message_has_its_reference_which_shows_nothing(row):
    reference = headers_of(row, route())["X-Signet-Ref"]
    assert reference == reference_of(row.id)
    assert read_reference(reference) == read_reference(f" {reference.upper()} ") == row.id
    assert len({reference_of(number)[:6] for number in range(500)}) > 490, "neighbours have nothing in common"


@pytest.mark.parametrize("text", ["", "x", "0" * 32, "g" * 32, "é" * 32, " " * 32, "0" * 5000])
def test_other_texts_are_no_references(app, text):
    assert read_reference(text) is None


def test_another_portals_reference_is_none_of_ours(app):
    assert read_reference(References("another secret key of another portal").make(1)) is None


def test_the_providers_own_header_carries_it_too(row):
    found = {}
    for card in load_catalogue().providers:
        if card.reference is not None:
            value = headers_of(row, route(card.id))[card.reference.name]
            found[card.id] = value
            assert reference_of(row.id) in value
    assert {"mailgun", "ses", "sendgrid", "postmark", "brevo", "mailjet", "sparkpost"} <= set(found)
    for name in ("mailgun", "sendgrid", "sparkpost"):
        assert reference_of(row.id) in str(json.loads(found[name]))


def test_a_header_that_the_owner_sets_is_left_alone(row):
    own = route("mailjet", ("X-MJ-CustomID", "my own id"))
    headers = headers_of(row, own)
    assert headers.get_all("X-MJ-CustomID") == ["my own id"]
    assert headers["X-Signet-Ref"] == reference_of(row.id)
    assert replace(own, headers=()).reference_header is not None


def test_a_return_path_may_carry_the_reference(row):
    verp = replace(route(), envelope_sender="bounces+{ref}@return.brightleaf.example")
    envelope = AccountMessage(row, verp, now=utcnow()).outgoing().envelope
    assert str(envelope.sender) == f"bounces+{reference_of(row.id)}@return.brightleaf.example"
    assert envelope.reference == reference_of(row.id)
    assert headers_of(row, verp)["From"] == "Brightleaf <info@brightleaf.example>"
    assert verp.return_path() == "bounces+check@return.brightleaf.example"
