"""Connections without a password: make a grant and the version that uses it, and disconnect."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from flask_babel import gettext as _

from ... import audit
from ...db import db, read_write
from ...oauth import consent, grants, issuers
from ...oauth.consent import ConsentRequest
from ...oauth.exchange import is_guid
from ...oauth.models import Flow, OAuthGrant
from ...oauth.service_account import InvalidKey, read_key
from ...smtp.network.guard import HostError, canonical_host
from ...smtp.server import Mechanism
from .. import providers, routing, validation, versions
from ..checking import check_requests
from ..models import SmtpSettings, VersionState
from ..validation import InvalidSettings, SettingsInput
from . import used_grants

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date, datetime

    from ...accounts.models import Owner
    from ...accounts.sessions import LoggedIn
    from ...oauth.grants import AppOnly
    from ...oauth.service_account import ServiceAccountKey

_CARDS = {issuers.MICROSOFT: "microsoft365", issuers.GOOGLE: "gmail"}  # of the ways without a person
CONSENT_LABELS = {
    "microsoft": "Microsoft 365",
    "outlook-com": "Outlook.com",
    "google": "Google",
    "rehearsal": "Rehearsal",
}
_SHARED_TENANTS = {"common", "organizations", "consumers"}  # they have no app-only tokens (AADSTS9001023)


@dataclass(frozen=True)
class OwnClient:
    """A client that the owner registered, as it was entered."""

    id: str
    secret: str = field(repr=False)
    secret_expires_on: date | None = None


@dataclass(frozen=True)
class ConnectionView:
    """A grant as the pages show it; it holds no secret."""

    id: int
    way: str  # id of the page that connects again
    issuer: str
    mailbox: str
    client: str
    tenant: str
    made_by: str
    created_at: datetime
    refreshed_at: datetime | None
    secret_expires_on: date | None
    ended: bool


def connect_microsoft(owner: Owner, values: AppOnly, *, now: datetime) -> SmtpSettings:
    """Save a grant by client credentials with a version that uses it, and request its check. Commits.

    The formats of mailbox and date are checked, the other values are only stripped. Raises InvalidSettings.
    """
    return _save(owner, grants.new_app_only(owner.account_id, valid_app_only(values, now=now)), now)


def valid_app_only(values: AppOnly, *, now: datetime) -> AppOnly:
    """Return the values with a canonical tenant and client id. Raises InvalidSettings."""
    errors: dict[str, str] = {}
    tenant = _tenant(values.tenant, errors)
    if not is_guid(values.client_id):
        errors["client_id"] = _("Enter the Application (client) ID: 32 digits and letters with four hyphens.")
    if is_guid(values.client_secret):
        errors["client_secret"] = _("This is the Secret ID. Enter the Value beside it.")
    if values.secret_expires_on is not None and values.secret_expires_on < now.date():
        errors["secret_expires_on"] = _(
            "This date has passed, so the secret no longer works. Create a new one."
        )
    if errors:
        raise InvalidSettings(errors)
    return replace(values, tenant=tenant, client_id=values.client_id.lower())


def connect_google(owner: Owner, mailbox: str, key: str, *, now: datetime) -> SmtpSettings:
    """Save a grant by a service account with a version that uses it, and request its check. Commits.

    Raises InvalidSettings.
    """
    return _save(owner, grants.new_service_account(owner.account_id, valid_key(key), mailbox=mailbox), now)


def valid_key(text: str) -> ServiceAccountKey:
    """Return the key of a service account's JSON file. Raises InvalidSettings."""
    try:
        return read_key(text)
    except InvalidKey as error:
        raise InvalidSettings({"key": str(error)}) from None


def consent_ways() -> list[tuple[str, str]]:
    """Return id and name of each provider that can be connected by consent."""
    return [(way, CONSENT_LABELS[way]) for way in issuers.available_ways()]


def consent_request(
    way: str, *, mailbox: str, tenant: str, client: OwnClient, is_shared: bool
) -> ConsentRequest:
    """Return what the owner is asked to consent to. Raises InvalidSettings.

    Args:
        client: id and secret both empty: the operator's client.
    """
    chosen, errors = issuers.WAYS[way], {}
    client_id, client_secret = client.id, client.secret
    operators = issuers.operators_client(chosen.issuer)
    if operators is not None and not client_id and not client_secret:
        client_id = operators.id
    elif chosen.issuer == issuers.MICROSOFT and not is_guid(client_id):
        errors["client_id"] = _("Enter the Application (client) ID: 32 digits and letters with four hyphens.")
    elif not client_id or not client_id.isascii() or " " in client_id:
        errors["client_id"] = _("Enter the client ID, such as 1234-abc.apps.googleusercontent.com.")
    if operators is None or client_id != operators.id:
        if not client_secret:
            errors["client_secret"] = _("Enter the client secret.")
        elif is_guid(client_secret):
            errors["client_secret"] = _("This is the Secret ID. Enter the Value beside it.")
    shared = is_shared and chosen.is_organisations
    directory = _tenant(tenant, errors) if tenant and chosen.is_organisations else chosen.tenant
    if errors:
        raise InvalidSettings(errors)
    return ConsentRequest(way, mailbox, directory, client_id, client_secret, shared, client.secret_expires_on)


def begin_consent(owner: Owner, login: LoggedIn, asked: ConsentRequest, *, now: datetime) -> str:
    """Return the address at which the owner consents. Commits.

    The check that follows the consent is counted here, so that its limit is met before the owner consents. It limits the
    attempts, too. Raises check_requests.CheckLimitReached.
    """
    check_requests.count_check(owner.account_id, now=now)
    return consent.begin(login, asked, now=now)


def finish_consent(
    owner: Owner, login: LoggedIn, issuer: str, answer: Mapping[str, str], *, now: datetime
) -> SmtpSettings:
    """Redeem the answer of a consent, save its grant with a version that uses it, and request its check. Commits.

    It writes although the issuer sends the browser back with GET. Raises InvalidSettings and what ``consent.finish`` raises.
    """
    with read_write():
        return _save(owner, consent.finish(login, issuer, answer, now=now), now, is_counted=True)


def disconnect(owner: Owner, grant: OAuthGrant, *, now: datetime) -> None:
    """Delete the secrets of a grant and end its checks. If it was the live version's, the platform's sender takes over. Commits.

    The earlier grants that it replaced are ended with it, except those of the live version and of drafts. Google's consent
    is revoked there, too, unless another grant depends on it.
    """
    ended = [*grants.earlier(grant, used_grants.grants_in_use(owner.account_id)), grant]
    check_requests.stop_checks_by_grants(owner.account_id, [one.id for one in ended], now=now)
    versions.lock_account(owner.account_id)
    for other in ended[:-1]:
        grants.end(other, now=now)
    token = grants.token_to_revoke(grant)
    grants.end(grant, now=now)
    target = audit.AuditTarget("mailbox", grant.id, grant.mailbox)
    audit.record(audit.Activity.MAILBOX_DISCONNECTED, owner.account_id, target=target)
    live = routing.live_version(owner.account_id)
    if live is not None and live.grant_id == grant.id:
        versions.stop_using(owner.account_id, now=now)
    else:
        db.session.commit()
    if token:
        grants.revoke(token)


def view(grant: OAuthGrant) -> ConnectionView:
    """Return a grant as the pages show it."""
    ways = {Flow.APP_ONLY: "microsoft-365", Flow.SERVICE_ACCOUNT: "google-workspace"}
    way = ways.get(grant.flow) or f"consent:{issuers.way_of(grant).id}"
    return ConnectionView(
        id=grant.id,
        way=way,
        issuer=issuers.issuer_of(grant).name,
        mailbox=grant.mailbox,
        client=grant.client_id,
        tenant=grant.tenant,
        made_by=grant.made_by,
        created_at=grant.created_at,
        refreshed_at=grant.refreshed_at,
        secret_expires_on=grant.secret_expires_on,
        ended=grant.ended_at is not None,
    )


def present_connection(account_id: int) -> ConnectionView | None:
    """Return the connection of the live version, else of the newest one, if it logs in without a password."""
    version = routing.live_version(account_id) or versions.newest(account_id)
    newest = versions.newest(account_id)
    if newest is not None and newest.grant_id is not None and (version is None or version.grant_id is None):
        version = newest
    if version is None or version.grant_id is None:
        return None
    grant = grants.find(account_id, version.grant_id)
    return view(grant) if grant is not None else None


def _tenant(text: str, errors: dict[str, str]) -> str:
    """Return the tenant as it goes into the path of the address: an id or a domain, in lower case."""
    if is_guid(text):
        return text.lower()
    try:
        name = canonical_host(text)
    except HostError:
        name = ""
    if "." not in name or text.lower() in _SHARED_TENANTS or name.replace(".", "").isdigit():
        errors["tenant"] = _(
            "Enter the Directory (tenant) ID, 32 digits and letters with four hyphens, or a domain of your "
            "organisation such as example.com."
        )
        return ""
    return name


def _save(owner: Owner, grant: OAuthGrant, now: datetime, *, is_counted: bool = False) -> SmtpSettings:
    version = validation.validate(_settings_input(owner, grant))
    saved = versions.newest(owner.account_id)
    if saved is not None and saved.host == version.host:  # the EHLO name belongs to the server
        version.ehlo_name = saved.ehlo_name
    grants.add(grant, owner.name, now=now)
    version.account_id, version.grant_id, version.state = owner.account_id, grant.id, VersionState.DRAFT
    version.credential_warnings, version.password_saved_at = [], now
    target = audit.AuditTarget("mailbox", name=grant.mailbox)
    audit.record(audit.Activity.MAILBOX_CONNECTED, owner.account_id, target=target)
    return versions.save_fixed(owner, version, "", now=now, is_counted=is_counted)


def _settings_input(owner: Owner, grant: OAuthGrant) -> SettingsInput:
    """Return the settings of a connection: the provider's server, and the mailbox as sender.

    From name and Reply-To are those of the newest version; at first replies go to the owner.
    """
    card_id = issuers.way_of(grant).card if grant.flow is Flow.CONSENT else _CARDS[grant.issuer]
    card = providers.by_id(card_id)
    port, saved = card.recommended_port or card.ports[0], versions.newest(owner.account_id)
    local, _at, domain = grant.mailbox.rpartition("@")
    return SettingsInput(
        provider=card.id,
        host=card.hosts[0].name,
        username=grant.mailbox,
        password="",
        domain=domain,
        security=port.security.value,
        port=str(port.number),
        mechanism=Mechanism.AUTOMATIC.value,
        wrapped_user=local,
        from_name=saved.from_name if saved else "",
        reply_to=saved.reply_to if saved else owner.mailbox,
    )
