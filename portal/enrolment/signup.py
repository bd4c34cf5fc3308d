"""Signing up as an affiliate: the person and the email owed to them are committed together."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, select

from .. import rate_limit
from ..affiliates.directory import find_programme
from ..affiliates.models import Affiliate, AffiliateState, TokenPurpose, new_key, search_text
from ..db import db, group_commit, insert, read_write
from ..db.prepared import PreparedStatement
from ..db.transaction import read_snapshot
from ..events import dispatch
from ..events.types import EventType, Source
from ..smtp.mailbox import parse_mailbox
from . import confirmation_links
from .signup_rules import Rules, get_rules

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..accounts.models import Account

# A stranger's address may be typed by anybody, so it is protected across the whole portal. Known or not, each
# sign-up counts: otherwise the budget would tell who is known.
PER_MAILBOX = rate_limit.RateLimit("sign-up-mailbox", 3, timedelta(days=1))
PER_NETWORK = rate_limit.RateLimit("sign-up-network", 20, timedelta(hours=1))
_CODE_LETTERS = "ABCDEFGHJKMNPQRSTUVWXYZ23456789"  # without those that look alike
_MAY_JOIN = (AffiliateState.UNCONFIRMED, AffiliateState.INVITED)
_START_EVENTS = {AffiliateState.ACTIVE: EventType.SIGNED_UP, AffiliateState.PENDING: EventType.APPLIED}
_TABLE = Affiliate.__table__.c
_COLUMNS = tuple(column.key for column in _TABLE if column.key != "id")
_KNOWN_ID = PreparedStatement(
    select(_TABLE.id).where(
        _TABLE.account_id == bindparam("account_id"), _TABLE.mailbox_key == bindparam("mailbox_key")
    )
)


class TooManySignUps(Exception):
    """This network signed up too many people within an hour, or this mailbox was entered too often in a day."""


class LinkExpired(Exception):
    """The link in the email has expired; signing up again brings a new one."""


@dataclass(frozen=True)
class SignUp:
    """What the visitor entered, checked for shape."""

    name: str
    mailbox: str
    network: str


@dataclass(frozen=True)
class _SignUpPlan:
    """What a sign-up will come to, with its emails written: all that can be known before the tables are changed."""

    account: Account
    new: Affiliate
    known: bool
    rules: Rules
    confirmation: confirmation_links.ConfirmationEmail | None  # where the rules ask for one
    caused: dispatch.EmailPlan | None  # where they do not


def sign_up(slug: str, entered: SignUp, *, now: datetime) -> Account | None:
    """Take an affiliate in and owe the email that follows; one commit. Signing up twice changes nothing.

    Where the programme's rules ask for it, the email only asks to confirm. Returns the programme, or None if
    there is none at this address. Raises TooManySignUps, having kept the count.
    """
    with read_snapshot():
        account = find_programme(slug)
        if account is None:
            return None
        plan = _plan_sign_up(account, entered, now)
    # Whoever is known is looked at as they are then; a newcomer is in no session.
    _commit(
        lambda: (
            _consume_rate_limits(account, plan.new.mailbox_key, entered.network, now) and _write(plan, now)
        ),
        swift=not plan.known,
    )
    return account


def resend_confirmation(slug: str, mailbox: str, network: str, *, now: datetime) -> Account | None:
    """Send the confirmation once more to whoever waits for it, and nothing to anybody else. Commits.

    Returns and raises as ``sign_up``.
    """
    with read_snapshot():
        account = find_programme(slug)
        if account is None:
            return None
        key, confirmation = (
            str(parse_mailbox(mailbox)).casefold(),
            confirmation_links.render_confirmation(account),
        )
    _commit(
        lambda: (
            _consume_rate_limits(account, key, network, now)
            and _confirm_again(account, key, confirmation, now)
        )
    )
    return account


def confirm(token: str, *, now: datetime) -> confirmation_links.TokenMatch | None:
    """Let an affiliate begin whose mailbox is now proved; a second time changes nothing. Commits.

    Returns None for a link nobody gave out. Raises LinkTooOld.
    """
    return _use_token(token, TokenPurpose.CONFIRM, now)


def accept_invitation(token: str, *, now: datetime) -> confirmation_links.TokenMatch | None:
    """Let somebody begin who was invited, and now agrees to be written to; as ``confirm``."""
    return _use_token(token, TokenPurpose.JOIN, now)


def rate_limit_key(mailbox_key: str) -> str:
    """Reduce the spellings of one mailbox to one, for the budget only: ``a.d.a+x@`` is ``ada@``."""
    local, _, domain = mailbox_key.rpartition("@")
    folded = local.partition("+")[0].replace(".", "")
    return f"{folded or local}@{'gmail.com' if domain == 'googlemail.com' else domain}"


def new_affiliate(account: Account, name: str, mailbox: str, now: datetime) -> Affiliate:
    """Return an affiliate who is in no table yet and has agreed to nothing."""
    parsed = str(parse_mailbox(mailbox))  # as the envelope will have it, its domain in A-labels
    code = "".join(secrets.choice(_CODE_LETTERS) for _ in range(8))
    return Affiliate(
        account_id=account.id,
        name=name,
        mailbox=parsed,
        mailbox_key=parsed.casefold(),
        code=code,
        dashboard_key=new_key(),
        preferences_key=new_key(),
        search_text=search_text(name, parsed, code),
        state=AffiliateState.UNCONFIRMED,
        created_at=now,
    )


def _plan_sign_up(account: Account, entered: SignUp, now: datetime) -> _SignUpPlan:
    """Look up what the sign-up depends on, and write its emails. A newcomer without confirmation begins at once."""
    new, rules = new_affiliate(account, entered.name, entered.mailbox, now), get_rules(account.id)
    new.consented_at = now
    known = _KNOWN_ID.first(account_id=account.id, mailbox_key=new.mailbox_key) is not None
    confirmation = caused = None
    if rules.confirm:
        confirmation = confirmation_links.render_confirmation(account)
    else:
        _start(new, approved=rules.auto_approve, now=now)
        caused = dispatch.plan_emails(account, _START_EVENTS[new.state], new, {})
    return _SignUpPlan(account, new, known, rules, confirmation, caused)


def _commit(deed: Callable[[], bool], *, swift: bool = False) -> None:
    """Change the tables and commit, together with others who sign up at this moment; the count stays in any case."""
    with read_write():
        if not group_commit.run(deed, raw=swift):
            raise TooManySignUps


def _consume_rate_limits(account: Account, mailbox_key: str, network: str, now: datetime) -> bool:
    allowed = rate_limit.consume(PER_NETWORK, account.id, network, now=now)
    return allowed and rate_limit.consume(PER_MAILBOX, rate_limit_key(mailbox_key), now=now)


def _write(plan: _SignUpPlan, now: datetime) -> bool:
    known = _lock_known(plan.account.id, plan.new.mailbox_key) if plan.known else None
    if known is not None:
        _continue_known(known, plan, now)
    elif _insert_affiliate(plan.new):
        _enqueue(plan.new, plan, now)
    return True


def _confirm_again(
    account: Account, key: str, confirmation: confirmation_links.ConfirmationEmail, now: datetime
) -> bool:
    affiliate = _lock_known(account.id, key)
    if affiliate is not None and affiliate.state is AffiliateState.UNCONFIRMED:
        confirmation_links.enqueue_confirmation(confirmation, affiliate, now=now)
    return True


def _lock_known(account_id: int, mailbox_key: str) -> Affiliate | None:
    query = select(Affiliate).where(Affiliate.account_id == account_id, Affiliate.mailbox_key == mailbox_key)
    return db.session.scalar(query.with_for_update())


def _insert_affiliate(new: Affiliate) -> bool:
    """Insert a newcomer; False if the same person signed up at this very moment, which then owes the email."""
    values = {f"v_{name}": getattr(new, name) for name in _COLUMNS}
    ident: int | None = _insert_statement(db.engine.dialect.name).scalar(**values)
    if ident is not None:
        new.id = ident
    return ident is not None


@cache
def _insert_statement(_dialect: str) -> PreparedStatement:
    values: dict[str, Any] = {name: bindparam(f"v_{name}") for name in _COLUMNS}
    statement = insert(Affiliate).values(values)
    statement = statement.on_conflict_do_nothing(index_elements=["account_id", "mailbox_key"])
    return PreparedStatement(statement.returning(Affiliate.__table__.c.id))


def _continue_known(known: Affiliate, plan: _SignUpPlan, now: datetime) -> None:
    """Ask for the confirmation again, or let somebody begin who may; whoever has begun long ago is left alone."""
    if known.state not in _MAY_JOIN:
        return
    if plan.confirmation is None:
        _start(known, approved=plan.rules.auto_approve, now=now)
        db.session.flush()
    _enqueue(known, replace(plan, caused=None), now)


def _enqueue(affiliate: Affiliate, plan: _SignUpPlan, now: datetime) -> None:
    if plan.confirmation is not None:
        confirmation_links.enqueue_confirmation(plan.confirmation, affiliate, now=now)
    else:
        _record_start(plan.account, affiliate, now, plan.caused)


def _use_token(token: str, purpose: TokenPurpose, now: datetime) -> confirmation_links.TokenMatch | None:
    found = confirmation_links.find_token(token, purpose, now=now, lock=True)
    if found is None:
        return None
    affiliate = found.affiliate
    if affiliate.state in _MAY_JOIN:
        if found.expired:
            db.session.rollback()
            raise LinkExpired
        # Whoever the owner invited need not wait for the owner's word.
        approved = affiliate.state is AffiliateState.INVITED or get_rules(found.account.id).auto_approve
        affiliate.confirmed_at = found.token.used_at = now
        _start(affiliate, approved=approved, now=now)
        db.session.flush()
        _record_start(found.account, affiliate, now)
    db.session.commit()
    return found


def _start(affiliate: Affiliate, *, approved: bool, now: datetime) -> None:
    affiliate.state = AffiliateState.ACTIVE if approved else AffiliateState.PENDING
    affiliate.state_since = now
    affiliate.consented_at = affiliate.consented_at or now


def _record_start(
    account: Account, affiliate: Affiliate, now: datetime, planned: dispatch.EmailPlan | None = None
) -> None:
    """Owe the emails that a beginning causes."""
    occasion = _START_EVENTS[affiliate.state]
    key = f"{occasion}:{affiliate.id}"
    dispatch.record_event(
        account, occasion, affiliate, {}, key=key, source=Source.PORTAL, now=now, planned=planned
    )
