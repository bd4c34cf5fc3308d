"""The security log: one JSON object a line for each event that an intrusion detection reads, written on request.

``SIGNET_SECURITY_LOG`` names a file or ``stderr``; without it nothing is written. docs/security.md describes the events
and fields. A line holds ids, networks and names of limits, never a password, token, link, mailbox or text that a visitor
typed: a password is sometimes typed into the field of the mailbox.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import click
from flask import g, has_request_context, request
from flask_login import current_user

from .clock import utcnow
from .state import current_config
from .web.requests import network_of

if TYPE_CHECKING:
    from pathlib import Path

_log = logging.getLogger(__name__)
STDERR = "stderr"


class SecurityEvent(StrEnum):
    """What happened. The values are published in docs/security.md and stay the same."""

    LOG_IN = "log-in"
    LOG_IN_FAILED = "log-in-failed"
    LOG_IN_LOCKED = "log-in-locked"
    PROVED = "proved"
    PASSWORD_CHANGED = "password-changed"
    MAILBOX_CHANGE_ASKED = "mailbox-change-asked"
    MAILBOX_CHANGED = "mailbox-changed"
    MAILBOX_RESTORED = "mailbox-restored"
    RESET_REQUESTED = "reset-requested"
    RESET_LINK_MADE = "reset-link-made"
    PASSWORD_RESET = "password-reset"
    FACTOR_CHANGED = "factor-changed"
    FACTOR_DEMANDED = "factor-demanded"
    INVITED = "invited"
    JOINED = "joined"
    ROLE_CHANGED = "role-changed"
    MEMBER_REMOVED = "member-removed"
    REGISTERED = "registered"
    ACCOUNT_APPROVED = "account-approved"
    ACCOUNT_SUSPENDED = "account-suspended"
    ACCOUNT_RESUMED = "account-resumed"
    OPERATOR_PROMOTED = "operator-promoted"
    OPERATOR_DEMOTED = "operator-demoted"
    TOKEN_CREATED = "token-created"
    TOKEN_REVOKED = "token-revoked"
    TOKEN_REFUSED = "token-refused"
    SETTINGS_SAVED = "settings-saved"
    SETTINGS_LIVE = "settings-live"
    SETTINGS_STOPPED = "settings-stopped"
    WEBHOOK_SAVED = "webhook-saved"
    WEBHOOK_REMOVED = "webhook-removed"
    BOUNCE_MAILBOX_SAVED = "bounce-mailbox-saved"
    BOUNCE_MAILBOX_REMOVED = "bounce-mailbox-removed"
    TARGET_REFUSED = "target-refused"


def record(
    event: SecurityEvent, *, account: int | None = None, owner: int | None = None, **more: str | int | None
) -> None:
    """Write one event. Never raises. Call it after the commit of what it reports.

    ``account`` is the account concerned and ``owner`` the owner who acted, both by id; where they are left out, those of
    the logged-in owner count, if the page has asked who that is. ``more`` are the event's own fields, never a secret and
    nothing that a visitor typed.
    """
    target = current_config().security_log
    if not target:
        return
    account_of_user, user = _logged_in()
    entry: dict[str, Any] = {
        "time": utcnow().isoformat(timespec="milliseconds"),
        "event": event.value,
        "account": account if account is not None else account_of_user,
        "owner": owner if owner is not None else user,
        "network": network_of(request) if has_request_context() else None,
        "source": _source(),
        **more,
    }
    line = json.dumps(entry) + "\n"
    try:
        _write(target, line)
    except OSError as error:
        _log.error("cannot write the security log: %s", error.strerror)


def _logged_in() -> tuple[int | None, int | None]:
    """Return account and owner of the log-in that this request has read already, so that no query follows the commit."""
    if not has_request_context() or "_login_user" not in g or not current_user.is_authenticated:
        return None, None
    return current_user.account_id, current_user.id


def _source() -> str:
    if has_request_context():
        return "web"
    context = click.get_current_context(silent=True)
    return "worker" if context is None or context.info_name == "worker" else "command"


def _write(target: Path | str, line: str) -> None:
    """Append a line. The file is opened each time, so that logrotate may move it at any moment."""
    if target == STDERR:
        sys.stderr.write(line)
        sys.stderr.flush()
        return
    file = os.open(target, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.write(file, line.encode())
    finally:
        os.close(file)
