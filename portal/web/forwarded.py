"""Notes requests that came through a proxy which the configuration does not count (SIGNET_TRUSTED_PROXIES is 0).

All visitors then have the proxy's address and share its rate limits, while every page looks right. The first such request of a
process is logged; the time of the latest one is that of a file in instance/, which ``flask doctor`` reads.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from flask import Flask, request

from ..clock import utcnow
from ..state import get_state

if TYPE_CHECKING:
    from pathlib import Path

    from ..config import Config

_log = logging.getLogger(__name__)
_FILE = "forwarded_seen"
_HEADERS = ("X-Forwarded-For", "Forwarded")
_NOTE_EVERY = timedelta(minutes=1)


@dataclass
class _Noted:
    """When this process last noted such a request."""

    at: datetime | None = None


def install(app: Flask) -> None:
    """Watch the requests of a portal without trusted proxies; with them, nothing is done."""
    if get_state(app).config.trusted_proxies == 0:
        app.before_request(_note)


def last_seen(config: Config) -> datetime | None:
    """Return when a forwarded request last reached a portal of this instance folder, or None."""
    try:
        return datetime.fromtimestamp(_path(config).stat().st_mtime, UTC)
    except OSError:
        return None


def _note() -> None:
    if not any(name in request.headers for name in _HEADERS):
        return
    noted, now = get_state().part(_Noted), utcnow()
    if noted.at is None:
        _log.warning(
            "a request arrived with %s, but SIGNET_TRUSTED_PROXIES is 0: behind a proxy, all visitors share its address "
            "and its limits. Set SIGNET_TRUSTED_PROXIES to the number of proxies.",
            " or ".join(name for name in _HEADERS if name in request.headers),
        )
    if noted.at is None or not timedelta(0) <= now - noted.at < _NOTE_EVERY:
        noted.at = now
        with suppress(OSError):  # a folder that cannot be written to is reported by other checks
            _path(get_state().config).touch(mode=0o600)


def _path(config: Config) -> Path:
    return config.instance / _FILE
