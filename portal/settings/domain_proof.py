"""Proof that a From domain belongs to an account: a TXT record, found before the domain goes live there.

It is needed for a domain that is live in another account, and for every domain where the operator demands it. The record is
looked up by the portal, never read from the owner; its text is of this account alone, so another account's does not count.
"""

from __future__ import annotations

import base64
import hmac
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from flask_babel import gettext as _
from sqlalchemy import ColumnElement, func, or_, select

from .. import audit
from ..db import db, insert
from ..smtp.network.dns import resolve_all
from ..smtp.providers import load_catalogue
from ..state import current_config
from ..web import owner_limits
from . import providers
from .models import DomainProof, SmtpSettings, VersionState

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from ..config import Config

LABEL = "_signet-challenge"  # in front of the domain
_VALUE_PREFIX = "signet-domain-proof="
_TOKEN_CHARS = 32  # 192 bits
_QUERY_TIMEOUT_S = 4.0
_LOCK = (
    5_364_022  # PostgreSQL advisory lock under which domains go live, so that of two accounts one is first
)


class Lookup(StrEnum):
    """What the look-up of a record found."""

    FOUND = "found"
    OTHER_VALUE = "other-value"
    DOUBLED_NAME = "doubled-name"  # the panel added the domain to a name that held it already
    MISSING = "missing"
    UNANSWERED = "unanswered"


@dataclass(frozen=True)
class ProofRecord:
    """The TXT record to publish. ``can_be_set`` is false for the domain of a public mailbox provider."""

    domain: str
    name: str
    value: str
    can_be_set: bool


def is_missing(version: SmtpSettings) -> bool:
    """Return whether a version needs a proof of its domain, and has none, before it goes live.

    A proof of a domain holds for the names below it, and a domain that is live in another account is protected with the names
    above and below it: receivers take them for the same organization.
    """
    if _proves_itself(version):
        return False
    covering = _with_parents(version.domain)  # the longest first
    own = SmtpSettings.account_id == version.account_id
    if _is_proved(version.account_id, covering):
        return False
    below = SmtpSettings.domain.endswith(f".{version.domain}", autoescape=True)
    held = db.session.scalar(select(SmtpSettings.domain).where(_is_live(), own))
    if held == version.domain:
        return False
    if held in covering:
        # The live name may be one that others have names below, such as co.uk: it gives no right to those.
        between = SmtpSettings.domain.in_(covering[: covering.index(held)])
        return _exists(_is_live(), ~own, or_(between, below))
    if every_domain_needs_proof(current_config()):
        return True
    return _exists(_is_live(), ~own, or_(SmtpSettings.domain.in_(covering), below))


def every_domain_needs_proof(config: Config) -> bool:
    """Return whether the operator demands the proof always: the default where owners may share a relay for any domain."""
    may_share_relay = bool(config.policy.private_targets) and not config.rehearsal
    return (config.domain_proof or ("always" if may_share_relay else "shared")) == "always"


def lock() -> None:
    """Let no other account's domain go live until the transaction ends. SQLite has a single writer."""
    if db.engine.dialect.name == "postgresql":
        db.session.execute(select(func.pg_advisory_xact_lock(_LOCK)))


def record_for(version: SmtpSettings) -> ProofRecord | None:
    """Return the record that a version waits for, or None if it waits for none."""
    if version.state is VersionState.LIVE or not is_missing(version):
        return None
    can_be_set = not load_catalogue().is_public_mail(version.domain)
    return ProofRecord(version.domain, f"{LABEL}.{version.domain}", _value(version), can_be_set)


def look_up(version: SmtpSettings, *, now: datetime) -> Lookup:
    """Look for the record of a version's domain, and note that it was found. Commits. Raises LimitReached."""
    owner_limits.count(owner_limits.DOMAIN_PROOFS, version.account_id, now=now)  # commits before the queries
    account_id, domain, expected = version.account_id, version.domain, _value(version)
    name, servers = f"{LABEL}.{domain}", current_config().dns_servers
    db.session.rollback()  # no transaction waits for a name server
    answer, doubled = resolve_all([(name, "TXT"), (f"{name}.{domain}", "TXT")], servers, _QUERY_TIMEOUT_S)
    if expected in _texts(answer.records):
        found = insert(DomainProof).values(account_id=account_id, domain=domain, proved_at=now)
        found = found.on_conflict_do_nothing(index_elements=["account_id", "domain"])
        if db.session.scalar(found.returning(DomainProof.id)) is not None:
            audit.record(audit.Activity.DOMAIN_PROVED, account_id, after={"domain": domain})
        db.session.commit()
        return Lookup.FOUND
    if not answer.answered:
        return Lookup.UNANSWERED
    if expected in _texts(doubled.records):
        return Lookup.DOUBLED_NAME
    return Lookup.OTHER_VALUE if answer.records else Lookup.MISSING


def sentence(found: Lookup, domain: str) -> str:
    """Return the sentence for the owner about a record that was not found."""
    name = f"{LABEL}.{domain}"
    sentences = {
        Lookup.OTHER_VALUE: _(
            "There is a TXT record at %(name)s, but it has another value. Copy the value below.", name=name
        ),
        Lookup.DOUBLED_NAME: _(
            "The record is at %(name)s.%(domain)s because your DNS provider added the domain to the "
            "name. Enter only %(label)s as the name.",
            name=name,
            domain=domain,
            label=LABEL,
        ),
        Lookup.UNANSWERED: _(
            "No name server answered for %(name)s in time. Check the record again in a few minutes.",
            name=name,
        ),
    }
    missing = _(
        "There is no TXT record at %(name)s yet. A new record can take from a few minutes to an hour to appear.",
        name=name,
    )
    return str(sentences.get(found, missing))


def ask_first(domain: str) -> str:
    """Return the sentence for an owner who activates a version without the proof."""
    return str(_("Prove that %(domain)s is yours first: add the record below.", domain=domain))


def _value(version: SmtpSettings) -> str:
    """Return the text of the record: of this account and domain alone, derived from the portal's secret."""
    text = "\x1f".join(("domain-proof", str(version.account_id), version.domain))
    digest = hmac.digest(current_config().secret_key.encode(), text.encode(), "sha256")
    return _VALUE_PREFIX + base64.urlsafe_b64encode(digest).decode()[:_TOKEN_CHARS]


def _proves_itself(version: SmtpSettings) -> bool:
    """Whether the log-in proves the mailbox: a public mailbox provider's domain through its own servers."""
    return (
        load_catalogue().is_public_mail(version.domain)
        and version.domain in providers.by_host(version.host).mail_domains
    )


def _with_parents(domain: str) -> list[str]:
    """Return a domain and the names above it, without the top level."""
    labels = domain.split(".")
    return [".".join(labels[at:]) for at in range(max(1, len(labels) - 1))]


def _is_live() -> ColumnElement[bool]:
    return SmtpSettings.state == VersionState.LIVE


def _exists(*conditions: ColumnElement[bool]) -> bool:
    return db.session.scalar(select(SmtpSettings.id).where(*conditions).limit(1)) is not None


def _is_proved(account_id: int, domains: Sequence[str]) -> bool:
    query = select(DomainProof.id).where(
        DomainProof.account_id == account_id, DomainProof.domain.in_(domains)
    )
    return db.session.scalar(query.limit(1)) is not None


def _texts(records: Sequence[Any]) -> set[str]:
    """Return the texts of TXT records, whose strings belong together."""
    return {b"".join(one.strings).decode("latin-1").strip() for one in records if hasattr(one, "strings")}
