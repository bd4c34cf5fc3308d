"""Distinguishes people from programs, and first visits of a day from repeated ones, without storing who visited.

What is known of a visitor is a hash in this process's memory, keyed with a secret that is replaced and forgotten with all
its hashes when the day (UTC) ends. Limits: another process, or the same one after a restart, counts a person once more;
so it does beyond a hundred thousand visitors of one day.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from datetime import UTC, datetime, time, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING

import crawleruseragents

from ..clock import utcnow

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date
    from typing import Any

_MAX_VISITORS = 100_000
_HASH_BYTES = 8
_USER_AGENT_LIMIT_CHARS = 500
# The request headers by which browsers announce that no person looks at the page yet, as WSGI names them.
_PURPOSES = ("HTTP_SEC_PURPOSE", "HTTP_PURPOSE", "HTTP_X_PURPOSE", "HTTP_X_MOZ")
_AHEAD = ("prefetch", "prerender", "preview")


def is_person(environ: Mapping[str, Any]) -> bool:
    """Return whether a request for a short link is a person's who opens it, by the method and headers it has."""
    if environ.get("REQUEST_METHOD") != "GET":
        return False
    # Fetch Metadata: an image, a frame or a script that embeds the link opens no page.
    is_page = environ.get("HTTP_SEC_FETCH_DEST", "document") == "document"
    return is_page and sends_as_browser(environ)


def sends_as_browser(environ: Mapping[str, Any]) -> bool:
    """Return whether a request comes from a browser that shows the page now, not from a bot or ahead of time."""
    purposes = " ".join(str(environ.get(name, "")) for name in _PURPOSES).lower()
    if any(word in purposes for word in _AHEAD):
        return False
    return not _is_program(str(environ.get("HTTP_USER_AGENT", ""))[:_USER_AGENT_LIMIT_CHARS])


@lru_cache(maxsize=4096)
def _is_program(user_agent: str) -> bool:
    """Return whether a user agent is a bot, a fetcher of previews or a command. A browser without a window is none."""
    shown = user_agent.replace("HeadlessChrome", "Chrome")
    return not shown.strip() or bool(crawleruseragents.is_crawler(shown))


class TodaysVisitors:
    """The visitors of the present day, as hashes. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._day: date | None = None
        self._secret = b""
        self._seen: set[bytes] = set()

    def is_new(self, affiliate_id: int, environ: Mapping[str, Any], day: date) -> bool:
        """Return whether this visitor comes through this affiliate's link for the first time today, and note it."""
        who = f"{affiliate_id}\n{environ.get('REMOTE_ADDR', '')}\n{environ.get('HTTP_USER_AGENT', '')}"
        with self._lock:
            if day != self._day:
                self._begin(day)
            hashed = hashlib.blake2b(
                who.encode("utf-8", "replace"), key=self._secret, digest_size=_HASH_BYTES
            ).digest()
            if hashed in self._seen:
                return False
            if len(self._seen) < _MAX_VISITORS:
                self._seen.add(hashed)
            return True

    def _begin(self, day: date) -> None:
        """Start a day with a secret of its own, and forget both when it ends, also if no further visitor comes."""
        self._day, self._secret, self._seen = day, secrets.token_bytes(32), set()
        end = datetime.combine(day + timedelta(days=1), time(), UTC)
        timer = threading.Timer(max(0.0, (end - utcnow()).total_seconds()), self._forget, (day,))
        timer.daemon = True
        timer.start()

    def _forget(self, day: date) -> None:
        with self._lock:
            if self._day == day:
                self._day, self._secret, self._seen = None, b"", set()
