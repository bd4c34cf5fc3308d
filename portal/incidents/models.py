"""What went wrong for an account and for how long, whom that was told, and how its owner wants it handled."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, LargeBinary, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from ..db import Base, enum_column, partial_index


class IncidentKind(StrEnum):
    """What sort of trouble an incident is."""

    SENDING = "sending"  # a server refused, or could not be reached
    RECIPIENTS = "recipients"  # it refuses very many addresses for the same reason
    DEADLINE = "deadline"  # nothing is wrong yet, but will be on a known day
    DOMAIN = "domain"  # the sending domain's records became worse
    WORKER = "worker"  # nobody was there to send


class EndReason(StrEnum):
    """Why an incident ended. Empty while it is open."""

    OPEN = ""
    FLOWS = "flows"  # the server accepted an email again
    PROVED = "proved"  # a log-in without an email worked again
    REPLACED = "replaced"  # other settings, which work, took over
    OVER = "over"  # it ended by itself


class TimelineKind(StrEnum):
    """One line of an incident's timeline."""

    OPENED = "opened"
    REOPENED = "reopened"
    ENDED = "ended"
    ALERTED = "alerted"
    NOT_ALERTED = "not-alerted"
    DETOUR = "failover"  # emails go through the platform meanwhile
    DETOUR_ENDED = "failback"
    STOPPED = "stopped"  # the owner wants nothing tried by itself
    RELEASED = "released"
    DISCARDED = "discarded"


class Incident(Base):
    """Failures of one account with one cause at one server. At most one such is open."""

    __tablename__ = "incident"
    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"))
    kind: Mapped[IncidentKind] = mapped_column(enum_column(IncidentKind))
    cause: Mapped[str] = mapped_column(String(80))  # the diagnosis's code
    server: Mapped[str] = mapped_column(String(260), default="")  # host:port
    version_number: Mapped[int | None]  # of the settings that failed; empty: the platform's sender
    is_open: Mapped[bool] = mapped_column(default=True)
    diagnosis: Mapped[dict[str, Any]] = mapped_column(JSON)  # cause, whose move, fixes
    stage: Mapped[str] = mapped_column(String(12), default="")  # how far the last attempt came
    blocks_queue: Mapped[bool] = mapped_column(default=False)  # the settings are at fault, so all mail waits
    last_reply: Mapped[str] = mapped_column(String(500), default="")  # of the server
    reply_code: Mapped[int | None]
    opened_at: Mapped[datetime]
    episode_started_at: Mapped[datetime]  # of the present episode: it may have ended and come back
    last_seen_at: Mapped[datetime]
    closed_at: Mapped[datetime | None]
    ended: Mapped[EndReason] = mapped_column(enum_column(EndReason), default=EndReason.OPEN)
    episodes: Mapped[int] = mapped_column(default=1)
    attempts: Mapped[int] = mapped_column(default=0)
    messages: Mapped[int] = mapped_column(default=0)  # that were tried
    peak_waiting: Mapped[int] = mapped_column(default=0)  # the most that waited at one time
    alert_at: Mapped[datetime | None]  # when its beginning is to be told; empty: told, or not to be
    recovery_at: Mapped[datetime | None]  # the same of its end
    alerted_at: Mapped[datetime | None]  # its beginning was told, and its end not yet
    alert_count: Mapped[int] = mapped_column(default=0)  # how often its beginning was told
    alert_note: Mapped[str] = mapped_column(String(200), default="")  # why the alert could not be mailed
    __table_args__ = (
        # The database itself keeps one trouble from being open twice.
        partial_index(text("is_open"), "uq_incident_open", "account_id", "cause", "server", unique=True),
        Index("ix_incident_list", "account_id", "id"),
        Index("ix_incident_alert_at", "alert_at"),
        Index("ix_incident_recovery_at", "recovery_at"),
    )


class IncidentMessage(Base):
    """A message that met an incident, counted once however often it was tried."""

    __tablename__ = "incident_message"
    incident_id: Mapped[int] = mapped_column(ForeignKey("incident.id"), primary_key=True)
    message_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)


class IncidentEvent(Base):
    """A line of an incident's timeline."""

    __tablename__ = "incident_event"
    id: Mapped[int] = mapped_column(primary_key=True)
    incident_id: Mapped[int] = mapped_column(ForeignKey("incident.id"), index=True)
    at: Mapped[datetime]
    kind: Mapped[TimelineKind] = mapped_column(enum_column(TimelineKind))
    text: Mapped[str] = mapped_column(String(300), default="")


class OnFailure(StrEnum):
    """What happens to an account's emails when its own server fails."""

    WAIT = "wait"  # and try again
    PLATFORM = "platform"  # after a while they go through the platform's server
    STOP = "stop"  # until the owner says so


class IncidentPolicy(Base):
    """How an owner wants trouble handled. Without a row: alerts by email, waiting and trying again."""

    __tablename__ = "incident_policy"
    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"), unique=True)
    email_alerts: Mapped[bool] = mapped_column(default=True)
    webhook_enabled: Mapped[bool] = mapped_column(default=False)
    webhook_url: Mapped[str] = mapped_column(String(500), default="")
    sealed_secret: Mapped[bytes | None] = mapped_column(LargeBinary)  # signs what is posted to the address
    on_failure: Mapped[OnFailure] = mapped_column(enum_column(OnFailure), default=OnFailure.WAIT)
    after_minutes: Mapped[int] = mapped_column(default=30)


class WebhookState(StrEnum):
    """Where a delivery to the owner's address stands."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    FAILED = "failed"


class WebhookDelivery(Base):
    """One event to be posted to the owner's address. The same body is posted at every try."""

    __tablename__ = "webhook_delivery"
    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"))
    key: Mapped[str] = mapped_column(String(80))  # never owed twice
    event: Mapped[str] = mapped_column(String(40))
    body: Mapped[str] = mapped_column(Text)
    state: Mapped[WebhookState] = mapped_column(enum_column(WebhookState), default=WebhookState.WAITING)
    attempts: Mapped[int] = mapped_column(default=0)
    status_code: Mapped[int | None]  # all that is kept of an answer
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
    """When somebody last looked after everything; a gap means that no worker ran."""

    __tablename__ = "monitor_run"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    ran_at: Mapped[datetime]
