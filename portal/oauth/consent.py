"""Consent by authorization code (RFC 6749 section 4.1) with PKCE (RFC 7636), state and nonce (RFC 9700).

An attempt is a row: the state is stored hashed, bound to account, owner and log-in session, valid for ten minutes, and used
once. If a person signs in with another account than the mailbox, the page states it and nothing is saved.
"""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from flask_babel import gettext as _
from sqlalchemy import delete, select, update

from ..accounts.tokens import hash_token, new_token
from ..db import db
from ..smtp.failure import SubmissionFailure
from ..smtp.server import Secret
from ..state import vault
from ..vault import DecryptionError
from . import issuers, sealing
from .identity import InvalidIdToken, read_identity
from .models import Flow, OAuthAttempt, OAuthGrant, Purpose
from .redirects import redirect_uri
from .token_endpoint import TokenAnswer, TokenRequest, request_token

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..accounts.sessions import LoggedIn

_VALID_FOR = timedelta(minutes=10)
_KEPT_FOR = timedelta(days=1)  # used attempts, so that a callback that comes twice is recognised


class ConsentFailed(Exception):
    """No consent was obtained; the message is a sentence for the page.

    ``attempt`` is the attempt, so that the page can show what was entered; None if it is not known.
    """

    def __init__(self, sentence: str, attempt: OAuthAttempt | None = None) -> None:
        super().__init__(sentence)
        self.attempt = attempt


class AlreadyConnected(Exception):
    """The callback came a second time, as after a reload; the first one was successful."""


class TokenRefused(Exception):
    """The token endpoint refused the code; ``failure`` holds its answer."""

    def __init__(self, failure: SubmissionFailure, attempt: OAuthAttempt) -> None:
        super().__init__(str(failure.reason))
        self.failure, self.attempt = failure, attempt


@dataclass(frozen=True)
class ConsentRequest:
    """What a consent is asked for. ``client_secret`` is empty with the operator's client."""

    way: str
    mailbox: str
    tenant: str
    client_id: str
    client_secret: str = field(repr=False)
    is_shared: bool  # another person than the mailbox signs in
    secret_expires_on: date | None = None  # of the owner's client, as it was entered


def begin(owner: LoggedIn, asked: ConsentRequest, *, now: datetime) -> str:
    """Store an attempt and return the address at which the owner consents. Commits."""
    way = issuers.WAYS[asked.way]
    state, nonce, verifier = new_token(), new_token(), new_token()
    attempt = OAuthAttempt(
        state_hash=hash_token(state),
        account_id=owner.account_id,
        owner_id=owner.id,
        session_id=owner.session_id,
        way=asked.way,
        tenant=asked.tenant,
        client_id=asked.client_id,
        mailbox=asked.mailbox,
        is_shared=asked.is_shared,
        nonce=nonce,
        created_at=now,
    )
    expires_on = (
        asked.secret_expires_on.isoformat() if asked.secret_expires_on and asked.client_secret else ""
    )
    secrets = {"verifier": verifier, "client_secret": asked.client_secret, "expires_on": expires_on}
    attempt.sealed = vault().seal(json.dumps(secrets), attempt_binding(attempt))
    db.session.add(attempt)
    db.session.commit()
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
    query = {
        "response_type": "code",
        "client_id": asked.client_id,
        "redirect_uri": redirect_uri(way.issuer),
        "scope": way.scope,
        "state": state,
        "nonce": nonce,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
        "login_hint": asked.mailbox,
        **way.parameters,
    }
    return f"{issuers.authorize_url(way, asked.tenant)}?{urlencode(query)}"


def purpose_of(state: str) -> Purpose:
    """Return what the consent of a callback is for; sending, if the state is not known."""
    way = db.session.scalar(select(OAuthAttempt.way).where(OAuthAttempt.state_hash == hash_token(state)))
    db.session.rollback()
    return issuers.WAYS[way].purpose if way in issuers.WAYS else Purpose.SEND


def delete_old_attempts(now: datetime) -> None:
    """Delete attempts that are no longer needed, also those that were given up. Commits."""
    db.session.execute(delete(OAuthAttempt).where(OAuthAttempt.created_at < now - _KEPT_FOR))
    db.session.commit()


def attempt_binding(attempt: OAuthAttempt) -> dict[str, str | int]:
    """Return what the secrets of an attempt are sealed for."""
    return {
        "kind": "oauth-attempt",
        "account": attempt.account_id,
        "owner": attempt.owner_id,
        "way": attempt.way,
        "tenant": attempt.tenant,
        "client": attempt.client_id,
        "mailbox": attempt.mailbox,
    }


def finish(owner: LoggedIn, issuer: str, answer: Mapping[str, str], *, now: datetime) -> OAuthGrant:
    """Redeem the code of a callback; return the grant, which is not in the session yet. Commits the attempt's use.

    Raises ConsentFailed, AlreadyConnected or TokenRefused.
    """
    attempt = _use(owner, issuer, answer.get("state", ""), now)
    way = issuers.WAYS[attempt.way]
    returned_by = answer.get("iss")  # RFC 9207, where the issuer sends it
    if returned_by is not None and not issuers.is_issuer(way, returned_by):
        raise ConsentFailed(
            _("The reply came from a different provider than the one you chose. Connect again."), attempt
        )
    if answer.get("error"):
        raise ConsentFailed(_refusal(answer["error"], way.name), attempt)
    if not answer.get("code"):
        raise ConsentFailed(
            _("%(name)s sent a reply that Signet cannot use. Connect again.", name=way.name), attempt
        )
    return _redeem(attempt, answer["code"], now)


def _use(owner: LoggedIn, issuer: str, state: str, now: datetime) -> OAuthAttempt:
    """Return the attempt of a state, mark it as used, and delete its secrets from the table. Commits."""
    attempt = db.session.scalar(select(OAuthAttempt).where(OAuthAttempt.state_hash == hash_token(state)))
    known = attempt is not None and issuers.WAYS[attempt.way].issuer == issuer
    if attempt is None or not known:
        raise ConsentFailed(
            _("This reply does not belong to a connection that you started here. Connect again.")
        )
    if attempt.account_id != owner.account_id or attempt.owner_id != owner.id:
        raise ConsentFailed(
            _("You started this connection in another account. Log in to that account and connect again.")
        )
    if attempt.session_id != owner.session_id:
        raise ConsentFailed(
            _("You started this connection in another browser or before you logged in. Connect again.")
        )
    if attempt.created_at < now - _VALID_FOR:
        raise ConsentFailed(_("This took more than ten minutes. Connect again."), attempt)
    sealed = attempt.sealed
    used = db.session.execute(
        update(OAuthAttempt)
        .where(OAuthAttempt.id == attempt.id, OAuthAttempt.used_at.is_(None))
        .values(used_at=now, sealed=b"")
        .execution_options(synchronize_session=False)
    )
    if used.rowcount != 1:  # type: ignore[attr-defined]
        db.session.rollback()
        if _was_connected(attempt):
            raise AlreadyConnected
        raise ConsentFailed(
            _("This reply has already been used. If the mailbox is not connected, connect again."), attempt
        )
    db.session.commit()
    db.session.refresh(attempt)
    db.session.expunge(attempt)
    db.session.rollback()
    attempt.sealed = sealed
    return attempt


def _was_connected(attempt: OAuthAttempt) -> bool:
    """Return whether the first use of an attempt led to a grant, which has the time of that use."""
    query = select(OAuthGrant.id).where(
        OAuthGrant.account_id == attempt.account_id,
        OAuthGrant.client_id == attempt.client_id,
        OAuthGrant.created_at == attempt.used_at,
    )
    return db.session.scalar(query.limit(1)) is not None


def _redeem(attempt: OAuthAttempt, code: str, now: datetime) -> OAuthGrant:
    """Exchange the code. No transaction is open meanwhile."""
    way = issuers.WAYS[attempt.way]
    try:
        secrets = json.loads(vault().open(attempt.sealed, attempt_binding(attempt)))
    except DecryptionError:
        raise ConsentFailed(
            _("The portal's encryption key changed in the meantime. Connect again."), attempt
        ) from None
    client_secret = secrets["client_secret"] or issuers.operators_secret(way.issuer, attempt.client_id)
    fields = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": redirect_uri(way.issuer),
        "client_id": attempt.client_id,
        "client_secret": client_secret,
        "code_verifier": secrets["verifier"],
    }
    url = issuers.way_token_url(way, attempt.tenant)
    try:
        answer = request_token(TokenRequest(url, way.name, fields, (Secret(client_secret), Secret(code))))
    except SubmissionFailure as failure:
        raise TokenRefused(failure, attempt) from None
    grant = _grant(attempt, answer, secrets["client_secret"], now)
    grant.secret_expires_on = secret_expiry(attempt)
    return grant


def secret_expiry(attempt: OAuthAttempt) -> date | None:
    """Return the day on which the client secret of an attempt expires, as the owner entered it; None if it is not known."""
    try:
        secrets = json.loads(vault().open(attempt.sealed, attempt_binding(attempt))) if attempt.sealed else {}
    except DecryptionError:
        return None
    return date.fromisoformat(secrets["expires_on"]) if secrets.get("expires_on") else None


def _grant(attempt: OAuthAttempt, answer: TokenAnswer, client_secret: str, now: datetime) -> OAuthGrant:
    way = issuers.WAYS[attempt.way]
    if answer.scope and way.needed_scope.lower() not in answer.scope.lower().split():
        sentence = _(
            "You did not give permission to send. Connect again, and leave every box ticked on %(name)s's page.",
            name=way.name,
        )
        if way.purpose is Purpose.READ:
            sentence = _(
                "You did not give permission to read the mailbox. Connect again, and leave every box "
                "ticked on %(name)s's page.",
                name=way.name,
            )
        raise ConsentFailed(sentence, attempt)
    if not answer.refresh_token:
        sentence = _(
            "%(name)s gave permission for only one hour. Connect again. If this happens again, first "
            "remove this app on the security page of your account there.",
            name=way.name,
        )
        raise ConsentFailed(sentence, attempt)
    try:
        identity = read_identity(
            answer.id_token,
            issuer=issuers.identity_issuer(way),
            client_id=attempt.client_id,
            nonce=attempt.nonce,
            now=now,
        )
    except InvalidIdToken as invalid:
        sentence = _("%(name)s did not confirm who gave the permission. Connect again.", name=way.name)
        if str(invalid) == "time":
            sentence = _(
                "The clocks of this portal and of %(name)s differ by more than two minutes. Ask the "
                "operator of this portal to set its clock, then connect again.",
                name=way.name,
            )
        raise ConsentFailed(sentence, attempt) from None
    same = identity.mailbox.casefold() == attempt.mailbox.casefold()
    if not same and not attempt.is_shared:
        sentence = _(
            "You signed in as %(chosen)s, but entered %(wished)s. Connect again and choose %(wished)s "
            "there, or enter %(chosen)s here. If another person signs in for this mailbox, tick that "
            "box.",
            chosen=identity.mailbox or _("another account"),
            wished=attempt.mailbox,
        )
        raise ConsentFailed(sentence, attempt)
    # Microsoft's spelling counts for personal accounts.
    mailbox = identity.mailbox if same else attempt.mailbox
    grant = OAuthGrant(
        account_id=attempt.account_id,
        purpose=way.purpose,
        flow=Flow.CONSENT,
        issuer=way.issuer,
        tenant=attempt.tenant,
        client_id=attempt.client_id,
        mailbox=mailbox,
    )
    grant.subject = identity.subject
    grant.sealed_secret = sealing.seal(grant, client_secret) if client_secret else None
    grant.sealed_refresh = sealing.seal(grant, answer.refresh_token)
    return grant


def _refusal(error: str, name: str) -> str:
    if error == "access_denied":
        sentence = _("You did not give permission at %(name)s, so the mailbox is not connected.", name=name)
    elif error in {"consent_required", "admin_policy_enforced", "org_internal"}:
        sentence = _(
            "An administrator has to allow this app at %(name)s first. Ask them, then connect again.",
            name=name,
        )
    else:
        sentence = _(
            "%(name)s did not give permission. Compare your client’s settings with the steps, then connect again.",
            name=name,
        )
    return str(sentence)
