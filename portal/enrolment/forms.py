"""Forms of the public sign-up and of the owner's pages about affiliates."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

from flask_babel import lazy_gettext as _
from wtforms import BooleanField, Form, HiddenField, StringField, TextAreaField
from wtforms.validators import StopValidation, ValidationError

from ..smtp.mailbox import MailboxError, parse_mailbox
from ..web.fields import (
    PortalForm,
    address_field,
    mailbox_field,
    max_length,
    one_line,
    required,
    stripped,
    text_field,
    without_address_field,
)

_NAME_MAX_CHARS = 60
_NORMALIZED_MAX_CHARS = (
    1000  # NFC takes quadratic time for alternating marks, and this runs before the length is checked
)
_MESSAGE_MAX_CHARS = 1000
_REASON_MAX_CHARS = 300
_PUNCTUATION = set(" '’‘ʼ`´.,،-‐‑·・׳״\u200c\u200d")  # allowed besides letters and their marks
# Letters by their Unicode category that are not visible: a name of these alone would look empty.
_INVISIBLE = set("\u115f\u1160\u3164\uffa0\u17b4\u17b5\u034f")
_SPACES = re.compile(
    r"[^\S\t\n\r\v\f\x1c-\x1f\x85\u2028\u2029]+"
)  # in any script, without control characters
_LINK = re.compile(r"\w\.\w{2}|\bwww\b|\bhttps?\b", re.IGNORECASE)  # mail clients turn these into links
_MAX_MARKS_PER_LETTER = 5  # Tibetan and Vietnamese need three; more would cover neighbouring lines


def normalize_name(value: str | None) -> str | None:
    """Return a name in one form: NFC, single spaces, none at either end. One that is far too long is only stripped."""
    if not isinstance(value, str):
        return value
    if len(value) > _NORMALIZED_MAX_CHARS:
        return value.strip()
    return unicodedata.normalize("NFC", _SPACES.sub(" ", value)).strip()


def validate_name(_form: Form, field: Any) -> None:
    """Refuse text that is not a name, because the portal would send it to an address that a stranger entered."""
    name = field.data or ""
    letters = [c for c in name if unicodedata.category(c)[0] == "L"]
    others = [c for c in name if c not in _PUNCTUATION and unicodedata.category(c)[0] not in "LM"]
    if others or not letters or _INVISIBLE & set(name) or _has_too_many_marks(name):
        raise ValidationError("Enter your name, without digits, links or symbols.")
    if _LINK.search(name):
        raise ValidationError("Enter your name without links; put a space after each dot.")


def validate_mailbox_syntax(_form: Form, field: Any) -> None:
    """Refuse an address that cannot be the recipient of an SMTP envelope."""
    try:
        parse_mailbox(field.data or "")
    except MailboxError as error:
        raise ValidationError(str(error)) from None


def _has_too_many_marks(name: str) -> bool:
    marks = 0
    for c in name:
        marks = marks + 1 if unicodedata.category(c)[0] == "M" else 0
        if marks > _MAX_MARKS_PER_LETTER:
            return True
    return False


class JoinForm(PortalForm):
    """The public sign-up form. Bots fill in ``website``, which people do not see."""

    name = StringField(
        "Your name",
        validators=[required("Enter your name."), one_line, max_length(_NAME_MAX_CHARS), validate_name],
        filters=[normalize_name],
    )
    mailbox = mailbox_field("Your email address", required("Enter your email address."))
    consent = BooleanField("I agree to receive emails about my affiliate account.")
    website = StringField("Leave this empty")  # a hidden field that only bots fill in
    started = HiddenField()  # signed time at which the form was served, see min_fill_time

    def validate_mailbox(self, field: Any) -> None:
        validate_mailbox_syntax(self, field)

    def validate_consent(self, field: Any) -> None:
        if not field.data:
            raise StopValidation("Tick this box to sign up: the programme writes to you by email.")


class ResendConfirmationForm(PortalForm):
    """The form that sends the confirmation again."""

    mailbox = mailbox_field("Your email address", required("Enter your email address."))

    def validate_mailbox(self, field: Any) -> None:
        validate_mailbox_syntax(self, field)


class AgreeForm(PortalForm):
    """The consent of an invited person."""

    consent = BooleanField("I agree to receive emails about my affiliate account.")

    def validate_consent(self, field: Any) -> None:
        if not field.data:
            raise StopValidation("Tick this box to join: the programme writes to you by email.")


def reject_invisible(_form: Form, field: Any) -> None:
    """Refuse invisible characters except line breaks and tabs, and remove them for the next attempt."""
    entered = field.data or ""
    kept = "".join(
        c for c in entered if c in "\n\t" or unicodedata.category(c) not in {"Cc", "Cs", "Zl", "Zp"}
    )
    if kept != entered:
        field.data = kept
        raise ValidationError(
            "This held invisible characters, which are now removed. Check it and send it again."
        )


def normalize_newlines(value: str | None) -> str | None:
    """Return the text with line feeds as line ends. Browsers send CRLF."""
    return value.replace("\r\n", "\n").replace("\r", "\n").strip() if isinstance(value, str) else value


class InviteForm(PortalForm):
    """An invitation with the owner's personal message."""

    name = StringField(
        "Their name",
        validators=[required("Enter the name."), one_line, max_length(_NAME_MAX_CHARS), validate_name],
        filters=[normalize_name],
    )
    mailbox = mailbox_field("Their email address", required("Enter the email address."))
    message = TextAreaField(
        "Your personal message",
        description="It stands in the email in your own words. A sentence on how you know each other is enough.",
        validators=[reject_invisible, max_length(_MESSAGE_MAX_CHARS)],
        filters=[normalize_newlines],
    )

    def validate_mailbox(self, field: Any) -> None:
        validate_mailbox_syntax(self, field)


class FirstInviteForm(InviteForm):
    """An invitation of an account whose postal address is not settled yet."""

    address = address_field(_("Your postal address"), normalize_newlines)
    without_address = without_address_field()

    def validate_address(self, field: Any) -> None:
        if not (field.data or "").strip() and not self.without_address.data:
            raise StopValidation(_("Enter your postal address, or tick the box below it."))


class DeclineForm(PortalForm):
    """The reason for declining an application."""

    reason = StringField("Reason", validators=[one_line, max_length(_REASON_MAX_CHARS)], filters=[stripped])


class RulesForm(PortalForm):
    """The sign-up rules of an account."""

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
    """A mailbox that the owner suppresses."""

    mailbox = mailbox_field("Email address", required("Enter the email address."))
    note = text_field("Note for yourself", limit=200)


class LiftForm(PortalForm):
    """The reason for ending a suppression."""

    why = text_field(
        _("Why may it be written to again?"), required(_("Enter why it may be written to again.")), limit=200
    )
