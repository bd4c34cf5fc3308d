"""The parts that the paths and schemas of the OpenAPI document are built from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .problems import MEDIA_TYPE, PROBLEM_KINDS, ProblemKind

if TYPE_CHECKING:
    from .schemas import Schema

KEY_PATTERN = r'^(?:[A-Za-z0-9._:~+/=-]{1,100}|"[ !#-\[\]-~]{1,100}")$'


def ref(name: str, kind: str = "schemas") -> Schema:
    """Return a reference to a component."""
    return {"$ref": f"#/components/{kind}/{name}"}


def response(description: str, schema: str, *, replayed: bool = False) -> dict[str, Any]:
    """Return a response with a JSON body; ``replayed``: it repeats the answer to an earlier request."""
    found: dict[str, Any] = {
        "description": description,
        "content": {"application/json": {"schema": ref(schema)}},
    }
    if replayed:
        header = {"required": True, "schema": {"type": "string", "const": "true"}}
        found["headers"] = {"Idempotent-Replayed": header}
    return found


def problem_responses(*kinds: ProblemKind) -> dict[str, Any]:
    """Return the responses for these problems, by status."""
    found: dict[str, Any] = {}
    for kind in kinds:
        status, title, when = PROBLEM_KINDS[kind]
        found[str(status)] = {
            "description": f"{title}. {when}",
            "content": {MEDIA_TYPE: {"schema": ref("Problem")}},
        }
        if status in {401, 403, 429}:
            name = "Retry-After" if status == 429 else "WWW-Authenticate"
            found[str(status)]["headers"] = {name: {"required": True, "schema": {"type": "string"}}}
    return found


def object_of(*optional: str, **members: Schema) -> Schema:
    """Return an object without further members; those named in ``optional`` may be missing."""
    return {
        "type": "object",
        "properties": members,
        "required": [name for name in members if name not in optional],
        "additionalProperties": False,
    }


TEXT: Schema = {"type": "string"}
DECIMAL: Schema = {"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]+)?$"}
NUMBER: Schema = {"type": "integer", "minimum": 1}
TIMESTAMP: Schema = {"type": "string", "format": "date-time"}


def nullable(schema: Schema) -> Schema:
    """Return a schema that null meets, too."""
    return {"anyOf": [schema, {"type": "null"}]}


def enum_of(meanings: dict[Any, str]) -> Schema:
    """Return the values of an enumeration with what they mean."""
    return {
        "type": "string",
        "enum": [member.value for member in meanings],
        "description": "; ".join(f"`{member.value}`: {meaning}" for member, meaning in meanings.items())
        + ".",
    }


def array_of(schema: str) -> Schema:
    """Return an array of one component."""
    return {"type": "array", "items": ref(schema)}
