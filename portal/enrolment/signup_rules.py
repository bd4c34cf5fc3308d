"""How an account takes people in: whether mailboxes are proved first, and whether the owner decides."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import bindparam, select

from ..affiliates.models import SignUpRules
from ..db import db, insert
from ..db.prepared import PreparedStatement


@dataclass(frozen=True)
class Rules:
    """``confirm``: a link in an email is followed first. ``auto_approve``: nobody waits for the owner's word."""

    auto_approve: bool = True
    confirm: bool = True


_ROW = SignUpRules.__table__.c
_RULES = PreparedStatement(
    select(_ROW.auto_approve, _ROW.confirm).where(_ROW.account_id == bindparam("account_id"))
)


def get_rules(account_id: int) -> Rules:
    """Return an account's rules; where none were chosen, mailboxes are proved and nobody waits."""
    row = _RULES.first(account_id=account_id)
    return Rules(*row) if row else Rules()


def save_rules(account_id: int, rules: Rules) -> None:
    """Change the rules; whoever signed up before goes on as begun. Commits."""
    values = {"auto_approve": rules.auto_approve, "confirm": rules.confirm}
    statement = insert(SignUpRules).values(account_id=account_id, **values)
    db.session.execute(statement.on_conflict_do_update(index_elements=["account_id"], set_=values))
    db.session.commit()
