"""The sending status in one or two words each, for tables of accounts; ``docs/api.md`` describes the codes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask_babel import lazy_gettext as _

from .model import Code

if TYPE_CHECKING:
    from collections.abc import Mapping

CODE_LABELS: Mapping[Code, str] = {
    Code.ACCOUNT_SUSPENDED: _("Account suspended"),
    Code.ACCOUNT_WAITING: _("Not approved"),
    Code.NO_SENDER: _("No sender"),
    Code.SETTINGS_UNUSABLE: _("Settings unusable"),
    Code.ON_HOLD: _("On hold"),
    Code.NO_WORKER: _("No worker"),
    Code.FAILOVER: _("Platform for now"),
    Code.SERVER_FAILING: _("Server fails"),
    Code.PLATFORM: _("Platform"),
    Code.PRACTICE: _("Rehearsal"),
    Code.CONNECTION_UNPROVEN: _("Not tested"),
    Code.FROM_REPLACED: _("From replaced"),
    Code.FROM_REFUTED: _("From not verified"),
    Code.DOMAIN_REFUSED: _("Records wrong"),
    Code.DOMAIN_AT_RISK: _("Records at risk"),
    Code.DOMAIN_QUESTION: _("Records unclear"),
    Code.DOMAIN_UNKNOWN: _("Records not read"),
    Code.DOMAIN_UNCHECKED: _("Records not checked"),
    Code.FROM_UNCONFIRMED: _("From not confirmed"),
    Code.PUBLIC_MAILBOX: _("Public mailbox"),
    Code.BOUNCES: _("Bounces"),
    Code.INCIDENT: _("Incident"),
    Code.RATE_LIMITED: _("Slowed by a limit"),
    Code.OWN_DOMAIN: _("Own domain"),
}
