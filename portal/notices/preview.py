"""Previews of a text before it is saved, with sample values or those of an affiliate; and drafts of the editor."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from sqlalchemy import delete

from ..db import db, insert
from ..state import get_state
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
    """A rendered text, or the errors in it. ``digest`` changes with the content; frames have it in their address."""

    mail: rendering.RenderedEmail | None
    errors: tuple[str, ...] = ()
    digest: str = ""


@dataclass(frozen=True)
class PreviewRecipient:
    """A person whose values a preview can use instead of samples."""

    id: int
    name: str
    mailbox: str
    values: Mapping[str, str]


class PreviewRecipients(Protocol):
    """Look-ups of the people whose values previews can use. The package that stores them registers an object."""

    def find(self, account: Account, id_: int, /) -> PreviewRecipient | None:
        """Return a person of this account by id."""

    def search(self, account: Account, text: str, /) -> list[PreviewRecipient]:
        """Return a page of people of this account that match ``text`` (empty: all), newest first."""


class _RecipientsRegistry:
    """Holds the registered look-ups."""

    recipients: PreviewRecipients | None = None


def register_recipients(app: Flask, recipients: PreviewRecipients) -> None:
    """Register the look-ups of the recipients of previews."""
    get_state(app).part(_RecipientsRegistry).recipients = recipients


def recipients() -> PreviewRecipients:
    """Return the registered look-ups."""
    registered = get_state().part(_RecipientsRegistry).recipients
    if registered is None:
        raise LookupError("no preview recipients are registered")
    return registered


def render_preview(
    notice: Notice, account: Account, text: Text, values: Mapping[str, str] | None = None
) -> Preview:
    """Render a text, saved or not. ``values`` replace the samples of the variables they name."""
    try:
        valid = validation.validate(notice, account, text)
        mail = valid.sample
        if values is not None:
            mail = rendering.render_sample(notice, account, values=values, text=valid.text)
    except validation.InvalidText as error:
        return Preview(None, tuple(one for sentences in error.by_field.values() for one in sentences))
    except rendering.UnrenderableText as error:
        return Preview(None, (str(error),))
    digest = hashlib.sha256(f"{mail.subject}\0{mail.html}\0{mail.text}".encode("utf-8", "replace"))
    return Preview(mail, digest=digest.hexdigest()[:12])


def render_test(
    notice: Notice, account: Account, text: Text, values: Mapping[str, str] | None, *, arrival_url: str
) -> rendering.RenderedEmail:
    """Render a valid text as a test email, with its link *It arrived*. Raises as ``validation.validate`` and ``render``."""
    valid = validation.validate(notice, account, text)
    return rendering.render_sample(notice, account, values=values, text=valid.text, arrival_url=arrival_url)


_KEY = ["owner_id", "account_id", "kind"]


def save_draft(owner: Owner, notice: Notice, text: Text, *, based_on: int, now: datetime) -> None:
    """Store the unsaved text of an owner's editor. Commits."""
    values = {
        "subject": text.subject,
        "html": text.html,
        "text": text.text,
        "markdown": text.markdown,
        "based_on": based_on,
        "updated_at": now,
    }
    row = {"owner_id": owner.id, "account_id": owner.account_id, "kind": notice.kind, **values}
    statement = insert(NoticeDraft).values(row)
    db.session.execute(statement.on_conflict_do_update(index_elements=_KEY, set_=values))
    db.session.commit()


def find_draft(owner: Owner, notice: Notice) -> NoticeDraft | None:
    """Return the stored draft of an owner, if there is one."""
    return db.session.get(NoticeDraft, (owner.id, owner.account_id, notice.kind))


def delete_draft(owner: Owner, notice: Notice) -> None:
    """Delete the draft after its text was saved or discarded. Commits."""
    mine = (NoticeDraft.owner_id == owner.id, NoticeDraft.account_id == owner.account_id)
    db.session.execute(delete(NoticeDraft).where(*mine, NoticeDraft.kind == notice.kind))
    db.session.commit()
