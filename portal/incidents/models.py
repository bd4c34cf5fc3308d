"""Tables of the incidents: incidents with timeline and messages, the account's policy, webhook deliveries, monitor runs."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, LargeBinary, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from ..db import Base, enum_column, partial_index

# Why the last alert was not sent, as stored.
NO_PLATFORM = "The alert could not be mailed: this portal has no sender of its own."
SWITCHED_OFF = "No alert was sent: alerts are switched off."
TOO_MANY = "No alert was sent: twenty were sent today."


class IncidentKind(StrEnum):
    """The kind of an incident."""

    SENDING = "sending"  # the server refused, or could not be reached
    RECIPIENTS = "recipients"  # the server refused very many addresses for the same reason
    DEADLINE = "deadline"  # sending works, but fails from a known day on
    DOMAIN = "domain"  # the DNS records of the sending domain became worse
    WORKER = "worker"  # no worker was running
    SIGN_UPS = "sign-ups"  # a limit of the sign-up form took effect
    BOUNCES = "bounces"  # too many bounces or complaints, or a receiver that blocks
    MAILBOX = "mailbox"  # the mailbox for bounces cannot be read


class EndReason(StrEnum):
    """Why an incident was closed. Empty while it is open."""

    OPEN = ""
    FLOWS = "flows"  # the server accepted an email again
    PROVED = "proved"  # a login probe succeeded
    REPLACED = "replaced"  # other settings became live and work
    OVER = "over"  # the failure did not return in time
    DECIDED = "decided"  # the owner decided what happens
    READABLE = "readable"  # the mailbox for bounces is read again
    REMOVED = "removed"  # the owner removed the mailbox for bounces


class TimelineKind(StrEnum):
    """The kind of a timeline entry."""

    OPENED = "opened"
    REOPENED = "reopened"
    ENDED = "ended"
    ALERTED = "alerted"
    NOT_ALERTED = "not-alerted"
    FAILOVER = "failover"  # emails leave through the platform's server
    FAILBACK = "failback"
    STOPPED = "stopped"  # automatic retries ended, by the owner's policy
    RELEASED = "released"
    DISCARDED = "discarded"


class Incident(Base):
    """Failures of one account with one cause at one server. At most one incident of these three is open."""

    __tablename__ = "incident"
    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"))
    kind: Mapped[IncidentKind] = mapped_column(enum_column(IncidentKind))
    cause: Mapped[str] = mapped_column(String(80))  # the code of the diagnosis
    server: Mapped[str] = mapped_column(String(260), default="")  # host:port
    version_number: Mapped[int | None]  # of the settings that failed; NULL: the platform's sender
    is_open: Mapped[bool] = mapped_column(default=True)
    diagnosis: Mapped[dict[str, Any]] = mapped_column(JSON)  # cause, whose move, fixes
    stage: Mapped[str] = mapped_column(String(12), default="")  # that the last attempt reached
    blocks_queue: Mapped[bool] = mapped_column(default=False)  # the settings are at fault, so no email leaves
    last_reply: Mapped[str] = mapped_column(String(500), default="")  # of the server
    reply_code: Mapped[int | None]
    opened_at: Mapped[datetime]
    episode_started_at: Mapped[datetime]  # of the present episode; a reopened incident has several
    last_seen_at: Mapped[datetime]
    closed_at: Mapped[datetime | None]
    ended: Mapped[EndReason] = mapped_column(enum_column(EndReason), default=EndReason.OPEN)
    episodes: Mapped[int] = mapped_column(default=1)
    attempts: Mapped[int] = mapped_column(default=0)
    messages: Mapped[int] = mapped_column(default=0)  # that were tried, each counted once
    peak_waiting: Mapped[int] = mapped_column(default=0)  # the highest number of waiting emails
    alert_at: Mapped[
        datetime | None
    ]  # when the start is due to be announced; NULL: announced, or closed before
    recovery_at: Mapped[datetime | None]  # when the end is due to be announced
    alerted_at: Mapped[datetime | None]  # set while the start is announced and the end is not
    alert_count: Mapped[int] = mapped_column(default=0)  # how often the start was announced
    alert_note: Mapped[str] = mapped_column(String(200), default="")  # why the last alert was not sent
    __table_args__ = (
        # Enforces one open incident for each account, cause and server.
        partial_index(text("is_open"), "uq_incident_open", "account_id", "cause", "server", unique=True),
        Index("ix_incident_list", "account_id", "id"),
        Index("ix_incident_alert_at", "alert_at"),
        Index("ix_incident_recovery_at", "recovery_at"),
    )


class IncidentMessage(Base):
    """A message that failed during an incident, stored once for all its attempts."""

    __tablename__ = "incident_message"
    incident_id: Mapped[int] = mapped_column(ForeignKey("incident.id"), primary_key=True)
    message_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)


class IncidentEvent(Base):
    """An entry of an incident's timeline."""

    __tablename__ = "incident_event"
    id: Mapped[int] = mapped_column(primary_key=True)
    incident_id: Mapped[int] = mapped_column(ForeignKey("incident.id"), index=True)
    at: Mapped[datetime]
    kind: Mapped[TimelineKind] = mapped_column(enum_column(TimelineKind))
    text: Mapped[str] = mapped_column(String(300), default="")


class OnFailure(StrEnum):
    """What happens to an account's emails when its own server fails."""

    WAIT = "wait"  # for the server, with retries
    PLATFORM = "platform"  # failover to the platform's server after some minutes
    STOP = "stop"  # no retries until the owner releases the queue


class IncidentPolicy(Base):
    """An account's alerts and failure policy. Without a row: alerts by email, and retries."""

    __tablename__ = "incident_policy"
    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"), unique=True)
    email_alerts: Mapped[bool] = mapped_column(default=True)
    webhook_enabled: Mapped[bool] = mapped_column(default=False)
    webhook_url: Mapped[str] = mapped_column(String(500), default="")
    # Whether events about messages and affiliates are posted, besides those about incidents.
    message_events: Mapped[bool] = mapped_column(default=False)
    sealed_secret: Mapped[bytes | None] = mapped_column(LargeBinary)  # signs the webhook requests
    on_failure: Mapped[OnFailure] = mapped_column(enum_column(OnFailure), default=OnFailure.WAIT)
    after_minutes: Mapped[int] = mapped_column(default=30)


class WebhookState(StrEnum):
    """The state of a webhook delivery."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    FAILED = "failed"


class WebhookDelivery(Base):
    """One event to be posted to the owner's address. Every attempt posts the same body."""

    __tablename__ = "webhook_delivery"
    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"))
    key: Mapped[str] = mapped_column(String(80))  # an event with the same key is not enqueued again
    event: Mapped[str] = mapped_column(String(40))
    body: Mapped[str] = mapped_column(Text)
    state: Mapped[WebhookState] = mapped_column(enum_column(WebhookState), default=WebhookState.WAITING)
    attempts: Mapped[int] = mapped_column(default=0)
    status_code: Mapped[int | None]  # the only part of the response that is stored
    problem: Mapped[str] = mapped_column(String(200), default="")
    created_at: Mapped[datetime]
    next_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    lease_until: Mapped[datetime | None]
    __table_args__ = (
        UniqueConstraint("account_id", "key"),
        Index("ix_webhook_delivery_due", "state", "next_at"),
        Index("ix_webhook_delivery_list", "account_id", "id"),
    )


class MonitorRun(Base):
    """The time of the monitor's last run, in one row. A gap means that no worker was running."""

    __tablename__ = "monitor_run"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    ran_at: Mapped[datetime]
