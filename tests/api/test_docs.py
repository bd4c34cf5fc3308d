"""docs/api.md is correct: its commands are run against the app and get the documented responses."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

from sqlalchemy import delete

from portal.api import tokens
from portal.api.models import TokenScope
from portal.api.schemas import SHAPES
from portal.db import db
from portal.events.models import EmailDecision
from portal.outbox.models import OutboxMessage

PAGE = (Path(__file__).parents[2] / "docs" / "api.md").read_text(encoding="utf-8")
# A command, the status that follows it and, before the next command, perhaps the response.
EXAMPLE = re.compile(r"```sh\n(.*?)```\n\n`(\d{3}) [^`]*`:[^`]*(?:```json\n(.*?)```)?", re.DOTALL)
BASE = "https://signet.example.com"


def run(client, command, variables):
    """Send the request that curl would send for this command."""
    for name, value in variables.items():
        command = command.replace(f"${name}", value)
    words = shlex.split(command)
    assert words[0] == "curl"
    headers = dict(words[at + 1].split(": ", 1) for at, word in enumerate(words) if word == "-H")
    data = [words[at + 1] for at, word in enumerate(words) if word == "-d"]
    path = next(word for word in words if word.startswith(BASE)).removeprefix(BASE)
    if "-X" in words:
        body = {"data": data[0].encode()} if data else {}
        return client.open(path, method=words[words.index("-X") + 1], headers=headers, **body)
    if data:
        return client.post(path, data=data[0].encode(), headers=headers)
    return client.get(path, headers=headers)


def test_every_command_gets_the_documented_response(owner, client, token, token_of, affiliate):
    affiliate(mailbox="grace@hopper.example")
    variables = {
        "SIGNET_URL": BASE,
        "SIGNET_TOKEN": token,
        "SIGNET_AFFILIATES_TOKEN": token_of(scope=TokenScope.AFFILIATES),
        "SIGNET_SETTINGS_TOKEN": token_of(scope=TokenScope.SETTINGS),
    }
    db.session.execute(delete(OutboxMessage))  # the emails about the tokens; the examples count from 1
    db.session.commit()
    examples = EXAMPLE.findall(PAGE)
    assert len(examples) == PAGE.count("```sh") == 13
    for command, status, response in examples:
        result = run(client, command, variables)
        assert result.status_code == int(status), (command, result.get_json())
        if response:
            assert result.get_json() == json.loads(response.replace(BASE, "http://127.0.0.1")), command


def test_the_sending_status_is_as_its_schema_describes(owner, client, token_of):
    from jsonschema import Draft202012Validator  # as late as the portal imports it

    doc = client.get("/api/v1/openapi.json").get_json()
    reference = {"$ref": "#/components/schemas/Sending", "components": doc["components"]}
    (example,) = re.findall(r"```json\n(\{\n  \"code\".*?)```", PAGE, re.DOTALL)
    headers = {"Authorization": f"Bearer {token_of(scope=TokenScope.SENDING)}"}
    answer = client.get("/api/v1/sending", headers=headers).get_json()
    assert list(json.loads(example)) == list(answer)
    for value in (json.loads(example), answer):
        Draft202012Validator(reference).validate(value)


def test_the_table_lists_every_event_with_its_members():
    rows = dict(re.findall(r"^\| `([a-z_]+)` \| (.*) \|$", PAGE, re.MULTILINE))
    del rows["event"]  # the headings
    documented = {
        event: ", ".join(one.name if one.required else f"*{one.name}*" for one in shape.fields)
        for event, shape in SHAPES.items()
    }
    assert rows == documented


def test_the_documented_rate_limit_is_correct():
    assert f"at most {tokens.REQUEST_LIMIT.amount} requests a minute" in " ".join(PAGE.split())


def test_every_reason_for_no_email_is_documented():
    documented = set(re.findall(r"`([a-z-]+)`: ", PAGE))
    assert {why.value for why in EmailDecision if why} <= documented
