"""Route resolution: an account's email goes through its live version, else through the platform's sender."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, select

from ..accounts.models import Account, Owner
from ..accounts.team.contact import contact_mailboxes
from ..db import db
from ..db.prepared import PreparedStatement
from ..oauth.tokens import GrantTokens
from ..outbox.routing import NoRoute, Route, look_up
from ..smtp.network.guard import HostError, canonical_host
from ..smtp.providers import Provider, load_catalogue
from ..smtp.server import Mechanism, Secret, Security, Server
from ..state import current_config
from ..vault import DecryptionError
from . import credentials, providers
from .models import IS_LIVE, SmtpSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..config import Config, PlatformMail
    from ..outbox.routing import RouteLookup

NO_PLATFORM_SENDER: dict[str, Any] = {
    "code": "no-platform-sender",
    "kind": "network",
    "whose_move": "operator",
    "cause": "This portal has no sender of its own yet, and this programme has no live SMTP settings.",
    "fixes": ["Save your own SMTP settings, or ask the operator of this portal to set MAIL_SERVER."],
}
PASSWORD_UNREADABLE: dict[str, Any] = {
    "code": "password-not-openable",
    "kind": "credentials",
    "whose_move": "owner",
    "field": "password",
    "cause": "The portal cannot decrypt the saved SMTP password with its current key.",
    "fixes": ["Enter the SMTP password again and save. The operator of this portal may have changed a key."],
}


_LIVE_VERSION = PreparedStatement(
    select(SmtpSettings.__table__.c.id, SmtpSettings.__table__.c.failover_since).where(
        SmtpSettings.__table__.c.account_id == bindparam("account"),
        IS_LIVE,
    )
)

_REPLIES = PreparedStatement(
    select(
        *(SmtpSettings.__table__.c[name] for name in ("reply_to", "wrapped_user", "domain", "username"))
    ).where(
        SmtpSettings.__table__.c.account_id == bindparam("account"),
        IS_LIVE,
        SmtpSettings.__table__.c.failover_since.is_(None),
    )
)
_CONTACT_MAILBOX = PreparedStatement(
    select(Owner.__table__.c.mailbox).where(
        Account.__table__.c.id == bindparam("account"),
        Owner.__table__.c.id == Account.__table__.c.contact_id,
        Account.__table__.c.approved_at.is_not(None),
    )
)


def live_version(account_id: int) -> SmtpSettings | None:
    """Return the live version of an account, if it has one."""
    query = select(SmtpSettings).where(SmtpSettings.account_id == account_id, IS_LIVE)
    return db.session.scalar(query)


def has_live_version(account_id: int) -> bool:
    """Return whether an account's own settings are live. Also works within a raw transaction."""
    return _LIVE_VERSION.first(account=account_id) is not None


def sends_by_own_server(account_id: int) -> bool:
    """Return whether an account's emails go through its own live settings, and not through the platform's sender.

    Also works within a raw transaction.
    """
    live = _LIVE_VERSION.first(account=account_id)
    return live is not None and live[1] is None


def reply_mailbox(account_id: int) -> str:
    """Return the mailbox that answers to an account's emails go to; empty if perhaps no person reads them.

    The From address of own settings counts only if it is the mailbox of the log-in: others often have none. Also works
    within a raw transaction.
    """
    live = _REPLIES.first(account=account_id)
    if live is None:
        return _contact_mailbox(account_id)
    reply_to, wrapped_user, domain, username = map(str, live)
    sender = f"{wrapped_user}@{domain}"
    return reply_to or (sender if sender.lower() == username.lower() else "")


def _contact_mailbox(account_id: int) -> str:
    """Return the mailbox of an account's contact; empty until an operator has approved the account."""
    return str(_CONTACT_MAILBOX.scalar(account=account_id) or "")


def route_for(account_id: int | None, version_id: int | None = None) -> Route:
    """Return the route for an account, or through one of its versions. Raises NoRoute.

    ``account_id`` None is the portal's own email, which never goes through an account's server.
    """
    if account_id is None:
        return platform_route(None)
    if version_id is None:
        version = live_version(account_id)
        if version is None or version.failover_since is not None:  # failover, as configured by the owner
            return platform_route(account_id)
        return version_route(version)
    found = db.session.scalar(
        select(SmtpSettings).where(SmtpSettings.id == version_id, SmtpSettings.account_id == account_id)
    )
    if found is None:
        raise NoRoute(NO_PLATFORM_SENDER)
    return version_route(found)


def find_routes(live: Mapping[Account, SmtpSettings | None]) -> dict[int, RouteLookup]:
    """Look up the present routes of several accounts, with the live version of each, by account id."""
    own = {one.id: version for one, version in live.items() if version and version.failover_since is None}
    others = [one for one in live if one.id not in own]
    mailboxes = contact_mailboxes([one.id for one in others if one.approved_at is not None])
    found = {id_: look_up(partial(version_route, version)) for id_, version in own.items()}
    return found | {
        one.id: look_up(partial(_platform_route_of, one, mailboxes.get(one.id, ""))) for one in others
    }


def version_route(version: SmtpSettings) -> Route:
    """Return the route through one version. Raises NoRoute if its password cannot be opened."""
    account = db.session.get_one(Account, version.account_id)
    try:
        password = credentials.open_password(version)
    except DecryptionError:
        raise NoRoute(PASSWORD_UNREADABLE) from None
    mechanism, provider = Mechanism(version.mechanism), _recognised_provider(version)
    preset = provider.messages_per_connection if provider else None
    logs_in = mechanism is not Mechanism.NONE
    server = Server(
        host=version.host,
        port=version.port,
        security=Security(version.security),
        username=version.username if logs_in else None,
        password=Secret(password) if logs_in and version.grant_id is None else None,
        tokens=GrantTokens(version.grant_id) if logs_in and version.grant_id is not None else None,
        mechanism=mechanism,
        ehlo_name=version.ehlo_name or current_config().ehlo_name,
        policy=current_config().policy,
        limits=replace(current_config().limits, final_reply=float(version.reply_seconds or 0)),
    )
    return Route(
        server=server,
        sender=version.sender,
        envelope_sender=version.envelope_sender,
        headers=tuple((name, value) for name, value in version.headers),
        messages_per_connection=version.messages_per_connection or preset,
        display_name=version.from_name or account.name,
        reply_to=version.reply_to or None,
        version_number=version.number,
        provider=provider,
    )


def _recognised_provider(version: SmtpSettings) -> Provider | None:
    """Return the provider if it is known. The cards of the rehearsal server limit it to one connection."""
    if version.provider in providers.REHEARSALS and current_config().rehearsal:
        return providers.by_id(version.provider)
    return load_catalogue().by_host(version.host)


def platform_route(account_id: int | None) -> Route:
    """Return the route through the platform's sender: From ``programme via Signet``, Reply-To the owner. Raises NoRoute.

    Until an operator has approved the account, its mail has the name ``Signet`` and no Reply-To: what a visitor entered as a
    name would otherwise appear in the inbox of strangers, and their answers would go to that visitor.
    """
    if account_id is None:
        return _platform_route_of(None, "")
    account = db.session.get_one(Account, account_id)
    return _platform_route_of(account, "" if account.approved_at is None else _contact_mailbox(account_id))


def _platform_route_of(account: Account | None, owner_mailbox: str) -> Route:
    platform = current_config().platform
    if not platform.server:
        raise NoRoute(NO_PLATFORM_SENDER)
    name, reply_to = "Signet", None
    if account is not None and account.approved_at is not None:
        name, reply_to = f"{account.name} via Signet", owner_mailbox
    server = _platform_server(current_config(), platform)
    return Route(
        server=server,
        sender=platform.sender,
        display_name=name,
        reply_to=reply_to,
        is_screened=account is not None,
    )


def _platform_server(config: Config, platform: PlatformMail) -> Server:
    security = Security.PLAINTEXT
    if platform.use_ssl:
        security = Security.IMPLICIT_TLS
    elif platform.use_tls:
        security = Security.STARTTLS
    try:
        host = canonical_host(platform.server)
    except HostError:
        raise NoRoute(NO_PLATFORM_SENDER) from None
    return Server(
        host=host,
        port=platform.port,
        security=security,
        username=platform.username,
        password=Secret(platform.password or "") if platform.username else None,
        ehlo_name=config.ehlo_name,
        policy=config.platform_policy,
        limits=config.limits,
    )
