"""Rows of the audit trail as the page and the CSV file show them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flask_babel import gettext as _

from ...audit import ActivityKind, AuditOutcome, Way
from ...audit.actions import KIND_LABELS, LABELS
from ...audit.fields import FIELD_LABELS, TARGET_LABELS, VALUE_LABELS
from ...audit.retention import PERSON
from ...web.csv import csv_header, csv_lines
from ..sessions import device_label
from . import log

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from ...audit.models import AuditEntry
    from .log import ActivityView

HEAD = (
    "id", "time", "way", "person_id", "name", "kind", "action", "outcome", "target_kind", "target_id", "target",
    "before", "after", "network", "session_id",
)  # fmt: skip


@dataclass(frozen=True)
class ValueChange:
    """One value, before and after. Either is empty where there was none."""

    label: str
    before: str
    after: str


@dataclass(frozen=True)
class ShownEntry:
    """A row for the page."""

    at: datetime
    who: str
    person_id: int | None  # to filter by; empty where no person acted
    way: str
    what: str
    is_refused: bool
    target: str
    changes: list[ValueChange]
    network: str


def show(row: AuditEntry) -> ShownEntry:
    """Return a row with its values in words."""
    return ShownEntry(
        row.at,
        _who(row),
        row.actor_id if row.way is Way.PAGE else None,
        _way(row),
        str(LABELS[row.action]),
        row.outcome is AuditOutcome.REFUSED,
        _target(row),
        _changes(row.values_before or {}, row.values_after or {}),
        "" if _is_operators(row) else row.network,
    )


def csv_chunks(view: ActivityView) -> Iterator[str]:
    """Yield the matching rows as CSV, newest first, one batch at a time."""
    yield csv_header(HEAD)
    for rows in log.batches(view):
        yield csv_lines([_cells(row) for row in rows])


def kind_choices() -> list[tuple[str, str]]:
    """Return value and label of each kind."""
    return [(kind.value, str(label)) for kind, label in KIND_LABELS.items()]


def _cells(row: AuditEntry) -> list[Any]:
    return [
        row.id, row.at, row.way.value, row.actor_id, row.actor_name, row.kind.value, row.action.value, row.outcome.value,
        row.target_kind, row.target_id, row.target_name, _json(row.values_before), _json(row.values_after),
        *(("", "") if _is_operators(row) else (row.network, row.session_id)),
    ]  # fmt: skip


def _is_operators(row: AuditEntry) -> bool:
    """Whether an operator did it to an account, whose owners need not know from where: the security log has that."""
    return row.kind is ActivityKind.OPERATOR and row.account_id is not None


def _json(values: dict[str, Any] | None) -> str:
    return json.dumps(values, ensure_ascii=False) if values else ""


def _who(row: AuditEntry) -> str:
    if row.way is Way.SYSTEM:
        return "Signet"
    if row.actor_name:
        return row.actor_name
    return str(_("An erased person") if row.actor_id is not None else _("A visitor"))


def _way(row: AuditEntry) -> str:
    names = {Way.API: _("API token"), Way.COMMAND: _("operator’s command")}
    return str(names.get(row.way, ""))


def _target(row: AuditEntry) -> str:
    """Return what was changed in words. A person who acts on themselves needs none."""
    if not row.target_kind or (row.target_kind == PERSON and row.target_id == row.actor_id):
        return ""
    name = row.target_name or (f"#{row.target_id}" if row.target_id is not None else "")
    return f"{TARGET_LABELS.get(row.target_kind, row.target_kind)} {name}".strip()


def _changes(before: dict[str, Any], after: dict[str, Any]) -> list[ValueChange]:
    names = dict.fromkeys([*before, *after])
    return [
        ValueChange(
            str(FIELD_LABELS.get(one, one.replace("_", " "))),
            *(_text(values.get(one), one) for values in (before, after)),
        )
        for one in names
    ]


def _text(value: Any, name: str) -> str:
    if name == "device" and value:
        return device_label(str(value))
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(_("yes") if value else _("no"))
    return str(VALUE_LABELS.get(value, value)) if isinstance(value, str) else str(value)
