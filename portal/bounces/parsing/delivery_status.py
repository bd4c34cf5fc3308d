"""Delivery status notifications: the groups of fields of RFC 3464 and RFC 6533."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .addresses import typed_address
from .mime import Headers, read_headers

STATUS_TYPES = frozenset({"message/delivery-status", "message/global-delivery-status"})
_RECIPIENT_FIELDS = ("final-recipient", "original-recipient", "x-actual-recipient")
_GROUP_FIELDS = frozenset({*_RECIPIENT_FIELDS, "action", "status", "diagnostic-code", "remote-mta"})
_STATUS = re.compile(r"(?<![\w.])([245]\.\d{1,3}\.\d{1,3})(?![\w.])")
_CODE_TYPE = re.compile(r"^\s*(smtp|x-[\w-]{1,30}|dns|unix|lmtp|[\w-]{1,20})\s*;\s*", re.IGNORECASE)
_FINAL_RECIPIENT_LINE = re.compile(rb"(?im)^[> \t]*(?:final|original)-recipient[ \t]*:")
_MAX_GROUPS = 200


@dataclass(frozen=True)
class RecipientStatus:
    """The fields of one recipient."""

    recipient: str
    original: str
    action: str  # in lower case: failed, delayed, delivered, relayed, expanded
    status: str
    diagnostic: str  # without its type
    remote: str


@dataclass(frozen=True)
class DeliveryStatus:
    """All recipients of a notification, and the ENVID of the message."""

    recipients: tuple[RecipientStatus, ...]
    envelope_id: str


def read_delivery_status(body: bytes) -> DeliveryStatus:
    """Return the recipients of the body of a ``message/delivery-status`` part."""
    groups = _groups(body)
    envelope_id = next((one for fields in groups if (one := fields.get("original-envelope-id"))), "")
    recipients = []
    for fields in groups:
        if any(fields.get(name) for name in _RECIPIENT_FIELDS):
            recipients.append(_recipient(fields))
    return DeliveryStatus(tuple(recipients), envelope_id)


def has_status_fields(text: bytes) -> bool:
    """Return whether text that is no status part contains the fields of one."""
    return bool(_FINAL_RECIPIENT_LINE.search(text))


def _groups(body: bytes) -> list[Headers]:
    """Return the groups, which empty lines separate; a field that repeats begins a group, too."""
    groups: list[Headers] = []
    for block in re.split(rb"\n(?:[ \t]*+\n)++", body.strip(b"\n"))[:_MAX_GROUPS]:
        fields = [(name, value) for name, value in read_headers(block).fields]
        start, seen = 0, set[str]()
        for index, (name, _value) in enumerate(fields):
            if name in seen and name in _RECIPIENT_FIELDS:
                groups.append(Headers(tuple(fields[start:index])))
                start, seen = index, set[str]()
            seen.add(name)
        rest = Headers(tuple(fields[start:]))
        if groups and _continues(groups[-1], rest):
            groups[-1] = Headers(groups[-1].fields + rest.fields)
        else:
            groups.append(rest)
    return groups


def _continues(before: Headers, rest: Headers) -> bool:
    """Return whether an empty line tore a group apart: a recipient without a status, then a status without recipient."""
    names = {name for name, _ in rest.fields}
    had = {name for name, _ in before.fields}
    return (
        bool(names & _GROUP_FIELDS)
        and not names & {*_RECIPIENT_FIELDS}
        and bool(had & {*_RECIPIENT_FIELDS})
        and not had & {"action", "status"} & names
    )


def _recipient(fields: Headers) -> RecipientStatus:
    final = typed_address(fields.get("final-recipient"))
    original = typed_address(fields.get("original-recipient"))
    actual = typed_address(fields.get("x-actual-recipient"))
    found = _STATUS.search(fields.get("status"))
    diagnostic = " ".join(fields.all("diagnostic-code"))
    if original and "." not in final.rpartition("@")[2]:  # an address within the receiving system
        final = original
    return RecipientStatus(
        recipient=final or actual or original,
        original=original,
        action=fields.get("action").strip().lower().partition(" ")[0],
        status=found[1] if found else "",
        diagnostic=_CODE_TYPE.sub("", diagnostic, count=1).strip(),
        remote=fields.get("remote-mta").rpartition(";")[2].strip(),
    )
