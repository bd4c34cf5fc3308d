"""What a sign-up depends on, read by one statement: the programme, its rules, server and branding, and the mailbox.

Each of them has a look-up of its own in its room, which other pages use. Here they are one statement, because a sign-up is
the request that comes in crowds: six look-ups, with BEGIN and COMMIT around them, cost more than all else that it reads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import and_, bindparam, select

from ..accounts.models import Account
from ..accounts.standing import is_limited
from ..affiliates.directory import ACCOUNT_COLUMNS, account_of, can_be_looked_up
from ..affiliates.models import Affiliate, SignUpRules
from ..db.prepared import PreparedStatement
from ..notices import branding
from ..notices.models import NoticeBranding, NoticeLogo
from ..settings.models import IS_LIVE, SmtpSettings
from .signup_rules import Rules

if TYPE_CHECKING:
    from sqlalchemy import Select

    from ..notices.branding import Branding

_RULES_END = len(ACCOUNT_COLUMNS) + 2
_IDS_END = _RULES_END + 2


@dataclass(frozen=True)
class ProgrammeFacts:
    """A programme at one moment. ``account`` is shared by requests: do not change it.

    ``limited``: as ``standing.is_limited``. ``is_known``: an affiliate of the programme has the mailbox.
    """

    account: Account
    rules: Rules
    limited: bool
    branding: Branding
    is_known: bool


def read_facts(slug: str, mailbox_key: str) -> ProgrammeFacts | None:
    """Return the facts of the programme with this slug, or None. Needs a transaction or ``separate_reads``."""
    if not can_be_looked_up(slug):
        return None
    row = _FACTS.first(slug=slug.lower(), key=mailbox_key)
    if row is None:
        return None
    account, rules = account_of(row[: len(ACCOUNT_COLUMNS)]), row[len(ACCOUNT_COLUMNS) : _RULES_END]
    live_id, known_id = row[_RULES_END:_IDS_END]
    return ProgrammeFacts(
        account=account,
        rules=Rules(*rules) if None not in rules else Rules(),
        limited=is_limited(account, has_own_server=live_id is not None),
        branding=branding.branding_from(row[_IDS_END:]),
        is_known=known_id is not None,
    )


def _statement() -> Select[tuple[object, ...]]:
    account, rules, known = Account.__table__.c, SignUpRules.__table__.c, Affiliate.__table__.c
    look, logo, server = NoticeBranding.__table__.c, NoticeLogo.__table__.c, SmtpSettings.__table__.c
    tables = (
        Account.__table__.outerjoin(SignUpRules.__table__, rules.account_id == account.id)
        .outerjoin(SmtpSettings.__table__, and_(server.account_id == account.id, IS_LIVE))
        .outerjoin(
            Affiliate.__table__, and_(known.account_id == account.id, known.mailbox_key == bindparam("key"))
        )
        .outerjoin(NoticeBranding.__table__, look.account_id == account.id)
        .outerjoin(NoticeLogo.__table__, logo.id == look.logo_id)
    )
    columns = (*account, rules.auto_approve, rules.confirm, server.id, known.id, *branding.COLUMNS)
    return select(*columns).select_from(tables).where(account.slug == bindparam("slug"))


_FACTS = PreparedStatement(_statement())
