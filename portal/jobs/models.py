"""Tables of the worker heartbeats and of refused rows of the job store."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import JSON, String
from sqlalchemy.orm import Mapped, mapped_column

from ..db import Base


class WorkerHeartbeat(Base):
    """The last heartbeat of one worker process."""

    __tablename__ = "worker_heartbeat"
    name: Mapped[str] = mapped_column(String(120), primary_key=True)  # host:pid
    host: Mapped[str] = mapped_column(String(100), default="")
    pid: Mapped[int] = mapped_column(default=0)
    version: Mapped[str] = mapped_column(String(40), default="")  # of the portal it runs
    threads: Mapped[int] = mapped_column(default=0)
    queues: Mapped[str] = mapped_column(String(100), default="")  # that it serves, separated by spaces
    key_ids: Mapped[list[str]] = mapped_column(JSON, default=list)  # of the keys it can open, never the keys
    started_at: Mapped[datetime]
    seen_at: Mapped[datetime]


class RefusedRow(Base):
    """A row of the job store that was no job, without anything of its content."""

    __tablename__ = "refused_job"
    id: Mapped[int] = mapped_column(primary_key=True)
    queue: Mapped[str] = mapped_column(String(40))
    reason: Mapped[str] = mapped_column(String(100))
    worker: Mapped[str] = mapped_column(String(120))  # host:pid of the process that read it
    refused_at: Mapped[datetime]
