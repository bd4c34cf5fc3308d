"""Grants: make one, find one, and end one, which deletes its secrets."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from ..db import db
from ..http_client import PostFailed, post_form
from ..state import current_config
from ..vault import DecryptionError
from . import issuers, sealing
from .models import Flow, OAuthGrant, Purpose

if TYPE_CHECKING:
    from datetime import date, datetime

    from sqlalchemy import Select

    from .service_account import ServiceAccountKey


@dataclass(frozen=True)
class AppOnly:
    """What logs in as a mailbox by Microsoft's client credentials."""

    mailbox: str
    tenant: str  # an id or a domain
    client_id: str
    client_secret: str = field(repr=False)
    secret_expires_on: date | None


def new_app_only(account_id: int, values: AppOnly, purpose: Purpose = Purpose.SEND) -> OAuthGrant:
    """Return a grant of Microsoft's client credentials, which is not in the session yet."""
    grant = OAuthGrant(
        account_id=account_id,
        purpose=purpose,
        flow=Flow.APP_ONLY,
        issuer=issuers.MICROSOFT,
        tenant=values.tenant,
        client_id=values.client_id,
        mailbox=values.mailbox,
        secret_expires_on=values.secret_expires_on,
    )
    grant.sealed_secret = sealing.seal(grant, values.client_secret)
    return grant


def new_service_account(
    account_id: int, key: ServiceAccountKey, *, mailbox: str, purpose: Purpose = Purpose.SEND
) -> OAuthGrant:
    """Return a grant of Google's domain-wide delegation, which is not in the session yet."""
    grant = OAuthGrant(
        account_id=account_id,
        purpose=purpose,
        flow=Flow.SERVICE_ACCOUNT,
        issuer=issuers.GOOGLE,
        tenant="",
        client_id=key.email,
        mailbox=mailbox,
    )
    grant.sealed_secret = sealing.seal(grant, key.as_text())
    return grant


def add(grant: OAuthGrant, made_by: str, *, now: datetime) -> None:
    """Store a new grant, so that it has an id. The caller commits."""
    grant.made_by, grant.created_at, grant.generation = made_by, now, 0
    db.session.add(grant)
    db.session.flush()


def find(account_id: int, grant_id: int, purpose: Purpose = Purpose.SEND) -> OAuthGrant | None:
    """Return one grant of an account that has this purpose."""
    return db.session.scalar(
        select(OAuthGrant).where(
            OAuthGrant.id == grant_id, OAuthGrant.account_id == account_id, OAuthGrant.purpose == purpose
        )
    )


def has_ended(grant_id: int) -> bool:
    """Return whether a grant was ended, by the table and not by what the session holds of it."""
    return db.session.scalar(select(OAuthGrant.ended_at).where(OAuthGrant.id == grant_id)) is not None


def unused(account_id: int, purpose: Purpose, kept: Select[int | None]) -> list[OAuthGrant]:
    """Return the grants of an account for a purpose that have not ended and are not in use.

    Args:
        kept: the query for the ids of those in use.
    """
    query = select(OAuthGrant).where(
        OAuthGrant.account_id == account_id,
        OAuthGrant.purpose == purpose,
        OAuthGrant.ended_at.is_(None),
        OAuthGrant.id.not_in(kept),
    )
    return list(db.session.scalars(query))


def end_all_but(account_id: int, kept: Select[int | None], *, now: datetime) -> None:
    """End the grants for sending of an account that no version refers to any more. The caller commits.

    Args:
        kept: the query for the ids of the others.
    """
    for grant in unused(account_id, Purpose.SEND, kept):
        end(grant, now=now)


def end_unused(kept: Select[int | None], *, before: datetime, now: datetime) -> None:
    """End the grants for sending whose last token was fetched before a time, or that never had one since. The caller commits.

    Args:
        kept: the query for the ids of those that stay, of all accounts.
    """
    last_used_at = func.coalesce(OAuthGrant.refreshed_at, OAuthGrant.created_at)
    query = select(OAuthGrant).where(
        OAuthGrant.purpose == Purpose.SEND,
        OAuthGrant.ended_at.is_(None),
        last_used_at < before,
        OAuthGrant.id.not_in(kept),
    )
    for grant in db.session.scalars(query.with_for_update(skip_locked=True)):
        end(grant, now=now)


def earlier(grant: OAuthGrant, kept: Select[int | None]) -> list[OAuthGrant]:
    """Return the other grants by which the account logged in as the same mailbox, in the same way and for the same purpose.

    Args:
        kept: the query for the ids of those that stay.
    """
    query = select(OAuthGrant).where(
        OAuthGrant.account_id == grant.account_id,
        OAuthGrant.purpose == grant.purpose,
        OAuthGrant.flow == grant.flow,
        OAuthGrant.issuer == grant.issuer,
        OAuthGrant.client_id == grant.client_id,
        OAuthGrant.mailbox == grant.mailbox,
        OAuthGrant.ended_at.is_(None),
        OAuthGrant.id != grant.id,
        OAuthGrant.id.not_in(kept),
    )
    return list(db.session.scalars(query))


def token_to_revoke(grant: OAuthGrant) -> str:
    """Return the refresh token to revoke at Google; empty if another grant depends on the same consent."""
    if grant.flow is not Flow.CONSENT or grant.issuer != issuers.GOOGLE or grant.sealed_refresh is None:
        return ""
    others = select(OAuthGrant.id).where(
        OAuthGrant.id != grant.id,
        OAuthGrant.issuer == grant.issuer,
        OAuthGrant.client_id == grant.client_id,
        OAuthGrant.subject == grant.subject,
        OAuthGrant.ended_at.is_(None),
    )
    if db.session.scalar(others.limit(1)) is not None:
        return ""
    try:
        return sealing.open_sealed(grant, grant.sealed_refresh)
    except DecryptionError:
        return ""


def revoke(token: str) -> bool:
    """Revoke a token at Google (RFC 7009); return whether it was revoked. No transaction may be open."""
    url = f"{current_config().oauth.google_token_url.rpartition('/')[0]}/revoke"
    try:
        return post_form(url, {"token": token}, current_config().webhook_policy).status == 200
    except PostFailed:
        return False


def end(grant: OAuthGrant, *, now: datetime) -> None:
    """Delete the secrets of a grant; no token can be fetched with it afterwards. The caller commits."""
    grant.sealed_secret = grant.sealed_refresh = grant.sealed_access = grant.access_expires_at = None
    grant.trouble = grant.lease_until = None
    grant.ended_at = now
