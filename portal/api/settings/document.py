"""The paths and schemas of the SMTP settings in the OpenAPI document. Requests are validated by the same schemas.

The ``description`` of each leaf is also the error message of a field that violates it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...settings.advanced import MAX_HEADERS, MAX_MESSAGES_PER_CONNECTION, REPLY_SECONDS
from ...settings.models import DETECT, CheckState, VersionState
from ...smtp.diagnosis.cases import DiagnosisKind, Move
from ...smtp.failure import Stage
from ...smtp.protocol.stages import StageStatus
from ...smtp.server import Mechanism, Security
from ..openapi_parts import (
    NUMBER,
    TEXT,
    TIMESTAMP,
    array_of,
    nullable,
    object_of,
    problem_responses,
    ref,
    response,
)
from ..problems import ProblemKind

if TYPE_CHECKING:
    from ..schemas import Schema

LARGEST_NUMBER = 999_999
_MECHANISMS = [one.value for one in Mechanism if one not in (Mechanism.XOAUTH2, Mechanism.OAUTHBEARER)]
_FIELDS_TO_SAVE = (
    "provider", "host", "port", "security", "username", "password", "mechanism", "domain", "wrapped_user", "from_name",
    "reply_to", "ehlo_name", "envelope_sender", "headers", "messages_per_connection", "reply_seconds", "based_on",
)  # fmt: skip


def settings_request_schemas() -> dict[str, Schema]:
    """Return the component that describes a draft. Every field may be missing; ``operations`` requires what the page does."""
    fields: dict[str, Schema] = {
        "provider": _text(40, "The id of a provider’s card. It fills host, port and user name where they are missing."),
        "host": _text(253, "The SMTP server, such as smtp.example.com."),
        "port": _number((1, 65535), "The port, from 1 to 65535. Without it: the usual one."),
        "security": _one_of(
            [*(one.value for one in Security), DETECT], "One of starttls, implicit, plaintext and detect."
        ),
        "username": _text(254, "The user of the log-in, of at most 254 characters."),
        "password": _text(
            500, "The password of that user, of at most 500 characters. Without it: the one of `based_on`."
        ) | {"writeOnly": True},
        "mechanism": _one_of(_MECHANISMS, f"One of {', '.join(_MECHANISMS)}."),
        "domain": _text(253, "The domain of the From address. Without it: that of the user name."),
        "wrapped_user": _text(64, "The part before the @ of the From address. Without it: info."),
        "from_name": _text(100, "The name before the From address, of at most 100 characters."),
        "reply_to": _text(254, "The mailbox that replies go to."),
        "ehlo_name": _text(253, "The name in EHLO. Without it: the portal’s."),
        "envelope_sender": _text(254, "The mailbox that bounces go to. Without it: the From address."),
        "headers": {
            "type": "array",
            "maxItems": MAX_HEADERS,
            "items": {
                "type": "string",
                "maxLength": 300,
                "pattern": r"^[A-Za-z-]{1,60}: [!-~]([ -~]{0,198}[!-~])?$",
                "description": "A name and a value, such as X-PM-Message-Stream: outbound.",
                "examples": ["X-PM-Message-Stream: outbound"],
            },
            "description": f"At most {MAX_HEADERS} further headers.",
        },
        "messages_per_connection": _number(
            (1, MAX_MESSAGES_PER_CONNECTION), f"A number from 1 to {MAX_MESSAGES_PER_CONNECTION}."
        ),
        "reply_seconds": _number(REPLY_SECONDS, f"A number from {REPLY_SECONDS[0]} to {REPLY_SECONDS[1]}."),
        "based_on": _number(
            (1, LARGEST_NUMBER), "The version whose password is kept. Without it: the live one, or the last that a person saved."
        ),
    }  # fmt: skip
    return {"SettingsDraft": object_of(*_FIELDS_TO_SAVE, **fields)}


def settings_response_schemas() -> dict[str, Schema]:
    """Return the components that describe a version and its check."""
    warning = object_of(code=TEXT, field=TEXT, sentence=TEXT, blocking={"type": "boolean"}) | {
        "description": "`blocking`: no check is made of such a draft on the page before a person has confirmed it."
    }
    record = object_of(name=TEXT, type={"type": "string", "const": "TXT"}, value=TEXT)
    stage = object_of(
        stage={"type": "string", "enum": [DETECT, *(one.value for one in Stage)]},
        verdict={"type": "string", "enum": [one.value for one in StageStatus]},
        sentence=TEXT,
        milliseconds={"type": "integer", "minimum": 0},
    )
    diagnosis = object_of(
        code=TEXT | {"description": "Stable; docs/diagnoses.md lists them. New ones may be added."},
        kind={"type": "string", "enum": [one.value for one in DiagnosisKind]},
        whose_move={"type": "string", "enum": [one.value for one in Move]},
        field=nullable(TEXT),
        cause=TEXT,
        fixes={"type": "array", "items": TEXT},
        reply=TEXT,
    )
    fix = object_of(
        code=TEXT,
        sentence=TEXT,
        values={"type": "object", "additionalProperties": TEXT, "description": "What to save instead."},
    ) | {"description": "A change that was tried and works."}
    check = object_of(
        state={"type": "string", "enum": [one.value for one in CheckState]},
        recipient=TEXT,
        created_at=TIMESTAMP,
        ended_at=nullable(TIMESTAMP),
        stages=array_of("SettingsStage"),
        diagnosis=nullable(ref("SettingsDiagnosis")),
        fix=nullable(fix),
    )
    states = [one.value for one in VersionState if one is not VersionState.DISCARDED]
    version = object_of(
        number=NUMBER,
        state={"type": "string", "enum": states},
        waits_for_person={
            "type": "boolean",
            "description": "It does not go live, even when its check passes, before a person activates it on the page.",
        },
        provider=TEXT,
        host=TEXT,
        port=nullable(NUMBER),
        security={"type": "string", "enum": [*(one.value for one in Security), DETECT]},
        mechanism={"type": "string", "enum": [one.value for one in Mechanism]},
        username=TEXT,
        sender=TEXT,
        from_name=TEXT,
        reply_to=TEXT,
        ehlo_name=TEXT,
        envelope_sender=TEXT,
        headers={"type": "array", "items": TEXT},
        messages_per_connection=nullable(NUMBER),
        reply_seconds=nullable(NUMBER),
        saved_at=TIMESTAMP,
        saved_by=TEXT,
        live_since=nullable(TIMESTAMP),
        warnings={"type": "array", "items": warning},
        domain_record=nullable(record)
        | {"description": "The record that has to prove the domain before the version goes live."},
        check=nullable(ref("SettingsCheck")) | {"description": "The newest check."},
    )
    return {
        "SettingsVersion": version,
        "SettingsCheck": check,
        "SettingsStage": stage,
        "SettingsDiagnosis": diagnosis,
    }


def settings_parameters() -> dict[str, Any]:
    """Return the parameter of a version's number."""
    schema = {"type": "integer", "minimum": 1, "maximum": LARGEST_NUMBER}
    return {"Number": {"name": "number", "in": "path", "required": True, "schema": schema}}


def settings_paths() -> dict[str, Any]:
    """Return the paths."""
    known = (ProblemKind.TOKEN, ProblemKind.SCOPE, ProblemKind.TOO_MANY, ProblemKind.BUSY)
    written = (ProblemKind.UNREADABLE, ProblemKind.TOO_LARGE, ProblemKind.CONTENT_TYPE, ProblemKind.INVALID)
    one = {"parameters": [ref("Number", "parameters")]}
    number = {"parameters": {"number": "$response.body#/number"}}
    links = {
        "version": {"operationId": "getSettingsVersion"} | number,
        "check": {"operationId": "checkSettingsDraft"} | number,
    }
    return {
        "/api/v1/settings/drafts": {
            "post": {
                "operationId": "saveSettingsDraft",
                "summary": "Save a draft of the SMTP settings",
                "requestBody": {
                    "required": True,
                    "content": {"application/json": {"schema": ref("SettingsDraft")}},
                },
                "responses": {
                    "201": response("The draft is saved and not checked.", "SettingsVersion")
                    | {"links": links},
                    **problem_responses(*known, *written),
                },
            }
        },
        "/api/v1/settings/versions/{number}": {
            "get": one
            | {
                "operationId": "getSettingsVersion",
                "summary": "A version of the SMTP settings with its newest check",
                "responses": {
                    "200": response("The version.", "SettingsVersion"),
                    **problem_responses(*known, ProblemKind.NOT_FOUND),
                },
            }
        },
        "/api/v1/settings/versions/{number}/check": {
            "post": one
            | {
                "operationId": "checkSettingsDraft",
                "summary": "Check a draft up to a test email to the contact",
                "responses": {
                    "202": response("The check waits or runs.", "SettingsVersion"),
                    **problem_responses(*known, ProblemKind.NOT_FOUND, ProblemKind.NOT_CHECKED),
                },
            }
        },
    }


def _text(limit: int, description: str) -> Schema:
    return {"type": "string", "maxLength": limit, "description": description, "examples": [""]}


def _number(bounds: tuple[int, int], description: str) -> Schema:
    return {"type": "integer", "minimum": bounds[0], "maximum": bounds[1], "description": description}


def _one_of(values: list[str], description: str) -> Schema:
    return {"type": "string", "enum": values, "description": description}
