"""Arbitrary input gets a problem response and never an internal error; no token is stored or logged."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from portal.api import strict_json, validation
from portal.api.problems import Problem
from portal.api.schemas import SHAPES
from portal.db import Base, db
from tests.api.conftest import EVENTS, PURCHASE, purchase
from tests.api.test_views_pages import PAGE, TOKEN, make
from tests.test_secrets import hits

pytestmark = pytest.mark.thorough

TEXT = st.text(max_size=20) | st.sampled_from(
    ["EUR", "JPY", "12.50", "1", "GRACE42K", "purchase", "a@b.example"]
)
ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
NAMES = st.sampled_from(sorted({one.name for shape in SHAPES.values() for one in shape.fields})) | TEXT
NEARLY = st.fixed_dictionaries(
    {"event": st.sampled_from(sorted(SHAPES)) | ANY, "data": st.dictionaries(NAMES, ANY, max_size=6) | ANY},
    optional={
        "affiliate": st.dictionaries(st.sampled_from(["code", "email", "x"]), ANY) | ANY,
        "occurred_at": ANY,
        "y": ANY,
    },
)
MANY = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


def parse_and_validate(body):
    """Parse and validate a body as the API does. The only exception allowed is a Problem."""
    try:
        return validation.validate(strict_json.parse(body))
    except Problem as problem:
        assert 400 <= problem.status < 500
        assert problem.detail
        json.dumps([(one.pointer, one.message) for one in problem.errors]).encode("ascii")
        assert len({one.pointer for one in problem.errors}) == len(problem.errors)
        return None


@given(ANY | NEARLY)
@settings(MANY, max_examples=300)
def test_any_json_is_either_an_event_or_rejected(body):
    parse_and_validate(json.dumps(body).encode())


@given(st.binary(max_size=200))
@example(b"[" * 65_000)
@example(b'"' + b"\\" * 65_000)
@example(b'{"a":' + b" " * 65_000)
@settings(MANY, max_examples=600)
def test_any_bytes_are_either_an_event_or_rejected(body):
    parse_and_validate(body)


@given(st.dictionaries(st.sampled_from(sorted(PURCHASE)), TEXT | ANY, max_size=4))
@settings(MANY, max_examples=300)
def test_accepted_values_are_single_lines(changes):
    found = parse_and_validate(json.dumps(purchase(data=PURCHASE | changes)).encode())
    for value in found.values.values() if found else ():
        assert isinstance(value, str)
        assert value.isprintable() or not set(value) & set("\r\n\x00\u2028\u202e")


@pytest.mark.parametrize("field", ["order", "amount", "product"])
@pytest.mark.parametrize("filler", [" ", "a", "1", "\\n", "-", "1."])
def test_a_long_value_is_validated_in_linear_time(field, filler):
    """A pattern with quadratic or exponential backtracking would run for minutes."""
    raw = json.dumps(purchase(data=PURCHASE | {field: filler * (60_000 // len(filler)) + "\x01"}))
    parse_and_validate(raw.encode())


@given(NEARLY)
@settings(MANY, max_examples=60)
def test_the_app_answers_anything_without_failing(shop_for_all, body):
    response = shop_for_all.send(body)
    assert response.status_code in {201, 400, 404, 422}, response.get_data()


@given(st.binary(max_size=80) | st.sampled_from([b"{}", b"null", b'{"event": "purchase"}']))
@settings(MANY, max_examples=60)
def test_the_app_answers_any_bytes_without_failing(shop_for_all, body):
    assert shop_for_all.send(None, raw=body).status_code in {400, 422}


@pytest.fixture
def shop_for_all(shop):
    return shop


def test_a_token_is_only_in_the_page_that_shows_it(config, owner, client, affiliate, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    affiliate()
    token = TOKEN.search(make(owner).get_data(as_text=True)).group()
    headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": "1"}
    kept = [
        client.post(EVENTS, json=purchase(), headers=headers),
        client.post(EVENTS, json=purchase(), headers=headers),
    ]
    kept += [client.post(EVENTS, data=b"{", headers=headers | {"Content-Type": "application/json"})]
    kept += [client.get(f"{EVENTS}/1", headers=headers), client.get(f"{EVENTS}/x", headers=headers)]
    kept += [client.get(f"{EVENTS}/1", headers={"Authorization": f"Bearer {token}x"})]
    kept += [owner.get(PAGE), owner.get(f"{PAGE}/play"), owner.get("/deliveries"), owner.get("/account")]
    assert kept[0].status_code == 201
    places = {
        f"response {at}": one.get_data() + repr(list(one.headers)).encode() for at, one in enumerate(kept)
    }
    places |= {str(path): path.read_bytes() for path in Path(config.instance).rglob("*") if path.is_file()}
    out, err = capfd.readouterr()
    records = repr([record.__dict__ for record in caplog.records])
    places |= {
        "log": caplog.text.encode(),
        "records": records.encode(),
        "stdout": out.encode(),
        "stderr": err.encode(),
    }
    for table in Base.metadata.sorted_tables:
        places[table.name] = repr(db.session.execute(table.select()).all()).encode()
    assert b"Shop" in places["api_token"]
    assert hits(places, [token, token.removeprefix("sig_")]) == []
