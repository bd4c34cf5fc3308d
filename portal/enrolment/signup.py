"""Signing up as an affiliate. The affiliate and the email that follows are committed in one transaction.

Everything that can be read or rendered is prepared before that transaction begins, because SQLite has one writer at a time.
The transaction of a new affiliate is a raw one: compiling and bookkeeping in the ORM session cost more than all of its
statements. Its statements are therefore prepared: those below and in confirmation_links, the suppression check,
``rate_limit.consume`` (also by recipient_limits), ``events.dispatch`` and ``outbox.queue.enqueue``. Others are not. What it
depends on is read by one prepared statement as well (programme_facts).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, select

from .. import recipient_limits
from ..accounts import standing
from ..affiliates import codes, erased, page_keys
from ..affiliates.consent import Agreement, AgreementWay, agreed_words
from ..affiliates.directory import find_programme
from ..affiliates.models import Affiliate, AffiliateState, EmailPace, TokenPurpose, gmail_name
from ..affiliates.search_text import search_text
from ..db import db, group_commit, insert, new_row, read_write
from ..db.prepared import PreparedStatement
from ..db.transaction import current_dialect, read_snapshot, separate_reads
from ..events import dispatch
from ..events.types import EventType, Source
from ..smtp.mailbox import parse_mailbox
from . import confirmation_links, sign_up_brake
from .programme_facts import ProgrammeFacts, read_facts
from .signup_rules import Rules, get_rules

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from ..accounts.models import Account

_MAY_JOIN = (AffiliateState.UNCONFIRMED, AffiliateState.INVITED)
_START_EVENTS = {AffiliateState.ACTIVE: EventType.SIGNED_UP, AffiliateState.PENDING: EventType.APPLIED}
_WAYS = {TokenPurpose.CONFIRM: AgreementWay.CONFIRMATION, TokenPurpose.JOIN: AgreementWay.INVITATION}
NOT_STATED = Agreement()
_EMPTY_TEXTS = (
    "consent_words",
    "consent_network",
    "consent_source",
    "confirmed_network",
    "notes",
    "website",
    "language",
)
_OF_NEW = dict.fromkeys(_EMPTY_TEXTS, "") | {
    "state": AffiliateState.UNCONFIRMED,
    "email_pace": EmailPace.AT_ONCE,
    "consent_way": AgreementWay.UNKNOWN,
    "erasure_asked_at": None,
    "import_id": None,
}
_COLUMNS = tuple(column.key for column in Affiliate.__table__.c if column.key != "id")


class ProgrammeClosed(Exception):
    """The programme's account is suspended or not approved yet, so sign-up is closed."""


class TooManySignUps(Exception):
    """The network has signed up too many people in an hour, or strangers caused too many emails to the mailbox today."""


class LinkExpired(Exception):
    """The link in the email has expired. Signing up again sends a new one."""


@dataclass(frozen=True)
class SignUp:
    """The validated input of the sign-up form, with the visitor's network and the sentence that was agreed to."""

    name: str
    mailbox: str
    network: str
    sentence: str = ""
    website: str = ""
    form: sign_up_brake.OpenForm | None = None  # None: not by the public form, so it is never slow
    language: str = ""  # as chosen on the page


@dataclass(frozen=True)
class _SignUpPlan:
    """What a sign-up will write. ``confirmation`` is set where the rules ask for one, ``emails`` otherwise."""

    account: Account
    new: Affiliate
    sentence: str
    is_known: bool
    rules: Rules
    confirmation: confirmation_links.ConfirmationEmail | None
    emails: dispatch.EmailPlan | None = None


def sign_up(slug: str, entered: SignUp, *, now: datetime) -> Account | None:
    """Store an affiliate and queue the email that follows. Signing up again changes nothing. Commits.

    Where the programme's rules ask for it, the email only asks to confirm. Returns the programme, or None if no
    programme has this slug.

    Raises:
        ProgrammeClosed: The account is waiting or suspended.
        TooManySignUps: A rate limit is exceeded; the attempt is counted.
        FormSlowed: The form is slow at present, and takes the sign-up later.
    """
    mailbox_key = str(parse_mailbox(entered.mailbox)).casefold()
    with separate_reads():
        facts = read_facts(slug, mailbox_key)
        if facts is None:
            return None
        _require_open(facts.account)
        plan = _plan_sign_up(facts, entered, now)
    account = plan.account
    if plan.confirmation is None:
        with read_snapshot():
            plan = replace(plan, emails=dispatch.plan_emails(_start_event(account, plan.new)))
    if entered.form is not None:
        sign_up_brake.admit(account, entered.form, now=now)

    def write() -> bool:
        allowed = consume_rate_limits(account, plan.new.mailbox_key, entered.network, now)
        return allowed and _write(plan, now)

    # The row of a known affiliate is locked and changed through the session, so only a new one is written raw.
    try:
        commit_counted(write, raw=not plan.is_known)
    except TooManySignUps:
        sign_up_brake.note_refusal(account, entered.network, now=now)
        raise
    if entered.form is not None:
        sign_up_brake.note(account, entered.network, now=now)
    return account


def confirm(
    token: str, agreement: Agreement = NOT_STATED, *, now: datetime
) -> confirmation_links.TokenMatch | None:
    """Confirm the mailbox and let the affiliate start. A second time changes nothing. Commits.

    Returns None for an unknown token.

    Raises:
        LinkExpired: The link is too old and was not used.
    """
    return _use_token(token, TokenPurpose.CONFIRM, agreement, now)


def accept_invitation(
    token: str, agreement: Agreement = NOT_STATED, *, now: datetime
) -> confirmation_links.TokenMatch | None:
    """Let an invited affiliate start, with their consent to emails. Returns and raises as ``confirm``. Commits."""
    return _use_token(token, TokenPurpose.JOIN, agreement, now)


def new_affiliate(account: Account, name: str, mailbox: str, now: datetime) -> Affiliate:
    """Return an affiliate that is not stored yet and has agreed to nothing."""
    parsed = str(parse_mailbox(mailbox))  # as in the envelope: the domain in A-labels
    key, code = parsed.casefold(), codes.new_code()
    values = {
        "account_id": account.id,
        "name": name,
        "mailbox": parsed,
        "mailbox_key": key,
        "gmail_name": gmail_name(key),
        "code": code,
        "search_text": search_text(name, parsed, code),
        "created_at": now,
    }
    new = new_row(Affiliate, _OF_NEW | values)
    page_keys.assign(new)
    return new


def find_open_programme(slug: str) -> Account | None:
    """Return the programme with this slug, or None. Raises ProgrammeClosed while its account is waiting or suspended."""
    account = find_programme(slug)
    if account is not None:
        _require_open(account)
    return account


def _require_open(account: Account) -> None:
    if standing.state_of(account) is not standing.AccountState.ACTIVE:
        raise ProgrammeClosed


def _plan_sign_up(facts: ProgrammeFacts, entered: SignUp, now: datetime) -> _SignUpPlan:
    """Make the affiliate, and render the confirmation if there is one. Without it the affiliate starts at once.

    A limited account always asks for the confirmation, because it writes to confirmed mailboxes only.
    """
    account, limited = facts.account, facts.limited
    new = new_affiliate(account, entered.name, entered.mailbox, now)
    words = agreed_words(entered.sentence, account, shows_links=not limited)
    _record_consent(new, AgreementWay.SIGN_UP, words, entered.network, now)
    new.website = entered.website if account.asks_website else ""
    new.language = entered.language if entered.language != account.language else ""
    erased.load_key()
    confirmation = None
    if facts.rules.confirm or limited:
        confirmation = confirmation_links.render_confirmation_with(
            account, facts.branding, limited=limited, language=new.language
        )
    else:
        start(new, approved=facts.rules.auto_approve, now=now)
    return _SignUpPlan(account, new, entered.sentence, facts.is_known, facts.rules, confirmation)


def commit_counted(write: Callable[[], bool], *, raw: bool = False) -> None:
    """Run ``write`` in a group commit. It commits in any case, so that the rate limits count the attempt."""
    with read_write():
        if not group_commit.run(write, raw=raw):
            raise TooManySignUps


def consume_rate_limits(account: Account, mailbox_key: str, network: str, now: datetime) -> bool:
    """Count an attempt of a stranger; return whether the limits allow it."""
    allowed = sign_up_brake.consume_network(account, network, now=now)
    return allowed and recipient_limits.consume(recipient_limits.BY_STRANGERS, mailbox_key, now=now)


def _write(plan: _SignUpPlan, now: datetime) -> bool:
    known = lock_known(plan.account.id, plan.new.mailbox_key) if plan.is_known else None
    if known is not None:
        _continue_known(known, plan, now)
    elif _insert_affiliate(plan.new):
        _enqueue(plan.new, plan, now)
    return True


def lock_known(account_id: int, mailbox_key: str) -> Affiliate | None:
    """Return the locked row of the affiliate with this mailbox, or None."""
    query = select(Affiliate).where(Affiliate.account_id == account_id, Affiliate.mailbox_key == mailbox_key)
    return db.session.scalar(query.with_for_update())


def _insert_affiliate(new: Affiliate) -> bool:
    """Insert a new affiliate. Returns False if a concurrent sign-up of the same mailbox was first; it sends the email."""
    set_ = vars(new)  # not through the ORM's attributes; those that were never set are None
    values = {f"v_{name}": set_.get(name) for name in _COLUMNS}
    affiliate_id: int | None = _insert_statement(current_dialect()).scalar(**values)
    if affiliate_id is not None:
        new.id = affiliate_id
    return affiliate_id is not None


@cache
def _insert_statement(_dialect: str) -> PreparedStatement:
    values: dict[str, Any] = {name: bindparam(f"v_{name}") for name in _COLUMNS}
    statement = insert(Affiliate).values(values)
    statement = statement.on_conflict_do_nothing(index_elements=["account_id", "mailbox_key"])
    return PreparedStatement(statement.returning(Affiliate.__table__.c.id))


def _continue_known(known: Affiliate, plan: _SignUpPlan, now: datetime) -> None:
    """Send the confirmation again, or start an affiliate who may join now. One who has started is left unchanged."""
    if known.state not in _MAY_JOIN:
        return
    known.language = plan.new.language or known.language
    if known.consented_at is None:
        agreement = Agreement(plan.sentence, plan.new.consent_network)
        agree(known, plan.account, AgreementWay.SIGN_UP, agreement, now=now)
    if plan.confirmation is None:
        start(known, approved=plan.rules.auto_approve, now=now)
        db.session.flush()
    _enqueue(known, replace(plan, emails=None), now)  # the plan was made for the values of the new row


def _enqueue(affiliate: Affiliate, plan: _SignUpPlan, now: datetime) -> None:
    if plan.confirmation is not None:
        confirmation_links.enqueue_confirmation(plan.confirmation, affiliate, now=now)
    else:
        record_start(plan.account, affiliate, now, plan.emails)


def _use_token(
    token: str, purpose: TokenPurpose, agreement: Agreement, now: datetime
) -> confirmation_links.TokenMatch | None:
    found = confirmation_links.find_token(token, purpose, now=now, lock=True)
    if found is None:
        return None
    affiliate = found.affiliate
    if affiliate.state in _MAY_JOIN:
        if found.expired:
            db.session.rollback()
            raise LinkExpired
        approved = is_approved_by_link(affiliate)
        affiliate.confirmed_at = found.token.used_at = now
        affiliate.confirmed_network = agreement.network
        if affiliate.consented_at is None:
            agree(affiliate, found.account, _WAYS[purpose], agreement, now=now)
        start(affiliate, approved=approved, now=now)
        db.session.flush()
        record_start(found.account, affiliate, now)
    db.session.commit()
    return found


def is_approved_by_link(affiliate: Affiliate) -> bool:
    """Return whether an affiliate is active at once after a link is used; else the owner decides afterwards."""
    # An invitation and an import are approvals.
    invited = affiliate.state is AffiliateState.INVITED or affiliate.import_id is not None
    return invited or get_rules(affiliate.account_id).auto_approve


def agree(
    affiliate: Affiliate, account: Account, way: AgreementWay, agreement: Agreement, *, now: datetime
) -> None:
    """Record the consent of an affiliate, with its proof. The caller commits."""
    words = agreed_words(agreement.sentence, account, shows_links=not standing.is_limited(account))
    _record_consent(affiliate, way, words, agreement.network, now)


def _record_consent(affiliate: Affiliate, way: AgreementWay, words: str, network: str, now: datetime) -> None:
    affiliate.consented_at, affiliate.consent_way = now, way
    affiliate.consent_words, affiliate.consent_network = words, network


def start(affiliate: Affiliate, *, approved: bool, now: datetime) -> None:
    """Let an affiliate take part, or wait for the owner's approval. The caller commits."""
    affiliate.state = AffiliateState.ACTIVE if approved else AffiliateState.PENDING
    affiliate.state_since = now


def _start_event(account: Account, affiliate: Affiliate) -> dispatch.NewEvent:
    return dispatch.NewEvent(account, _START_EVENTS[affiliate.state], affiliate, {})


def record_start(
    account: Account, affiliate: Affiliate, now: datetime, plan: dispatch.EmailPlan | None = None
) -> None:
    """Record that an affiliate starts or applies, and queue the emails of that. The caller commits."""
    new = _start_event(account, affiliate)
    dispatch.record_event(new, key=f"{new.type}:{affiliate.id}", source=Source.PORTAL, now=now, plan=plan)
