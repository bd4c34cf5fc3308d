"""The forms of the room: the public sign-up, and those of the owner."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

from wtforms import BooleanField, Form, HiddenField, StringField, TextAreaField
from wtforms.validators import StopValidation, ValidationError

from ..smtp.mailbox import MailboxError, parse_mailbox
from ..web.fields import PortalForm, at_most, mailbox_field, one_line, required, stripped, text_field

_NAME_MAX_CHARS = 60  # characters
_SIGNS = set(" '’‘ʼ`´.,،-‐‑·・׳״\u200c\u200d")  # besides letters and their marks
# Letters by their category, yet nothing is seen of them: a name of these alone would be empty.
_INVISIBLE = set("\u115f\u1160\u3164\uffa0\u17b4\u17b5\u034f")
_SPACES = re.compile(r"[^\S\t\n\r\v\f\x1c-\x1f\x85\u2028\u2029]+")  # of any script, but no control character
_DOMAIN = re.compile(r"\w\.\w{2}|\bwww\b|\bhttps?\b", re.IGNORECASE)  # mail programmes turn these into links
_MAX_MARKS_PER_LETTER = 5  # more on one letter is scribble; Tibetan and Vietnamese need three


def normalize_name(value: str | None) -> str | None:
    """Write a name one way: composed letters, single plain spaces, none around it."""
    if not isinstance(value, str):
        return value
    return unicodedata.normalize("NFC", _SPACES.sub(" ", value)).strip()


def validate_name(form: Form, field: Any) -> None:
    """Refuse whatever is no name: somebody would use our email to carry it to a stranger."""
    name = field.data or ""
    letters = [c for c in name if unicodedata.category(c)[0] == "L"]
    strange = [c for c in name if c not in _SIGNS and unicodedata.category(c)[0] not in "LM"]
    if strange or not letters or _INVISIBLE & set(name) or _has_too_many_marks(name):
        raise ValidationError("Enter your name, without digits, links or symbols.")
    if _DOMAIN.search(name):
        raise ValidationError("Enter your name without links; put a space after each dot.")


def validate_mailbox_syntax(form: Form, field: Any) -> None:
    """Refuse what the post room could not put on an envelope."""
    try:
        parse_mailbox(field.data or "")
    except MailboxError as refusal:
        raise ValidationError(str(refusal)) from None


def _has_too_many_marks(name: str) -> bool:
    pile = 0
    for c in name:
        pile = pile + 1 if unicodedata.category(c)[0] == "M" else 0
        if pile > _MAX_MARKS_PER_LETTER:
            return True
    return False


class JoinForm(PortalForm):
    """Name, mailbox, consent, and a trap that people do not see."""

    name = StringField(
        "Your name",
        validators=[required("Enter your name."), one_line, at_most(_NAME_MAX_CHARS), validate_name],
        filters=[normalize_name],
    )
    mailbox = mailbox_field("Your email address", required("Enter your email address."))
    consent = BooleanField("I agree to receive emails about my affiliate account.")
    website = StringField("Leave this empty")  # filled in by robots only
    started = HiddenField()  # when the form was handed out: robots send it back at once

    def validate_mailbox(self, field: Any) -> None:
        validate_mailbox_syntax(self, field)

    def validate_consent(self, field: Any) -> None:
        if not field.data:
            raise StopValidation("Tick this box to sign up: the programme writes to you by email.")


class MailboxForm(PortalForm):
    """An address alone: to send the confirmation again."""

    mailbox = mailbox_field("Your email address", required("Enter your email address."))

    def validate_mailbox(self, field: Any) -> None:
        validate_mailbox_syntax(self, field)


class AgreeForm(PortalForm):
    """The consent of somebody who was invited."""

    consent = BooleanField("I agree to receive emails about my affiliate account.")

    def validate_consent(self, field: Any) -> None:
        if not field.data:
            raise StopValidation("Tick this box to join: the programme writes to you by email.")


def reject_invisible(form: Form, field: Any) -> None:
    """Refuse what nobody sees, line breaks aside."""
    typed = field.data or ""
    kept = "".join(c for c in typed if c in "\n\t" or unicodedata.category(c) not in {"Cc", "Cs", "Zl", "Zp"})
    if kept != typed:
        field.data = kept
        raise ValidationError(
            "This held invisible characters, which are now removed. Check it and send it again."
        )


def normalize_newlines(value: str | None) -> str | None:
    """End lines one way, whatever the browser does."""
    return value.replace("\r\n", "\n").replace("\r", "\n").strip() if isinstance(value, str) else value


class InviteForm(PortalForm):
    """Whom the owner invites, and in which words."""

    name = StringField(
        "Their name",
        validators=[required("Enter the name."), one_line, at_most(_NAME_MAX_CHARS), validate_name],
        filters=[normalize_name],
    )
    mailbox = mailbox_field("Their email address", required("Enter the email address."))
    message = TextAreaField(
        "Your personal message",
        description="It stands in the email in your own words. A sentence on how you know each other is enough.",
        validators=[reject_invisible, at_most(1000)],
        filters=[normalize_newlines],
    )

    def validate_mailbox(self, field: Any) -> None:
        validate_mailbox_syntax(self, field)


class DeclineForm(PortalForm):
    """Why an application is turned down."""

    reason = StringField("Reason", validators=[one_line, at_most(300)], filters=[stripped])


class RulesForm(PortalForm):
    """How people are taken in."""

    confirm = BooleanField(
        "Ask new affiliates to confirm their email address",
        description="An email with a link goes out first. Nobody can sign up a stranger, and misspelt addresses never "
        "reach your list.",
    )
    auto_approve = BooleanField(
        "Approve new affiliates at once",
        description="Without this, each application waits in your list until you approve or decline it.",
    )


class SuppressForm(PortalForm):
    """A mailbox that is not to be written to."""

    mailbox = mailbox_field("Email address", required("Enter the email address."))
    note = text_field("Note for yourself", limit=200)
