"""The OpenAPI document is complete: Schemathesis finds no response that it does not describe."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from werkzeug.serving import WSGIRequestHandler, make_server

from portal.amounts import BY_DECIMALS, CODES
from portal.api import tokens
from portal.api.models import TokenScope
from portal.api.problems import PROBLEM_KINDS
from portal.api.response_schemas import response_schemas
from portal.api.schemas import SHAPES
from portal.clock import utcnow
from portal.db import db
from portal.events.models import EmailDecision
from portal.events.presenter import NOT_SENT_REASONS
from portal.outbox.models import DeliveryAttempt, Outcome, Status
from portal.web import owner_limits
from tests.api.conftest import EVENTS, purchase

pytestmark = pytest.mark.thorough

ROOT = Path(__file__).parents[2]
SCHEMATHESIS = Path(sys.executable).parent / "schemathesis"


class QuietHandler(WSGIRequestHandler):
    def log(self, *_args):
        pass


@contextmanager
def served(app):
    """Serve the app on a real loopback socket."""
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=QuietHandler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join(120)
        server.server_close()


def document(client):
    response = client.get("/api/v1/openapi.json")
    assert response.content_type == "application/json"
    return response.get_json()


def validator():
    """Return the validator's class. Its import takes seconds where the formats that it can check are installed."""
    from jsonschema import Draft202012Validator

    return Draft202012Validator


def component(doc, name):
    return validator()({"$ref": f"#/components/schemas/{name}", "components": doc["components"]})


AFFILIATES, SETTINGS = r"/api/v1/affiliates(/\{id\})?$", r"/api/v1/settings/"


@pytest.mark.parametrize(
    ("scope", "paths"),
    [
        (TokenScope.EVENTS, ("exclude", f"^({AFFILIATES}|{SETTINGS})")),
        (TokenScope.AFFILIATES, ("include", f"^{AFFILIATES}")),
        (TokenScope.SETTINGS, ("include", f"^({SETTINGS}|/api/v1/sending)")),
    ],
)
def test_schemathesis_finds_no_undocumented_behaviour(
    app, shop, token_of, tmp_path, monkeypatch, scope, paths
):
    result = shop.send(purchase()).get_json()
    db.session.add(attempt(result["mails"][0]["message"]))
    db.session.commit()
    limits = ((tokens, "REQUEST_LIMIT"), (owner_limits, "API_DRAFTS"), (owner_limits, "CHECKS"))
    for place, name in limits:
        monkeypatch.setattr(place, name, replace(getattr(place, name), amount=100_000))
    env = os.environ | {"SCHEMATHESIS_HOOKS": "tests.api.schemathesis_hooks", "PYTHONPATH": str(ROOT)}
    with served(app) as base:
        command = [
            str(SCHEMATHESIS), "run", f"{base}/api/v1/openapi.json", "--url", base, "--checks", "all",
            "--header", f"Authorization: Bearer {token_of(scope=scope)}",
            f"--{paths[0]}-path-regex", paths[1], "--max-examples", "15", "--seed", "1", "--no-color",
            "--generation-database", "none", "--continue-on-failure",
            # It expects 401 of a request whose token this command adds by itself.
            "--exclude-checks", "missing_required_header",
        ]  # fmt: skip
        run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=1200, env=env)
    assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-2000:]


def attempt(message_id):
    now = utcnow()
    return DeliveryAttempt(
        message_id=message_id, number=1, outcome=Outcome.ACCEPTED, started_at=now, ended_at=now,
        server="smtp.example.com:587", stage="data", reply_code=250, enhanced_code="2.0.0", reply_text="Queued", queue_id="Q1",
    )  # fmt: skip


def test_responses_match_their_schemas(shop, client):
    doc = document(client)
    result = shop.send(purchase()).get_json()
    db.session.add(attempt(result["mails"][0]["message"]))
    db.session.commit()
    event = shop.get(f"{EVENTS}/{result['id']}").get_json()
    message = shop.get(f"/api/v1/messages/{result['mails'][0]['message']}").get_json()
    problem = shop.send({}).get_json()
    balances = shop.get("/api/v1/affiliates/GRACE42K/balance").get_json()
    commissions = shop.get("/api/v1/commissions?order=A-1042").get_json()
    money = (("Balances", balances), ("Commissions", commissions))
    for name, value in (
        ("Caused", result),
        ("Event", event),
        ("Message", message),
        ("Problem", problem),
        *money,
    ):
        component(doc, name).validate(value)
    (one,) = message["attempts"]
    assert (one["reply_code"], one["enhanced_code"], one["queue_id"], one["stage"]) == (
        250,
        "2.0.0",
        "Q1",
        "data",
    )
    assert one["reply"] == "Queued"
    assert (message["event"], message["kind"], message["status"]) == (result["id"], "new-purchase", "queued")


def test_the_document_contains_every_event_and_every_status(client):
    doc = document(client)
    post = doc["paths"]["/api/v1/events"]["post"]
    mapping = post["requestBody"]["content"]["application/json"]["schema"]["discriminator"]["mapping"]
    assert set(mapping) == set(SHAPES)
    assert {"201", "200", "400", "401", "404", "413", "415", "422", "429"} <= set(post["responses"])
    assert "accepted by the submission server" in doc["components"]["schemas"]["Status"]["description"]
    for name in doc["components"]["schemas"]:
        validator().check_schema(doc["components"]["schemas"][name])


def test_every_reason_and_status_is_described():
    assert {one.value for one in EmailDecision} - {""} == set(response_schemas()["Why"]["enum"])
    assert {one.value for one in Status} == set(response_schemas()["Status"]["enum"])
    assert {one for one in EmailDecision if one.value} == set(NOT_SENT_REASONS)
    assert all(status >= 400 for status, _, _ in PROBLEM_KINDS.values())


def test_the_currencies_are_those_of_iso_4217():
    assert [len(BY_DECIMALS[count]) for count in (0, 2, 3, 4)] == [17, 139, 7, 2]
    assert len(CODES) == len(set(CODES)) == 165
    assert not {"XXX", "XAU", "DEM", "BGN", "HRK", "ANG"} & set(CODES)
