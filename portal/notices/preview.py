"""What a text looks like before it is saved: with samples, or as one of the affiliates would get it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from flask import current_app

from ..db import db, insert
from . import rendering, validation
from .models import NoticeDraft

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from flask import Flask

    from ..accounts.models import Account, Owner
    from .catalogue import Notice
    from .texts import Text


@dataclass(frozen=True)
class Preview:
    """A rendered text, or why there is none. ``mark`` changes with the words, so that addresses can."""

    mail: rendering.RenderedEmail | None
    faults: tuple[str, ...] = ()
    mark: str = ""


@dataclass(frozen=True)
class PreviewRecipient:
    """A person whose values a preview can show instead of samples."""

    id: int
    name: str
    mailbox: str
    values: Mapping[str, str]


class PreviewRecipients(Protocol):
    """Finds the people whose values previews can show; the room that keeps them registers one."""

    def find(self, account: Account, id_: int, /) -> PreviewRecipient | None:
        """Return a person of this account, or None."""

    def search(self, account: Account, text: str, /) -> list[PreviewRecipient]:
        """Return some people of this account, newest first: all, or those who match ``text``."""


def register_recipients(app: Flask, recipients: PreviewRecipients) -> None:
    """Register who previews can be shown for."""
    app.extensions["signet.preview_recipients"] = recipients


def recipients() -> PreviewRecipients:
    """Return the registered recipients of previews."""
    registered: PreviewRecipients = current_app.extensions["signet.preview_recipients"]
    return registered


def render_preview(
    notice: Notice, account: Account, text: Text, values: Mapping[str, str] | None = None
) -> Preview:
    """Render a text, saved or not. ``values`` replace the samples of the variables they name."""
    try:
        judged = validation.validate(notice, account, text)
        mail = rendering.render_sample(notice, account, values=values, text=judged.text)
    except validation.InvalidText as faults:
        return Preview(None, tuple(one for said in faults.by_field.values() for one in said))
    except rendering.UnrenderableText as refused:
        return Preview(None, (str(refused),))
    digest = hashlib.sha256(f"{mail.subject}\0{mail.html}\0{mail.text}".encode("utf-8", "replace"))
    return Preview(mail, mark=digest.hexdigest()[:12])


def save_draft(owner: Owner, notice: Notice, text: Text, *, based_on: int, now: datetime) -> None:
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


def find_draft(owner: Owner, notice: Notice) -> NoticeDraft | None:
    """Return what an owner is writing, if anything was kept."""
    return db.session.get(NoticeDraft, (owner.id, notice.kind))


def delete_draft(owner: Owner, notice: Notice) -> None:
    """Forget what an owner was writing, since it is saved or given up. Commits."""
    draft = find_draft(owner, notice)
    if draft is not None:
        db.session.delete(draft)
        db.session.commit()
