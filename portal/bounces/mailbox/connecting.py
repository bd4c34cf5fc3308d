"""Connects the mailbox for bounces without a password, by a grant of its own: the grant for sending is never widened.

Sources: learn.microsoft.com, "Authenticate an IMAP, POP or SMTP connection using OAuth" and "POP, IMAP, and SMTP settings for
Outlook.com"; developers.google.com, "IMAP for Gmail" and "OAuth 2.0 mechanism", whose scope
https://mail.google.com/ is that of IMAP and SMTP alike.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...db import read_write
from ...oauth import consent, grants, issuers
from ...oauth.models import Purpose
from ...settings.connecting import connect
from ...smtp.server import Security
from ...state import current_config
from ...web import owner_limits
from . import saving
from .saving import MailboxInput

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from ...accounts.sessions import LoggedIn
    from ...oauth.consent import ConsentRequest
    from ...oauth.grants import AppOnly
    from ...oauth.models import OAuthGrant

_HOSTS = {
    issuers.MICROSOFT: "outlook.office365.com",
    issuers.GOOGLE: "imap.gmail.com",
    issuers.REHEARSAL: "localhost",
}
_PORT = 993


def ways() -> list[tuple[str, str]]:
    """Return id and name of each provider whose mailboxes can be read by consent."""
    ids = [id_.removeprefix(issuers.READ_PREFIX) for id_ in issuers.available_ways(Purpose.READ)]
    return [(id_, connect.CONSENT_LABELS[id_]) for id_ in ids]


def way_of(grant: OAuthGrant) -> str:
    """Return the id of the provider by whose consent a grant was made."""
    return issuers.way_of(grant).id.removeprefix(issuers.READ_PREFIX)


def begin(login: LoggedIn, asked: ConsentRequest, *, now: datetime) -> str:
    """Return the address at which the owner consents. Commits. Raises owner_limits.LimitReached."""
    owner_limits.count(saving.READ_LIMIT, login.account_id, now=now)
    return consent.begin(login, asked, now=now)


def finish(login: LoggedIn, issuer: str, answer: Mapping[str, str], *, now: datetime) -> None:
    """Redeem the answer of a consent, save its mailbox, and read it at once. Commits.

    It writes although the issuer sends the browser back with GET. Raises what ``consent.finish`` raises.
    """
    with read_write():
        _save(consent.finish(login, issuer, answer, now=now), login.name, now)


def connect_app(login: LoggedIn, values: AppOnly, *, now: datetime) -> None:
    """Save a mailbox that is read by Microsoft's client credentials, and read it at once. Commits.

    Raises InvalidSettings and owner_limits.LimitReached.
    """
    valid = connect.valid_app_only(values, now=now)
    owner_limits.count(saving.READ_LIMIT, login.account_id, now=now)
    _save(grants.new_app_only(login.account_id, valid, Purpose.READ), login.name, now)


def connect_service_account(login: LoggedIn, mailbox: str, key: str, *, now: datetime) -> None:
    """Save a mailbox that is read by Google's domain-wide delegation, and read it at once. Commits.

    Raises InvalidSettings and owner_limits.LimitReached.
    """
    valid = connect.valid_key(key)
    owner_limits.count(saving.READ_LIMIT, login.account_id, now=now)
    grant = grants.new_service_account(login.account_id, valid, mailbox=mailbox, purpose=Purpose.READ)
    _save(grant, login.name, now)


def _save(grant: OAuthGrant, by: str, now: datetime) -> None:
    host = _HOSTS[grant.issuer]
    port = current_config().rehearsal_imap_port if grant.issuer == issuers.REHEARSAL else _PORT
    values = MailboxInput(host, port, Security.IMPLICIT_TLS.value, grant.mailbox, "INBOX")
    saving.save_connected(grant, values, by, now=now)
