"""What the post room tells of every attempt, taken down as incidents in the same transaction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ..outbox.models import Outcome
from ..smtp.diagnosis import RetryClass
from . import bursts, record, still_open
from .models import Ended, Kind
from .record import Trouble

_TELLING = (RetryClass.SETTINGS, RetryClass.SERVER, RetryClass.RATE)
_ONE_MESSAGE = (RetryClass.RECIPIENT, RetryClass.MESSAGE)


@dataclass(frozen=True)
class Settled:
    """One settled attempt. ``diagnosis`` is None when the server took the message."""

    account_id: int
    message_id: int
    outcome: Outcome
    server: str
    version_number: int | None
    stage: str = ""
    reply_code: int | None = None
    reply_text: str = ""
    diagnosis: Mapping[str, Any] | None = None


def settled(one: Settled, *, now: datetime) -> None:
    """Open, grow or close what this attempt tells of. The caller commits."""
    if one.outcome is Outcome.ACCEPTED:
        _flows(one, now)
    elif one.diagnosis is not None:
        _failed(one, one.diagnosis, now)


def _failed(one: Settled, diagnosis: Mapping[str, Any], now: datetime) -> None:
    trouble = Trouble(
        account_id=one.account_id,
        kind=Kind.SENDING,
        diagnosis=diagnosis,
        server=one.server,
        version_number=one.version_number,
        message_id=one.message_id,
        stage=one.stage,
        reply_code=one.reply_code,
        words=one.reply_text,
    )
    told = diagnosis.get("retry_class")
    if told in _TELLING or (told is None and one.outcome is Outcome.HELD):
        record.note(trouble, now=now)
    elif told in _ONE_MESSAGE:
        bursts.look(trouble, now=now)


def _flows(one: Settled, now: datetime) -> None:
    """End what this acceptance disproves: trouble on the same way, or of settings that were replaced."""
    if not still_open.any_of(one.account_id):
        return
    for incident in record.open_ones(one.account_id, lock=True):
        if incident.kind is not Kind.SENDING:
            continue
        same_way = incident.server == one.server and incident.version_number == one.version_number
        if same_way:
            record.close(incident, Ended.FLOWS, now=now)
        elif one.version_number is not None and incident.version_number != one.version_number:
            record.close(incident, Ended.REPLACED, now=now)
