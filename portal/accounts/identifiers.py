"""Identifiers: the lookup key of a mailbox, and slugs, the short names of programmes in addresses."""

from __future__ import annotations

import re
import unicodedata

from flask_babel import gettext as _
from sqlalchemy import select

from ..db import db
from ..smtp.mailbox import MailboxError, parse_mailbox
from .models import Account

_READ_LIMIT_CHARS = 200  # of a programme's name; Unicode normalisation can take quadratic time
_SLUG_LIMIT_CHARS = 48  # leaves room for a number within the column


def login_mailbox(text: str) -> str:
    """Return a mailbox that a person may log in with, in its canonical spelling.

    Raises:
        MailboxError: it is not valid, or has other than ASCII characters before its @. The message is one sentence.
    """
    parsed = parse_mailbox(text)
    if not parsed.is_ascii:
        raise MailboxError(_("The part before the @ may contain only the letters a–z and digits."))
    return str(parsed)


def mailbox_key(text: str) -> str:
    """Return the lookup key of a mailbox: canonical domain, case-folded.

    By RFC 5321, mailboxes that differ only in the case of the local part are different; in practice they are not.
    """
    try:
        return str(parse_mailbox(text)).casefold()
    except MailboxError:
        return text.strip().casefold()


def unique_slug(programme: str) -> str:
    """Return an unused slug for /join/<slug>: plain letters, digits and hyphens."""
    base = slug_of(programme)
    query = select(Account.slug).where(Account.slug.startswith(base, autoescape=True))
    taken = set(db.session.scalars(query))
    if base not in taken:
        return base
    return next(slug for n in range(2, len(taken) + 3) if (slug := f"{base}-{n}") not in taken)


def slug_of(programme: str) -> str:
    """Return a programme's name as a slug; a name in a script without Latin letters becomes "programme"."""
    plain = (
        unicodedata.normalize("NFKD", programme[:_READ_LIMIT_CHARS])
        .encode("ascii", "ignore")
        .decode()
        .lower()
    )
    slug = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")
    return slug[:_SLUG_LIMIT_CHARS].strip("-") or "programme"


def find_account_id(slug: str) -> int | None:
    """Return the id of the account with this slug."""
    return db.session.scalar(select(Account.id).where(Account.slug == slug))


def find_slug(account_id: int) -> str | None:
    """Return the slug of an account."""
    return db.session.scalar(select(Account.slug).where(Account.id == account_id))


def account_slugs() -> dict[int, str]:
    """Return the slug of every account by its id."""
    return dict(db.session.execute(select(Account.id, Account.slug)).all())
