"""Passkeys (Web Authentication, level 3). A passkey alone is two factors: the device, and its PIN or fingerprint.

The authenticator must verify the person and keep the passkey together with the person's handle, so that a log-in asks for no
name and no list of passkeys is ever sent. Passkeys belong to the host name of SIGNET_BASE_URL.
"""

from __future__ import annotations

import ipaddress
import secrets
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import webauthn
from sqlalchemy import delete, select, update
from sqlalchemy.exc import IntegrityError
from webauthn.helpers import base64url_to_bytes, bytes_to_base64url, parse_authentication_credential_json
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from ... import audit, rate_limit
from ...db import db
from ...rate_limit import RateLimit
from ...security_log import SecurityEvent, record
from ...state import current_config
from ..login import TooManyAttempts
from ..models import ProvedBy
from . import challenges, emails
from .changing import commit_added, end_removal, first_codes
from .completing import complete_log_in
from .models import ChallengePurpose, Passkey
from .state import lock

if TYPE_CHECKING:
    from datetime import datetime

    from webauthn.authentication.verify_authentication_response import VerifiedAuthentication

    from ..login import Visitor
    from ..sessions import LoggedIn

MAX_PASSKEYS = 20  # of a person
MAX_ANSWER_CHARS = 10_000  # of a browser's answer
_MAX_KEY_BYTES = 1_000  # a public key of RSA with 4,096 bits has 530
_MAX_ID_BYTES = 1_023  # of a credential (Web Authentication, 7.1)
_HANDLE_BYTES = 32
_PER_NETWORK = RateLimit("passkeys by network", 50, timedelta(minutes=15))
# What the library and its decoders raise for malformed input.
_MALFORMED = (WebAuthnException, ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError)


class NotAccepted(Exception):
    """The passkey is unknown, or what it has signed is not right."""


class TooManyPasskeys(Exception):
    """The person has the most passkeys that are allowed."""


def is_possible() -> bool:
    """Return whether passkeys work at this portal's address."""
    return can_have_passkeys(current_config().host_name)


def can_have_passkeys(host: str) -> bool:
    """Return whether a host is a name: an IP address cannot have passkeys."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return True
    return False


def origin_of(base_url: str) -> str:
    """Return the origin of an address as browsers write it: in small letters, without the default port (RFC 6454)."""
    parts = urlsplit(base_url.lower())
    port = {"http": ":80", "https": ":443"}[parts.scheme]
    return f"{parts.scheme}://{parts.netloc.removesuffix(port)}"


def options_to_add(user: LoggedIn, *, now: datetime) -> tuple[str, str]:
    """Return the token of a challenge, and what the browser needs to make a passkey, as JSON. Commits."""
    known = db.session.execute(
        select(Passkey.credential_id, Passkey.handle).where(Passkey.owner_id == user.id)
    ).all()
    options = webauthn.generate_registration_options(
        rp_id=current_config().host_name,
        rp_name="Signet",
        user_name=user.mailbox,
        user_display_name=user.name,
        user_id=known[0].handle if known else secrets.token_bytes(_HANDLE_BYTES),
        exclude_credentials=[
            PublicKeyCredentialDescriptor(id=base64url_to_bytes(row.credential_id)) for row in known
        ],
        authenticator_selection=AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.REQUIRED,
            user_verification=UserVerificationRequirement.REQUIRED,
        ),
    )
    sent = f"{bytes_to_base64url(options.challenge)}.{bytes_to_base64url(options.user.id)}"
    token = challenges.add(ChallengePurpose.ADD_PASSKEY, user.id, challenge=sent, now=now)
    db.session.commit()
    return token, webauthn.options_to_json(options)


def add(user: LoggedIn, token: str, answer: str, name: str, *, now: datetime) -> list[str]:
    """Store the passkey that the browser has made. Commits. Returns new recovery codes if the person has none.

    Raises NotAccepted, or TooManyPasskeys.
    """
    challenge, _, handle = _take(token, ChallengePurpose.ADD_PASSKEY, user.id, now).partition(".")
    try:
        found = webauthn.verify_registration_response(
            credential=_limited(answer),
            expected_challenge=base64url_to_bytes(challenge),
            expected_rp_id=current_config().host_name,
            expected_origin=origin_of(current_config().base_url),
            require_user_verification=True,
        )
    except _MALFORMED:
        raise NotAccepted from None
    if len(found.credential_public_key) > _MAX_KEY_BYTES or len(found.credential_id) > _MAX_ID_BYTES:
        raise NotAccepted
    lock(user.id)
    if len(db.session.scalars(select(Passkey.id).where(Passkey.owner_id == user.id)).all()) >= MAX_PASSKEYS:
        db.session.rollback()
        raise TooManyPasskeys
    row = Passkey(
        owner_id=user.id, credential_id=bytes_to_base64url(found.credential_id), name=name, created_at=now
    )
    row.public_key, row.sign_count = found.credential_public_key, found.sign_count
    row.handle, row.is_backed_up = base64url_to_bytes(handle), found.credential_backed_up
    db.session.add(row)
    try:
        db.session.flush()
    except IntegrityError:  # it was added before, here or by another person
        db.session.rollback()
        raise NotAccepted from None
    codes = first_codes(user.id, now=now)
    emails.passkey_added(user.id, name, now=now)
    commit_added(user, factor="passkey", name=name)
    return codes


def remove(user: LoggedIn, passkey_id: int, *, now: datetime) -> bool:
    """Remove a passkey of this person; return whether there was one. Commits. Raises LastFactor."""
    lock(user.id)
    row = db.session.scalar(select(Passkey).where(Passkey.id == passkey_id, Passkey.owner_id == user.id))
    if row is None:
        db.session.rollback()
        return False
    name = row.name
    db.session.execute(delete(Passkey).where(Passkey.id == passkey_id))
    end_removal(user.id)
    emails.passkey_removed(user.id, name, now=now)
    removed = {"factor": "passkey", "name": name}
    audit.record(audit.Activity.FACTOR_REMOVED, user.account_id, before=removed)
    db.session.commit()
    record(SecurityEvent.FACTOR_CHANGED, factor="passkey", change="removed")
    return True


def options_to_use(network: str, *, now: datetime) -> tuple[str, str]:
    """Return the token of a challenge, and what the browser needs to ask for a passkey, as JSON. Commits.

    Raises TooManyAttempts: the network asked too often.
    """
    wait = rate_limit.consume_or_wait(_PER_NETWORK, network, now=now)
    if wait:
        db.session.commit()
        raise TooManyAttempts(wait)
    options = webauthn.generate_authentication_options(
        rp_id=current_config().host_name, user_verification=UserVerificationRequirement.REQUIRED
    )
    token = challenges.add(
        ChallengePurpose.USE_PASSKEY, None, challenge=bytes_to_base64url(options.challenge), now=now
    )
    db.session.commit()
    return token, webauthn.options_to_json(options)


def log_in(token: str, answer: str, visitor: Visitor, *, now: datetime, invitation: str = "") -> str:
    """Log in the person of a passkey; return the session's token. Commits. ``invitation`` as in ``complete_log_in``.

    Raises NotAccepted, and as ``complete_log_in``.
    """
    owner_id, passkey_id = _find(token, answer, now=now)

    def check() -> tuple[ProvedBy, str]:
        if db.session.scalar(select(Passkey.id).where(Passkey.id == passkey_id)) is None:
            raise NotAccepted  # it was removed since it was checked
        return ProvedBy.PASSKEY, "passkey"

    return complete_log_in(owner_id, visitor, check=check, now=now, invitation=invitation)


def require(user: LoggedIn, token: str, answer: str, *, now: datetime) -> None:
    """Check that a passkey of this person has signed. Commits. Raises NotAccepted."""
    owner_id, _passkey_id = _find(token, answer, now=now)
    if owner_id != user.id:
        raise NotAccepted


def _find(token: str, answer: str, *, now: datetime) -> tuple[int, int]:
    """Check what a passkey has signed; return whose it is, and its id. Commits. Raises NotAccepted."""
    challenge = _take(token, ChallengePurpose.USE_PASSKEY, None, now)
    try:
        row, found = _verify(challenge, answer)
    except (NotAccepted, *_MALFORMED):
        db.session.rollback()
        record(SecurityEvent.LOG_IN_FAILED, reason="passkey")
        raise NotAccepted from None
    found_ids = (row.owner_id, row.id)
    # One statement: a copy of the same answer at the same moment finds another count.
    this = (Passkey.id == row.id, Passkey.sign_count == row.sign_count)
    values = {"sign_count": found.new_sign_count, "used_at": now, "is_backed_up": found.credential_backed_up}
    statement = update(Passkey).where(*this).values(**values).execution_options(synchronize_session=False)
    is_stored = int(db.session.execute(statement).rowcount) == 1  # type: ignore[attr-defined]
    db.session.commit()
    if not is_stored:
        raise NotAccepted
    return found_ids


def _verify(challenge: str, answer: str) -> tuple[Passkey, VerifiedAuthentication]:
    """Return the passkey that has signed an answer. Raises NotAccepted, and what the library raises."""
    credential = parse_authentication_credential_json(_limited(answer))
    row = db.session.scalar(select(Passkey).where(Passkey.credential_id == credential.id))
    if row is None or credential.response.user_handle != row.handle:
        raise NotAccepted
    found = webauthn.verify_authentication_response(
        credential=credential,
        expected_challenge=base64url_to_bytes(challenge),
        expected_rp_id=current_config().host_name,
        expected_origin=origin_of(current_config().base_url),
        credential_public_key=row.public_key,
        credential_current_sign_count=row.sign_count,
        require_user_verification=True,
    )
    return row, found


def _take(token: str, purpose: ChallengePurpose, owner_id: int | None, now: datetime) -> str:
    """Return what a challenge holds and let it count no more; of two requests only one succeeds. Commits."""
    row = challenges.find(token, purpose, now=now)
    challenge = row.challenge if row is not None and row.owner_id == owner_id else ""
    if not challenge or not challenges.use(token, purpose):
        db.session.rollback()
        raise NotAccepted
    db.session.commit()
    return challenge


def _limited(answer: str) -> str:
    if len(answer) > MAX_ANSWER_CHARS:
        raise ValueError("longer than any answer of a browser")
    return answer
