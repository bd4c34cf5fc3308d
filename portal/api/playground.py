"""The event simulator: the result of a simulated event for the owner, the choice of affiliates, and the curl command."""

from __future__ import annotations

import json
import re
import secrets
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flask_babel import gettext as _
from sqlalchemy import select

from ..affiliates.directory import matches
from ..affiliates.models import Affiliate, AffiliateState
from ..db import db
from ..deliveries import message_log
from ..events import event_log
from ..events.models import EmailDecision, EventMail
from ..events.presenter import NOT_SENT_REASONS
from ..notices.catalogue import CATALOGUE
from ..outbox.models import OutboxMessage, Status
from ..web.labels import STATUS_LABELS
from .schemas import SHAPES_BY_TYPE, EventShape
from .serializers import find_event

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


MAX_CHOICES = 30
_KEY_SAFE = re.compile(r"[A-Za-z0-9._-]{1,60}", re.ASCII)


@dataclass(frozen=True)
class SimulatedEmail:
    """One email of an event: its message, or the reason why there is none."""

    kind: str
    name: str
    addressee: str
    recipient: str
    message: OutboxMessage | None
    status: str
    reason: str


@dataclass(frozen=True)
class SimulatedEvent:
    """An event and its emails. ``code`` and ``affiliate`` are the code and name of its affiliate."""

    id_: int
    shape: EventShape
    code: str
    affiliate: str
    values: Mapping[str, Any]
    mails: list[SimulatedEmail]

    @property
    def message_count(self) -> int:
        return sum(mail.message is not None for mail in self.mails)

    @property
    def is_pending(self) -> bool:
        """Whether an email has not been tried yet, so that the page reloads itself."""
        return any(
            mail.message.status in (Status.QUEUED, Status.SENDING) and not mail.message.attempts
            for mail in self.mails
            if mail.message is not None
        )


def find_simulated_event(account_id: int, event_id: int) -> SimulatedEvent | None:
    """Return an event of this account, if it is one that a shop can send, too."""
    event = find_event(account_id, event_id)
    shape = SHAPES_BY_TYPE.get(event.type) if event else None
    if event is None or shape is None:
        return None
    affiliate = db.session.get(Affiliate, event.affiliate_id) if event.affiliate_id else None
    mails = [
        _simulated_email(account_id, mail) for mail in event_log.emails_by_event([event.id]).get(event.id, [])
    ]
    code, name = (affiliate.code, affiliate.name) if affiliate else ("", "")
    return SimulatedEvent(event.id, shape, code, name, event.values, mails)


def sample_event(shape: EventShape) -> dict[str, Any]:
    """Return an event with sample values, for the reference."""
    data = {one.name: one.sample for one in shape.fields}
    return {"event": shape.event, "affiliate": {"code": "GRACE42K"}, "data": data}


def affiliate_choices(account_id: int, search: str, *, chosen: str = "") -> Sequence[Affiliate]:
    """Return affiliates, active ones first, then the newest. ``chosen`` is the code of one to include in any case."""
    query = select(Affiliate).where(Affiliate.account_id == account_id)
    matching = query.where(matches(search)) if search else query
    found = list(
        db.session.scalars(
            matching.order_by(Affiliate.state != AffiliateState.ACTIVE, Affiliate.id.desc()).limit(
                MAX_CHOICES
            )
        )
    )
    if chosen and not search and chosen not in {row.code for row in found}:
        found[:0] = db.session.scalars(query.where(Affiliate.code == chosen))
    return found


def affiliate_label(row: Affiliate) -> str:
    """Return the label of an affiliate in the list, with the state unless it is active."""
    state = "" if row.state is AffiliateState.ACTIVE else f" ({row.state.value})"
    return f"{row.name}{state} · {row.mailbox} · {row.code}"


def curl_command(base_url: str, body: Mapping[str, Any]) -> str:
    """Return the curl command that sends an event. The shell inserts the token from $SIGNET_TOKEN."""
    key = f'Idempotency-Key: "{_idempotency_key(body)}"'
    payload = json.dumps(body, ensure_ascii=False, indent=2)
    return " \\\n  ".join(
        [
            f"curl {shlex.quote(f'{base_url}/api/v1/events')}",
            '-H "Authorization: Bearer $SIGNET_TOKEN"',  # in double quotes, so that the shell expands it
            "-H 'Content-Type: application/json'",
            f"-H '{key}'",
            f"--data-raw {shlex.quote(payload)}",
        ]
    )


def _simulated_email(account_id: int, mail: EventMail) -> SimulatedEmail:
    notice, reason = CATALOGUE.get(mail.kind), NOT_SENT_REASONS.get(mail.decision)
    message = (
        message_log.get_message(account_id, mail.message_id)
        if mail.message_id and mail.decision in (EmailDecision.QUEUED, EmailDecision.IN_DIGEST)
        else None
    )
    return SimulatedEmail(
        kind=mail.kind,
        name=_(notice.name) if notice else mail.kind,
        addressee=notice.addressee if notice else "",
        recipient=mail.recipient,
        message=message,
        status=STATUS_LABELS[message.status] if message else "",
        reason="" if message else reason.in_simulator if reason else _("Its log has been deleted."),
    )


def _idempotency_key(body: Mapping[str, Any]) -> str:
    """Return a key such as a shop would use: the event and the order number."""
    subject = body["data"].get("order") or body["data"].get("reference") or ""
    return f"{body['event']}-{subject if _KEY_SAFE.fullmatch(subject) else secrets.token_hex(8)}"
