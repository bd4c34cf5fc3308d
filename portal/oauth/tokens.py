"""Access tokens of a grant: read from the table, or fetched once by one worker of all threads, processes and machines.

A lease in the table decides who fetches. No transaction is open during the request, and the answer is stored in a
transaction of its own before the token is used. After a failure the lease is the time until the next request, and its
reason is what all callers get until then. Times follow the database's clock.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import or_, update

from ..clock import utcnow
from ..db import db, read_only
from ..db.transaction import db_now
from ..smtp.failure import Reason, Stage, SubmissionFailure
from ..smtp.server import AccessToken, Secret
from ..vault import DecryptionError
from . import issuers, sealing, service_account
from .models import Flow, OAuthGrant
from .token_endpoint import TokenAnswer, TokenRequest, request_token

if TYPE_CHECKING:
    from collections.abc import Mapping

_MARGIN = timedelta(seconds=60)  # a token that ends within this time is replaced before it is used
_LEASE = timedelta(seconds=20)  # longer than the deadline of a request
_BACK_OFF = timedelta(seconds=30)  # between two requests after a failure
_UNTIL_ASKED = timedelta(days=3650)  # a dead refresh token: until the owner connects or checks again
_FINAL_ERRORS = {"invalid_grant", "interaction_required"}
_WAIT_S = 25.0  # for another worker's request
_STEP_S = 0.2
DISCONNECTED = {"error": "disconnected"}


@dataclass(frozen=True)
class GrantTokens:
    """The source of tokens of one grant; see ``smtp.server.TokenSource``."""

    grant_id: int

    def fetch(self) -> AccessToken:
        """Return the present token, or fetch one. Raises SubmissionFailure."""
        return _obtain(self.grant_id, refused=None)

    def renew(self, refused: AccessToken) -> AccessToken | None:
        """Return another token than the one that a server refused; None if that one was fetched for this log-in.

        Raises SubmissionFailure.
        """
        return None if isinstance(refused, FreshToken) else _obtain(self.grant_id, refused=refused.secret)


@dataclass(frozen=True)
class FreshToken(AccessToken):
    """A token that was fetched just now, so that another request would only return its like."""


@dataclass(frozen=True)
class _Claim:
    """The right to fetch a token, with what the request needs."""

    grant_id: int
    generation: int
    until: datetime
    request: TokenRequest
    mailbox: str
    refreshes: bool  # with a refresh token


def discard(grant_id: int) -> None:
    """Let the next log-in fetch a token, also soon after a failure: what was granted may have changed. Commits."""
    db.session.execute(
        update(OAuthGrant)
        .where(
            OAuthGrant.id == grant_id, or_(OAuthGrant.lease_until.is_(None), OAuthGrant.trouble.is_not(None))
        )
        .values(sealed_access=None, access_expires_at=None, lease_until=None)
        .execution_options(synchronize_session=False)
    )
    db.session.commit()


def _obtain(grant_id: int, refused: Secret | None) -> AccessToken:
    deadline = time.monotonic() + _WAIT_S
    while True:
        token, generation = _stored(grant_id, refused)
        if token is not None:
            return token
        claim = _claim(grant_id, generation)
        if claim is not None:
            return _fetch(claim)
        if time.monotonic() > deadline:
            evidence = {"detail": "another worker's request for a token did not end"}
            raise SubmissionFailure(Stage.CONSENT, Reason.TOKEN_UNAVAILABLE, evidence=evidence)
        time.sleep(_STEP_S)


def _stored(grant_id: int, refused: Secret | None) -> tuple[AccessToken | None, int]:
    """Return the token in the table if it can be used, and the generation that was read.

    Raises SubmissionFailure while all workers wait after a failure.
    """
    with read_only():
        grant = db.session.get_one(OAuthGrant, grant_id, populate_existing=True)
        now = db_now()
        try:
            return _usable_token(grant, refused, now), grant.generation
        finally:
            db.session.rollback()


def _usable_token(grant: OAuthGrant, refused: Secret | None, now: datetime) -> AccessToken | None:
    if grant.ended_at is not None:
        raise _failure(grant, Reason.TOKEN_REFUSED, DISCONNECTED)
    if (
        grant.sealed_access is not None
        and grant.access_expires_at
        and grant.access_expires_at > now + _MARGIN
    ):
        try:
            secret = Secret(sealing.open_sealed(grant, grant.sealed_access))
        except DecryptionError:
            secret = None  # another can be fetched
        if secret is not None and (refused is None or secret.reveal() != refused.reveal()):
            name = issuers.issuer_of(grant).name
            return AccessToken(
                secret, f"The permission of {name} to log in as {grant.mailbox} is still valid."
            )
    if grant.trouble is not None and grant.lease_until is not None and grant.lease_until > now:
        raise _failure(grant, Reason(grant.trouble["reason"]), grant.trouble["evidence"])
    return None


def _claim(grant_id: int, generation: int) -> _Claim | None:
    """Take the lease, then build the request. Commits.

    None while another worker has the lease, and if a token was stored since ``generation`` was read. Raises SubmissionFailure.
    """
    now = db_now()
    until = now + _LEASE
    free = or_(OAuthGrant.lease_until.is_(None), OAuthGrant.lease_until <= now)
    taken = db.session.execute(
        update(OAuthGrant)
        .where(
            OAuthGrant.id == grant_id,
            OAuthGrant.generation == generation,
            OAuthGrant.ended_at.is_(None),
            free,
        )
        .values(lease_until=until, trouble=None)
        .execution_options(synchronize_session=False)
    )
    if taken.rowcount != 1:  # type: ignore[attr-defined]
        db.session.rollback()
        return None
    db.session.commit()  # signing takes half a second on a slow machine, for which no transaction waits
    grant = _detached(grant_id)
    if grant.ended_at is not None:
        raise _failure(grant, Reason.TOKEN_REFUSED, DISCONNECTED)
    try:
        request = _request(grant)
    except DecryptionError:
        _give_back(grant_id, until)
        raise _failure(grant, Reason.TOKEN_REFUSED, {"error": "secret_not_openable"}) from None
    return _Claim(grant.id, generation, until, request, grant.mailbox, grant.flow is Flow.CONSENT)


def _detached(grant_id: int) -> OAuthGrant:
    """Return a grant as it is now, outside of any transaction."""
    with read_only():
        grant = db.session.get_one(OAuthGrant, grant_id, populate_existing=True)
        db.session.expunge(grant)
        db.session.rollback()
    return grant


def _give_back(grant_id: int, until: datetime) -> None:
    """End a lease without a request. Commits."""
    mine = (OAuthGrant.id == grant_id, OAuthGrant.lease_until == until)
    db.session.execute(
        update(OAuthGrant).where(*mine).values(lease_until=None).execution_options(synchronize_session=False)
    )
    db.session.commit()


def _request(grant: OAuthGrant) -> TokenRequest:
    """Return the request for a token. Raises DecryptionError."""
    if grant.flow is Flow.CONSENT:
        return _refresh_request(grant)
    issuer, url = issuers.issuer_of(grant), issuers.token_url(grant)
    secret = sealing.open_sealed(grant, grant.sealed_secret or b"")
    if grant.flow is Flow.APP_ONLY:
        fields = {
            "grant_type": "client_credentials",
            "client_id": grant.client_id,
            "client_secret": secret,
            "scope": issuer.scope,
        }
        return TokenRequest(url, issuer.name, fields, (Secret(secret),))
    assertion = service_account.sign_request(
        service_account.read_key(secret),
        mailbox=grant.mailbox,
        scope=issuer.scope,
        audience=issuers.GOOGLE_AUDIENCE,
        now=utcnow(),
    )
    fields = {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": assertion}
    return TokenRequest(url, issuer.name, fields, (Secret(assertion),))


def _refresh_request(grant: OAuthGrant) -> TokenRequest:
    """Return the request with a refresh token. Microsoft requires a scope again (AADSTS900144), within what was granted."""
    way = issuers.way_of(grant)
    refresh = sealing.open_sealed(grant, grant.sealed_refresh or b"")
    if grant.sealed_secret is not None:
        client_secret = sealing.open_sealed(grant, grant.sealed_secret)
    else:
        client_secret = issuers.operators_secret(grant.issuer, grant.client_id)
    fields = {
        "grant_type": "refresh_token",
        "refresh_token": refresh,
        "client_id": grant.client_id,
        "client_secret": client_secret,
    }
    if grant.issuer == issuers.MICROSOFT:
        fields["scope"] = f"{way.needed_scope} offline_access"
    return TokenRequest(issuers.token_url(grant), way.name, fields, (Secret(refresh), Secret(client_secret)))


def _fetch(claim: _Claim) -> AccessToken:
    """Request the token and store the answer. Commits. Raises SubmissionFailure."""
    began = time.monotonic()
    try:
        answer = request_token(claim.request)
    except SubmissionFailure as failure:
        _store_failure(claim, failure)
        raise
    _store(claim, answer, timedelta(seconds=time.monotonic() - began))
    minutes = max(1, answer.lifetime_s // 60)
    sentence = f"{claim.request.issuer_name} gave a fresh permission to log in as {claim.mailbox}, valid for {minutes} minutes."
    return FreshToken(Secret(answer.access_token), sentence)


def _store(claim: _Claim, answer: TokenAnswer, took: timedelta) -> None:
    grant = db.session.get_one(OAuthGrant, claim.grant_id, populate_existing=True)
    now = db_now()
    values = {
        "sealed_access": sealing.seal(grant, answer.access_token),
        "access_expires_at": now - took + timedelta(seconds=answer.lifetime_s),
        "generation": claim.generation + 1,
        "lease_until": None,
        "trouble": None,
        "refreshed_at": now,
    }
    if answer.refresh_token:  # rotated: the one before may be dead as soon as the new token is used
        values["sealed_refresh"] = sealing.seal(grant, answer.refresh_token)
    _update_mine(claim, values)


def _store_failure(claim: _Claim, failure: SubmissionFailure) -> None:
    """Keep the reason for all callers, until the next request is allowed. The present tokens stay.

    A refresh token that was refused for good is not sent again by itself (AADSTS50196 is the answer to such loops).
    """
    trouble = {"reason": failure.reason.value, "evidence": dict(failure.evidence)}
    is_dead = (
        claim.refreshes
        and failure.reason is Reason.TOKEN_REFUSED
        and failure.evidence.get("error") in _FINAL_ERRORS
    )
    _update_mine(
        claim, {"trouble": trouble, "lease_until": db_now() + (_UNTIL_ASKED if is_dead else _BACK_OFF)}
    )


def _update_mine(claim: _Claim, values: Mapping[str, Any]) -> None:
    """Change the grant unless a newer token was stored or it was disconnected meanwhile. Commits."""
    db.session.execute(
        update(OAuthGrant)
        .where(
            OAuthGrant.id == claim.grant_id,
            OAuthGrant.generation == claim.generation,
            OAuthGrant.lease_until == claim.until,
            OAuthGrant.ended_at.is_(None),
        )
        .values(**values)
        .execution_options(synchronize_session=False)
    )
    db.session.commit()


def _failure(grant: OAuthGrant, reason: Reason, evidence: Mapping[str, str]) -> SubmissionFailure:
    named = {"issuer": issuers.issuer_of(grant).name, **evidence}
    return SubmissionFailure(Stage.CONSENT, reason, evidence=named)
