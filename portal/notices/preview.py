"""What a text looks like before it is saved: with samples, or as one of the affiliates would get it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select

from ..affiliates import links
from ..affiliates.models import Affiliate
from ..db import db, insert
from ..state import current_config
from . import rendering, validation
from .greeting import first_name_of
from .models import NoticeDraft

if TYPE_CHECKING:
    from datetime import datetime

    from ..accounts.models import Account, Owner
    from .catalogue import Notice
    from .defaults import Text

_SHOWN = 20  # affiliates to choose from; the others are found by searching


@dataclass(frozen=True)
class Preview:
    """A rendered text, or why there is none. ``mark`` changes with the words, so that addresses can."""

    mail: rendering.Rendered | None
    faults: tuple[str, ...] = ()
    mark: str = ""


def preview(notice: Notice, account: Account, text: Text, affiliate: Affiliate | None) -> Preview:
    """Render words that are perhaps not saved yet."""
    try:
        judged = validation.judge(notice, account, text)
        values = values_of(affiliate, account) if affiliate else None
        mail = rendering.sample(notice, account, values=values, text=judged.text)
    except validation.TextFaults as faults:
        return Preview(None, tuple(one for said in faults.by_field.values() for one in said))
    except rendering.TextRefused as refused:
        return Preview(None, (str(refused),))
    digest = hashlib.sha256(f"{mail.subject}\0{mail.html}\0{mail.text}".encode("utf-8", "replace"))
    return Preview(mail, mark=digest.hexdigest()[:12])


def values_of(affiliate: Affiliate, account: Account) -> dict[str, str]:
    """Return what a text may say about an affiliate."""
    config, first = current_config(), first_name_of(affiliate.name)
    return {
        "first_name": first,
        "last_name": affiliate.name.removeprefix(first).strip(),
        "name": affiliate.name,
        "email": affiliate.mailbox,
        "code": affiliate.code,
        "link": links.link_of(affiliate, account, config),
        "dashboard": links.dashboard_of(affiliate, config),
        "affiliate_name": affiliate.name,
        "affiliate_email": affiliate.mailbox,
        "affiliate_page": links.page_of(affiliate, config),
    }


def affiliate_of(account_id: int, ident: int | None) -> Affiliate | None:
    """Return one of the account's affiliates."""
    if ident is None:
        return None
    query = select(Affiliate).where(Affiliate.account_id == account_id, Affiliate.id == ident)
    return db.session.scalar(query)


def affiliates_like(account_id: int, asked: str) -> list[Affiliate]:
    """Return the newest affiliates whose name, mailbox or code holds what was asked for."""
    query = select(Affiliate).where(Affiliate.account_id == account_id)
    words = asked.replace("\0", "").casefold().strip()[:100]
    if words:
        query = query.where(Affiliate.search_text.contains(words, autoescape=True))
    return list(db.session.scalars(query.order_by(Affiliate.id.desc()).limit(_SHOWN)))


def keep(owner: Owner, notice: Notice, text: Text, *, based_on: int, now: datetime) -> None:
    """Keep what an owner is writing. Commits."""
    words = {
        "subject": text.subject,
        "html": text.html,
        "text": text.text,
        "based_on": based_on,
        "updated_at": now,
    }
    row = {"owner_id": owner.id, "kind": notice.kind, **words}
    statement = insert(NoticeDraft).values(row)
    db.session.execute(statement.on_conflict_do_update(index_elements=["owner_id", "kind"], set_=words))
    db.session.commit()


def kept(owner: Owner, notice: Notice) -> NoticeDraft | None:
    """Return what an owner is writing, if anything was kept."""
    return db.session.get(NoticeDraft, (owner.id, notice.kind))


def forget(owner: Owner, notice: Notice) -> None:
    """Forget what an owner was writing, since it is saved or given up. Commits."""
    draft = kept(owner, notice)
    if draft is not None:
        db.session.delete(draft)
        db.session.commit()
