"""Sign-up rules of an account: whether mailboxes are confirmed, and whether the owner approves each affiliate."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from sqlalchemy import bindparam, select

from .. import audit
from ..affiliates.models import SignUpRules
from ..db import db, insert
from ..db.prepared import PreparedStatement

_RULES = PreparedStatement(
    select(SignUpRules.__table__.c.auto_approve, SignUpRules.__table__.c.confirm).where(
        SignUpRules.__table__.c.account_id == bindparam("account")
    )
)


@dataclass(frozen=True)
class Rules:
    """``confirm`` asks for a click on a link in an email; ``auto_approve`` needs no approval by the owner."""

    auto_approve: bool = True
    confirm: bool = True


def get_rules(account_id: int) -> Rules:
    """Return an account's rules, or the defaults if none were saved."""
    row = _RULES.first(account=account_id)
    return Rules(*row) if row else Rules()


def save_rules(account_id: int, rules: Rules) -> None:
    """Save the rules. They apply to later sign-ups only. Commits."""
    before = asdict(get_rules(account_id))
    values = {"auto_approve": rules.auto_approve, "confirm": rules.confirm}
    statement = insert(SignUpRules).values(account_id=account_id, **values)
    db.session.execute(statement.on_conflict_do_update(index_elements=["account_id"], set_=values))
    audit.record(audit.Activity.SIGN_UP_RULES_SAVED, account_id, before=before, after=values)
    db.session.commit()
