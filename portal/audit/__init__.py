"""The audit trail: who changed what, by which way, before and after. Rows are added in the transaction of the change."""

from __future__ import annotations

from .actions import Activity, ActivityKind, AuditOutcome
from .actor import Actor, Way, act_as, current_actor
from .recording import AuditTarget, hint_of_mailbox, host_of, record, record_alone, record_refusal

__all__ = [
    "Activity",
    "ActivityKind",
    "Actor",
    "AuditOutcome",
    "AuditTarget",
    "Way",
    "act_as",
    "current_actor",
    "hint_of_mailbox",
    "host_of",
    "record",
    "record_alone",
    "record_refusal",
]
